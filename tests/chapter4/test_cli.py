"""The command line: what it writes, the manifest last, one clear line for an error."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_text_models import random_model, tokenizer

import chapter4.inputs.models
import chapter4.reports.text
from chapter4 import cli
from chapter4.cli import main
from chapter4.inputs.models import load_classifier
from chapter4.methods.gradcam import GradCAM
from chapter4.methods.gradients import smooth_grad
from chapter4.methods.integrated_gradients import integrated_gradients
from chapter4.reports import output
from chapter4.reports.image import (
    debug_model_prediction,
    predict,
)
from chapter4.reports.text import TextClassifierInterpreter
from chapter4.shapes.drawing import make_shape

COMMANDS = ("interpret", "debug", "attention", "text")


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn star that the small model "shapes" sees whole: real, and quick."""
    path = tmp_path_factory.mktemp("photos") / "star.png"
    Image.fromarray(make_shape(3, seed=2).image).save(path)
    return path


def found_in(folder: Path) -> dict[str, Any]:
    """The manifest, once every file that it names is there and holds something."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    names: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                names.extend([each] if key in ("figure", "arrays", "overview") else [])
                names.extend(each.values() if key == "files" else [])
                collect(each)

    collect(manifest)
    assert names
    for name in names:
        assert (folder / name).stat().st_size > 0, f"{name} is named and not there"
    # Nothing lies there unnamed, and nothing half written.
    assert {path.name for path in folder.iterdir()} == {*names, "manifest.json"}
    assert (folder / "manifest.json").stat().st_mtime_ns == max(
        path.stat().st_mtime_ns for path in folder.iterdir()
    )
    return manifest


def refuse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr with which the arguments are refused."""
    try:
        code = main(arguments)
    except SystemExit as end:  # argparse's way
        code = end.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.startswith("chapter4"), captured.err
    assert captured.err.count("\n") == 1, captured.err
    assert ": error: " in captured.err
    assert "Traceback" not in captured.err
    return captured.err


# --- interpret ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interpreted(star: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interpreted") / "new" / "folder"
    methods = ["--methods", "gradcam", "ig", "smoothgrad", "ig"]
    assert (
        main(
            [
                "interpret",
                str(star),
                "--model",
                "shapes",
                *methods,
                "--output",
                str(folder),
            ]
        )
        == 0
    )
    return folder


def test_interpret_writes_a_complete_folder(interpreted: Path, star: Path) -> None:
    manifest = found_in(interpreted)
    assert manifest["command"] == "interpret"
    assert manifest["model"] == "shapes"
    assert list(manifest["methods"]) == [
        "gradcam",
        "integrated_gradients",
        "smoothgrad",
    ]
    assert manifest["image"] == {
        "file": "star.png",
        "sha256": sha256(star.read_bytes()).hexdigest(),
    }
    assert manifest["versions"]["torch"] == torch.__version__.split("+")[0]
    for facts in manifest["methods"].values():
        assert facts["label"] == "star"
        assert "star" in facts["alt"]
    for png in interpreted.glob("*.png"):
        pixels = np.asarray(Image.open(png).convert("RGB"))
        assert pixels.shape[0] > 200
        assert pixels.std() > 10


def test_the_arrays_are_the_apis(interpreted: Path, star: Path) -> None:
    model = load_classifier("shapes")
    manifest = json.loads((interpreted / "manifest.json").read_text(encoding="utf-8"))
    wanted = {
        "gradcam": GradCAM(model, "layer4").generate_cam(star),
        "integrated_gradients": integrated_gradients(star, model),
        "smoothgrad": smooth_grad(star, model),
    }
    for key, result in wanted.items():
        facts = manifest["methods"][key]
        with np.load(interpreted / facts["arrays"], allow_pickle=False) as arrays:
            assert set(arrays) == {
                name for name in ("map", "raw", "attributions") if hasattr(result, name)
            }
            for name in arrays:
                np.testing.assert_array_equal(arrays[name], getattr(result, name))
        assert facts["target"] == result.target
        assert facts["score"] == pytest.approx(result.score, rel=1e-6)
    assert manifest["methods"]["gradcam"]["blank"] is False
    assert manifest["methods"]["integrated_gradients"]["delta"] == pytest.approx(
        # F(x) comes from Grad-CAM's pass there. The tolerance is float32's rounding of
        # F over its change.
        wanted["integrated_gradients"].delta,
        abs=1e-6,
    )
    assert manifest["methods"]["integrated_gradients"]["incomplete"] is False
    for key in wanted:
        assert manifest["methods"][key]["random_stage"] == "fc"
        assert -1 <= manifest["methods"][key]["random_rank_correlation"] < 1
    assert set(manifest["versions"]) == {"chapter4", "numpy", "torch"}
    classes, probabilities = predict(model, model.preprocessing(Image.open(star))[None])
    rows = manifest["predictions"]
    assert [row["class"] for row in rows] == classes[:5].tolist()
    assert [row["label"] for row in rows] == [model.class_names[i] for i in classes[:5]]
    np.testing.assert_allclose(
        [row["probability"] for row in rows], probabilities[:5], rtol=1e-5
    )  # from Grad-CAM's own pass, whose float32 rounding is another


@pytest.mark.parametrize("target", ["heart", "HEART", "6"])
def test_the_class_by_name_and_by_number(
    target: str, star: Path, tmp_path: Path
) -> None:
    arguments = [
        "interpret",
        str(star),
        "--model",
        "shapes",
        "--methods",
        "vanilla",
        "--target",
        target,
    ]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    facts = found_in(tmp_path)["methods"]["vanilla_gradients"]
    assert (facts["target"], facts["label"]) == (6, "heart")


def test_the_cat_is_taken_without_an_image(
    classifier: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        chapter4.inputs.models, "load_classifier", lambda name: classifier
    )
    assert main(["interpret", "--methods", "gradcam++", "--output", str(tmp_path)]) == 0
    manifest = found_in(tmp_path)
    assert manifest["predictions"][0]["label"] in ("tiger cat", "Egyptian cat", "tabby")
    assert manifest["model"] == "efficientnet-lite0"
    assert manifest["methods"]["gradcam++"]["figure"] == "gradcampp.png"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[5].startswith("Grad-CAM++: rank correlation with random classifier: ")
    assert manifest["versions"]["timm"] == version("timm")
    assert lines[0].endswith(manifest["predictions"][0]["label"])
    assert lines[-1] == f"written to {tmp_path}"


def test_the_random_layer_can_be_left_out(
    star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["interpret", str(star), "--model", "shapes", "--methods", "vanilla"]
    assert main([*arguments, "--no-evidence", "--output", str(tmp_path)]) == 0
    facts = found_in(tmp_path)["methods"]["vanilla_gradients"]
    assert facts["random_rank_correlation"] is None
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_words_that_are_not_utf8_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    latin1 = b"caf\xe9".decode("utf-8", errors="surrogateescape")
    assert main(["text", latin1]) == 2
    assert (
        capsys.readouterr().err
        == "chapter4: error: 'caf\\udce9' is not UTF-8 text: type it in a UTF-8"
        " terminal, or convert it with iconv\n"
    )


def test_figures_are_closed_after_a_command(interpreted: Path) -> None:
    assert interpreted.is_dir()
    assert plt.get_fignums() == []


# --- debug ----------------------------------------------------------------------------


def test_debug_prints_the_apis_report(
    star: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = debug_model_prediction(load_classifier("shapes"), star, "cross", "star")
    capsys.readouterr()
    for true, expected in (("cross", "star"), ("4", "3")):
        assert (
            main(
                [
                    "debug",
                    str(star),
                    "--model",
                    "shapes",
                    "--true-label",
                    true,
                    "--expected-label",
                    expected,
                ]
            )
            == 0
        )
        assert capsys.readouterr().out == report.text + "\n"


def test_debug_of_a_mistake_writes_the_analysis_too(
    star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "debug",
        str(star),
        "--model",
        "shapes",
        "--output",
        str(tmp_path),
        "--true-label",
    ]
    assert main([*arguments, "cross"]) == 0
    manifest = found_in(tmp_path)
    assert manifest["files"] == {
        "report": "report.txt",
        "figure": "debug.png",
        "analysis": "misclassification.png",
    }
    assert (manifest["true_label"], manifest["expected_label"]) == (4, 4)
    assert manifest["true_rank"] > 1
    printed = capsys.readouterr().out
    assert (
        printed
        == (tmp_path / "report.txt").read_text(encoding="utf-8")
        + f"written to {tmp_path}\n"
    )
    assert "Model debug report" in printed
    assert "Misclassification analysis" in printed
    for path in tmp_path.iterdir():
        path.unlink()
    assert main([*arguments, "star"]) == 0
    assert set(found_in(tmp_path)["files"]) == {"report", "figure"}
    assert "Misclassification analysis" not in (tmp_path / "report.txt").read_text(
        encoding="utf-8"
    )


# --- attention and text ---------------------------------------------------------------


@pytest.fixture
def small_bert(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A random BERT of two layers and two heads in the place of MiniLM."""
    import transformers as hf

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = hf.BertConfig(
            vocab_size=len(tokenizer()),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            attn_implementation="eager",
        )
        bert = chapter4.inputs.models.TextModel(
            hf.BertModel(config).eval(), tokenizer()
        )
    monkeypatch.setattr(chapter4.inputs.models, "load_bert", lambda name: bert)
    return bert


@pytest.mark.parametrize(
    ("options", "figures"),
    [
        ([], {"words"}),
        (["--layer", "1"], {"words", "heads"}),
        (["--layer", "1", "--head", "0"], {"words", "head"}),
    ],
)
def test_attention_writes_weights_figures_and_views(
    options: list[str],
    figures: set[str],
    small_bert: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "The unbelievable cat sat"
    assert main(["attention", text, *options, "--output", str(tmp_path)]) == 0
    manifest = found_in(tmp_path)
    assert set(manifest["files"]) == {*figures, "head_view", "model_view"}
    with torch.no_grad():
        encoded = small_bert.tokenizer(text, return_tensors="pt")
        wanted = torch.stack(
            small_bert.model(**encoded, output_attentions=True).attentions
        )[:, 0].numpy()
    with np.load(tmp_path / "attention.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["weights"], wanted, rtol=1e-6)
        assert arrays["tokens"].tolist() == tokenizer().convert_ids_to_tokens(
            encoded["input_ids"][0].tolist()
        )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == [
        "the",
        "unbelievable",
        "cat",
        "sat",
    ]
    assert lines[-1] == f"written to {tmp_path}"
    for view in ("head_view.html", "model_view.html"):
        assert "<" in (tmp_path / view).read_text(encoding="utf-8")


def test_attention_without_an_output_writes_nothing(
    small_bert: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["attention", "The cat sat on the mat"]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_sentiment(monkeypatch: pytest.MonkeyPatch) -> Any:
    model = random_model("bert")
    monkeypatch.setattr(chapter4.reports.text, "load_sentiment", lambda name: model)
    return model


@pytest.mark.parametrize(
    ("target", "label"),
    [
        ([], None),
        (["--target", "negative"], "NEGATIVE"),
        (["--target", "1"], "POSITIVE"),
    ],
)
def test_text_writes_scores_and_figure(
    target: list[str],
    label: str | None,
    small_sentiment: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "not unbelievable"
    assert main(["text", text, *target, "--output", str(tmp_path)]) == 0
    manifest = found_in(tmp_path)
    result = TextClassifierInterpreter(small_sentiment).interpret(text, label)
    assert manifest["prediction"] == result["prediction"]
    assert (manifest["target"], manifest["label"]) == (
        result["target"],
        result["target_label"],
    )
    with np.load(tmp_path / manifest["arrays"], allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["attributions"], result["attributions"])
        assert arrays["tokens"].tolist() == result["tokens"]
    lines = capsys.readouterr().out.splitlines()
    scores = [result["attributions"][1], result["attributions"][2:-1].sum()]
    assert [line.split() for line in lines[1:3]] == [
        [word, f"{score:+.3f}"]
        for word, score in zip(("not", "unbelievable"), scores, strict=True)
    ]
    assert f"share of each word in the {result['target_label']} logit" in lines[3]


def test_an_undefined_delta_is_null_and_not_nan(
    small_sentiment: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The text is its own baseline.
    assert main(["text", "[MASK]", "--output", str(tmp_path)]) == 0
    content = (tmp_path / "manifest.json").read_text(encoding="utf-8")
    assert found_in(tmp_path)["delta"] is None
    assert "NaN" not in content
    assert "relative completeness error undefined" in capsys.readouterr().out


def test_plain_values_for_json() -> None:
    given = {
        "n": np.float32(0.5),
        "i": np.int64(3),
        "t": torch.tensor(2.0),
        "nan": float("nan"),
        "inf": [math.inf, 1.0],
        "tuple": (1, np.nan),
        "path": Path("a"),
        "none": None,
        "flag": np.bool_(True),
        4: "four",
    }
    assert json.loads(json.dumps(output._plain(given), allow_nan=False)) == {
        "n": 0.5,
        "i": 3,
        "t": 2.0,
        "nan": None,
        "inf": [None, 1.0],
        "tuple": [1, None],
        "path": "a",
        "none": None,
        "flag": True,
        "4": "four",
    }


# --- a crash leaves no manifest -------------------------------------------------------


@pytest.mark.parametrize("broken", ["save_arrays", "save_figure"])
@pytest.mark.parametrize("at", [1, 2])
def test_after_a_crash_in_the_middle_there_is_no_manifest(
    broken: str, at: int, star: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [
        "interpret",
        str(star),
        "--model",
        "shapes",
        "--methods",
        "vanilla",
        "gradcam",
        "--output",
        str(tmp_path),
    ]
    assert main(arguments) == 0
    found_in(tmp_path)
    right, calls = getattr(cli, broken), 0

    def breaks(*given: Any, **more: Any) -> str:
        nonlocal calls
        calls += 1
        if calls == at:
            raise RuntimeError("no space left")
        return right(*given, **more)

    monkeypatch.setattr(cli, broken, breaks)
    with pytest.raises(RuntimeError, match="no space left"):
        main(arguments)
    # The old manifest would vouch for files of two runs.
    assert not (tmp_path / "manifest.json").exists()


def test_bad_input_leaves_an_older_folder_as_it_was(
    star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "interpret",
        str(star),
        "--model",
        "shapes",
        "--methods",
        "vanilla",
        "--output",
        str(tmp_path),
    ]
    assert main(arguments) == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    refuse([*arguments, "--target", "stars"], capsys)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["interpret", "PHOTOS/missing.jpg"], "there is no file"),
        (["interpret", "PHOTOS/stra.png"], "did you mean 'star.png'"),
        (["interpret", "PHOTOS"], "is a folder, not an image"),
        (["interpret", "PHOTOS/text.jpg"], "is not a readable image"),
        (["interpret", "PHOTOS/empty.jpg"], "is not a readable image"),
        (["interpret", "PHOTOS/cut.png"], "is not a readable image"),
        (["interpret", "PHOTOS/star.png", "--model", "shape"], "did you mean 'shapes'"),
        (
            ["interpret", "PHOTOS/star.png", "--model", "shapes", "--target", "starr"],
            "did you mean 'star'",
        ),
        (
            ["interpret", "PHOTOS/star.png", "--model", "shapes", "--target", "10"],
            "classes 0 to 9",
        ),
        (
            [
                "interpret",
                "PHOTOS/star.png",
                "--model",
                "shapes",
                "--methods",
                "gradcamm",
            ],
            "invalid choice: 'gradcamm'",
        ),
        (
            ["interpret", "PHOTOS/star.png", "--model", "shapes", "--methods"],
            "expected at least one argument",
        ),
        (
            [
                "interpret",
                "PHOTOS/star.png",
                "--model",
                "shapes",
                "--output",
                "PHOTOS/text.jpg",
            ],
            "is a file",
        ),
        (
            [
                "interpret",
                "PHOTOS/star.png",
                "--model",
                "shapes",
                "--output",
                "PHOTOS/text.jpg/sub",
            ],
            "is a file, or is below",
        ),
        (
            [
                "interpret",
                "PHOTOS/star.png",
                "--model",
                "shapes",
                "--output",
                "/proc/chapter4",
            ],
            "nothing can be written",
        ),
        (["debug", "PHOTOS/star.png", "--model", "shapes"], "--true-label"),
        (
            ["debug", "PHOTOS/star.png", "--model", "shapes", "--true-label", "pug"],
            "no class is called 'pug'",
        ),
        (
            [
                "debug",
                "PHOTOS/star.png",
                "--model",
                "shapes",
                "--true-label",
                "1",
                "--expected-label",
                "x",
            ],
            "called 'x'",
        ),
        (
            [
                "debug",
                "PHOTOS/star.png",
                "--model",
                "shapes",
                "--true-label",
                "1",
                "--output",
                "PHOTOS/text.jpg",
            ],
            "is a file",
        ),
        (["attention", ""], "empty"),
        (["attention", "   "], "empty"),
        (["attention", "The cat", "--layer", "2"], "layer"),
        (["attention", "The cat", "--head", "9"], "head"),
        (["attention", "The cat", "--layer", "one"], "invalid int value: 'one'"),
        (["attention", "The cat", "--output", "PHOTOS/text.jpg"], "is a file"),
        (["attention", "cat " * 600], "at most 512"),
        (["text", ""], "the text is empty"),
        (["text", "good", "--target", "POSTIVE"], "did you mean 'POSITIVE'"),
        (["text", "good", "--target", "2"], "classes 0 to 1"),
        (["text", "good", "--output", "PHOTOS/text.jpg"], "is a file"),
        (["text"], "required: text"),
        (["explain"], "invalid choice: 'explain'"),
        ([], "required: COMMAND"),
        (["text", "good", "--colour"], "unrecognized arguments: --colour"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str],
    words: str,
    star: Path,
    tmp_path: Path,
    small_bert: Any,
    small_sentiment: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # the default output folder
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "star.png").write_bytes(star.read_bytes())
    (photos / "cut.png").write_bytes(star.read_bytes()[:500])
    (photos / "text.jpg").write_text("not an image")
    (photos / "empty.jpg").write_bytes(b"")
    line = refuse(
        [argument.replace("PHOTOS", str(photos)) for argument in arguments], capsys
    )
    assert words in line


def test_names_that_no_hub_can_give_name_the_embedded_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The hub is shut for tests. Not fetched, and not a wait for a minute.
    assert "embedded 'minilm'" in refuse(
        ["attention", "The cat", "--model", "no-such-bert"], capsys
    )
    assert "embedded 'minilm-sentiment'" in refuse(
        ["text", "good", "--model", "no-such-model"], capsys
    )


# --- as a program ---------------------------------------------------------------------


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def test_the_installed_program(star: Path, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("chapter4"))
    # Whatever window system the caller draws with, present here or not.
    world = {**os.environ, "MPLBACKEND": "module://no_window_system"}
    arguments = [
        "interpret",
        str(star),
        "--model",
        "shapes",
        "--methods",
        "gradcam",
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=120, env=world
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "star" in done.stdout.splitlines()[0]
    assert found_in(tmp_path / "out")["methods"]["gradcam"]["label"] == "star"
    bad = run("-m", "chapter4.cli", "interpret", str(tmp_path / "none.jpg"))
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("chapter4: error: there is no file")
    assert bad.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_answers_within_half_a_second(command: str) -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = run("-m", "chapter4.cli", *([command] if command else []), "--help")
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0
        assert done.stdout.startswith("usage: chapter4")
        assert done.stderr == ""
    assert statistics.median(seconds) < 0.5


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)],
)
def test_nothing_heavy_is_imported_for_help(arguments: list[str]) -> None:
    probe = (
        f"import sys\nfrom chapter4.cli import main\ntry: main({arguments})\nexcept"
        " SystemExit as end: assert end.code == 0\nheavy = {'torch', 'numpy', 'PIL',"
        " 'matplotlib', 'transformers', 'timm', 'captum'} &"
        " set(sys.modules)\nsys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = run("-c", probe)
    assert done.returncode == 0, done.stderr


def test_the_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    from chapter4.reports.image import METHODS

    with pytest.raises(SystemExit) as end:
        main(["interpret", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(method in text for method in METHODS)
    # Written twice, so that help need not import the first.
    assert tuple(METHODS) == cli.METHOD_NAMES


def test_the_interrupt_key_ends_with_130() -> None:
    # A real signal, sent while the command works.
    probe = (
        "import os, signal, sys, time\nfrom chapter4 import cli\n"
        # A background job inherits an interrupt key that is switched off.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\ndef work(options):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(60)\ncli._text ="
        " work\nsys.exit(cli.main(['text', 'good']))"
    )
    done = run("-c", probe)
    assert (done.returncode, done.stdout, done.stderr) == (
        130,
        "",
        "chapter4: interrupted\n",
    )


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="pipes close otherwise here")
def test_a_reader_that_leaves_early_is_no_error() -> None:
    probe = (
        "import sys\nfrom chapter4 import cli\n"
        "cli._text = lambda options: [print('line', i) for i in range(200000)]\n"
        "sys.exit(cli.main(['text', 'good']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", probe], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_terminal_without_a_tick_mark_gets_another_sign() -> None:
    probe = (
        "import sys\nfrom chapter4 import cli\n"
        "cli._text = lambda options: print('✓ 1. star')\n"
        "sys.exit(cli.main(['text', 'good']))"
    )
    done = run(
        "-c", probe, env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "? 1. star\n", "")


def test_a_download_is_announced_only_once_something_came() -> None:
    """Without a network torch says that it downloads and fails; we say so once."""
    shown = io.StringIO()
    stream = chapter4.inputs.models._HeldBack(shown)
    stream.write('Downloading: "https://..." to ...\n')
    stream.flush()
    assert shown.getvalue() == ""
    stream.write("10%")
    stream.write("20%")
    assert shown.getvalue() == 'Downloading: "https://..." to ...\n10%20%'
