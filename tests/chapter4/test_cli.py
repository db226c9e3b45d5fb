"""The command line: what it writes, the manifest last, one clear line for an error."""

from __future__ import annotations

import io
import json
import math
import os
import shlex
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_text_models import random_bert, random_model

import chapter4.inputs.models
import chapter4.reports.text
from chapter4 import cli
from chapter4.attention.weights import attention_weights
from chapter4.attention.words import most_attended, word_attention
from chapter4.cli import main
from chapter4.inputs.models import load_classifier
from chapter4.methods import METHODS
from chapter4.methods.gradcam import GradCAM
from chapter4.methods.gradients import smooth_grad
from chapter4.methods.integrated_gradients import integrated_gradients
from chapter4.reports import output
from chapter4.reports.image import debug_model_prediction, predict
from chapter4.reports.text import TextClassifierInterpreter
from chapter4.shapes.drawing import make_shape

COMMANDS = ("interpret", "debug", "attention", "text")


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn star that the small model "shapes" sees whole: real, and quick."""
    path = tmp_path_factory.mktemp("photos") / "star.png"
    Image.fromarray(make_shape(3, seed=2).image).save(path)
    return path


def of_star(command: str, star: Path, words: str, folder: Path | None = None) -> int:
    """Run a command on the star with the small model "shapes"."""
    arguments = [command, str(star), "--model", "shapes", *words.split()]
    return main([*arguments, *(["--output", str(folder)] if folder else [])])


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
    words = "--methods gradcam ig smoothgrad ig"
    assert of_star("interpret", star, words, folder) == 0
    return folder


def test_interpret_writes_a_complete_folder(interpreted: Path, star: Path) -> None:
    manifest = found_in(interpreted)
    assert (manifest["command"], manifest["model"]) == ("interpret", "shapes")
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
    assert set(manifest["versions"]) == {"chapter4", "numpy", "torch"}
    for facts in manifest["methods"].values():
        assert facts["label"] == "star"
        assert "star" in facts["alt"]
    for png in interpreted.glob("*.png"):
        pixels = np.asarray(Image.open(png).convert("RGB"))
        assert pixels.shape[0] > 200
        assert pixels.std() > 10
    assert plt.get_fignums() == []


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
        assert facts["random_stage"] == "fc"
        assert -1 <= facts["random_rank_correlation"] < 1
    assert manifest["methods"]["gradcam"]["blank"] is False
    # F(x) comes from Grad-CAM's pass there. The tolerance is float32's rounding of F
    # over its change.
    delta = wanted["integrated_gradients"].delta
    facts = manifest["methods"]["integrated_gradients"]
    assert facts["delta"] == pytest.approx(delta, abs=1e-6)
    assert facts["incomplete"] is False
    classes, probabilities = predict(model, model.preprocessing(Image.open(star))[None])
    rows = manifest["predictions"]
    assert [row["class"] for row in rows] == classes[:5].tolist()
    assert [row["label"] for row in rows] == [model.class_names[i] for i in classes[:5]]
    np.testing.assert_allclose(
        [row["probability"] for row in rows], probabilities[:5], rtol=1e-5
    )  # from Grad-CAM's own pass, whose float32 rounding is another


@pytest.mark.parametrize("target", ["heart", "HEART", "6"])
def test_the_class_by_name_and_by_number_and_no_random_layer(
    target: str, star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"--methods vanilla --no-evidence --target {target}"
    assert of_star("interpret", star, words, tmp_path) == 0
    facts = found_in(tmp_path)["methods"]["vanilla_gradients"]
    assert (facts["target"], facts["label"]) == (6, "heart")
    assert facts["random_rank_correlation"] is None
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_the_cat_is_taken_without_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def load(name: str) -> Any:
        asked.append(name)
        return load_classifier("shapes")

    monkeypatch.setattr(chapter4.inputs.models, "load_classifier", load)
    monkeypatch.setattr(
        "chapter4.evidence.map_evidence.versions_of", lambda model: {"maker": "7"}
    )
    assert main(["interpret", "--methods", "gradcam++", "--output", str(tmp_path)]) == 0
    manifest = found_in(tmp_path)
    assert asked == [manifest["model"]] == ["efficientnet-lite0"]
    cat = chapter4.sample_photo("cat")
    assert manifest["image"]["sha256"] == sha256(cat.read_bytes()).hexdigest()
    assert manifest["methods"]["gradcam++"]["figure"] == "gradcampp.png"
    assert manifest["versions"]["maker"] == "7"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[0].endswith(manifest["predictions"][0]["label"])
    assert lines[5].startswith("Grad-CAM++: rank correlation with random fc: ")
    assert lines[6] == f"written to {tmp_path}"


# --- debug ----------------------------------------------------------------------------


def test_debug_prints_the_apis_report(
    star: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = debug_model_prediction(load_classifier("shapes"), star, "cross", "star")
    capsys.readouterr()
    for true, expected in (("cross", "star"), ("4", "3")):
        words = f"--true-label {true} --expected-label {expected}"
        assert of_star("debug", star, words) == 0
        assert capsys.readouterr().out == report.text + "\n"


def test_debug_of_a_mistake_writes_the_analysis_too(
    star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert of_star("debug", star, "--true-label cross", tmp_path) == 0
    manifest = found_in(tmp_path)
    assert manifest["files"] == {
        "report": "report.txt",
        "figure": "debug.png",
        "analysis": "misclassification.png",
    }
    assert (manifest["true_label"], manifest["expected_label"]) == (4, 4)
    assert manifest["true_rank"] > 1
    printed = capsys.readouterr().out
    text = (tmp_path / "report.txt").read_text(encoding="utf-8")
    assert printed == f"{text}written to {tmp_path}\n"
    assert "Model debug report" in printed
    assert "Misclassification analysis" in printed
    right = tmp_path / "right"
    assert of_star("debug", star, "--true-label star", right) == 0
    assert set(found_in(right)["files"]) == {"report", "figure"}
    text = (right / "report.txt").read_text(encoding="utf-8")
    assert "Misclassification analysis" not in text


# --- attention and text ---------------------------------------------------------------


@pytest.fixture
def small_bert(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A random BERT of two layers and two heads in the place of MiniLM."""
    bert = random_bert(layers=2)
    monkeypatch.setattr(chapter4.inputs.models, "load_bert", lambda name: bert)
    return bert


@pytest.fixture
def small_sentiment(monkeypatch: pytest.MonkeyPatch) -> Any:
    model = random_model("bert")
    monkeypatch.setattr(chapter4.reports.text, "load_sentiment", lambda name: model)
    return model


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
    wanted = attention_weights(text, small_bert)
    with np.load(tmp_path / "attention.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["weights"], wanted.weights)
        assert arrays["tokens"].tolist() == wanted.tokens
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == text.lower().split()
    assert lines[-1] == f"written to {tmp_path}"
    for view in ("head_view.html", "model_view.html"):
        assert "<" in (tmp_path / view).read_text(encoding="utf-8")


def test_attention_without_an_output_writes_nothing(
    small_bert: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["attention", "The cat sat on the mat"]) == 0
    assert list(tmp_path.iterdir()) == []


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
    assert manifest["target"] == result["target"]
    assert manifest["label"] == result["target_label"]
    with np.load(tmp_path / manifest["arrays"], allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["attributions"], result["attributions"])
        assert arrays["tokens"].tolist() == result["tokens"]
    lines = capsys.readouterr().out.splitlines()
    scores = [result["attributions"][1], result["attributions"][2:-1].sum()]
    assert lines[1].split() == ["not", f"{scores[0]:+.3f}"]
    assert lines[2].split() == ["unbelievable", f"{scores[1]:+.3f}"]
    assert f"share of each word in the {result['target_label']} logit" in lines[3]


def test_an_undefined_delta_is_null_and_not_nan(
    small_sentiment: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The text is its own baseline.
    assert main(["text", "[MASK]", "--output", str(tmp_path)]) == 0
    assert found_in(tmp_path)["delta"] is None
    assert "NaN" not in (tmp_path / "manifest.json").read_text(encoding="utf-8")
    assert "relative completeness error undefined" in capsys.readouterr().out


def test_plain_values_for_json() -> None:
    pairs = [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (torch.tensor(2.0), 2.0),
        (float("nan"), None),
        ([math.inf, 1.0], [None, 1.0]),
        ((1, np.nan), [1, None]),
        (Path("a"), "a"),
        (None, None),
        (np.bool_(True), True),
    ]
    given = dict(enumerate(value for value, _ in pairs))
    wanted = {str(i): value for i, (_, value) in enumerate(pairs)}
    assert json.loads(json.dumps(output.plain(given), allow_nan=False)) == wanted


# --- for scripts, and at a terminal ---------------------------------------------------


def printed_json(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


def test_the_json_of_photos_is_the_manifest(
    star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_the_star = [str(star), "--model", "shapes", "--no-evidence"]
    for command, more in {"interpret": [], "debug": ["--true-label", "cross"]}.items():
        folder = tmp_path / command
        given = [command, *of_the_star, *more, "--output", str(folder)]
        found = printed_json(given, capsys)
        manifest = found_in(folder)
        assert found.pop("output") == str(folder)
        for key in ("created", "versions"):
            del manifest[key]
        assert found == manifest
        classes, probabilities = predict(
            model := load_classifier("shapes"),
            model.preprocessing(Image.open(star))[None],
        )
        assert [row["class"] for row in found["predictions"]] == classes[:5].tolist()
        np.testing.assert_allclose(
            [row["probability"] for row in found["predictions"]],
            probabilities[:5],
            rtol=1e-5,
        )


def test_the_json_of_texts_has_the_words(
    small_bert: Any, small_sentiment: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "The unbelievable cat sat"
    words = word_attention(attention_weights(text, small_bert), keep_special=False)
    found = printed_json(["attention", text], capsys)
    assert found["output"] is None
    for i, (row, most) in enumerate(
        zip(found["words"], most_attended(words), strict=True)
    ):
        assert row["word"] == words.words[i]
        assert row["special"] == pytest.approx(words.removed[i])
        wanted = [(p.to_word, p.weight) for p in (most.best, most.runner_up) if p]
        assert [(a["word"], a["weight"]) for a in row["attends"]] == wanted
    found = printed_json(["text", "not unbelievable"], capsys)
    result = TextClassifierInterpreter(small_sentiment).interpret("not unbelievable")
    names, scores = chapter4.reports.text.word_scores(result)
    assert found["words"] == [
        {"word": name, "score": score}
        for name, score in zip(names, scores, strict=True)
    ]
    assert found["prediction"] == result["prediction"]


def test_an_error_prints_no_json(
    small_sentiment: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["text", "good", "--target", "2", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_progress_at_a_terminal_alone(
    star: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seen in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda seen=seen: seen)
        assert of_star("debug", star, "--true-label star --no-evidence") == 0
        lines = ["loading the model ...", "computing the maps ..."] if seen else []
        assert capsys.readouterr().err.splitlines() == lines


# --- a crash leaves no manifest -------------------------------------------------------

# One command of each kind, and the same with a mistake that is found before any work.
GIVEN = {
    "interpret": "interpret STAR --model shapes --methods vanilla --no-evidence",
    "debug": "debug STAR --model shapes --no-evidence --true-label cross",
    "attention": "attention 'The cat'",
    "text": "text good",
}
MISTAKES = {
    "interpret": " --target stars",
    "debug": " --expected-label stars",
    "attention": " --layer 9",
    "text": " --target stars",
}


@pytest.mark.parametrize(
    ("command", "broken", "at"),
    [
        ("interpret", "save_figure", 1),
        ("interpret", "save_arrays", 1),
        ("interpret", "save_figure", 2),
        ("debug", "save_figure", 1),
        ("attention", "save_figure", 1),
        ("text", "save_arrays", 1),
    ],
)
def test_after_a_crash_in_the_middle_there_is_no_manifest(
    command: str,
    broken: str,
    at: int,
    star: Path,
    small_bert: Any,
    small_sentiment: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The old manifest would vouch for files of two runs.
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    right, calls = getattr(cli, broken), 0

    def breaks(*given: Any, **more: Any) -> str:
        nonlocal calls
        calls += 1
        if calls == at:
            raise RuntimeError("no space left")
        return right(*given, **more)

    monkeypatch.setattr(cli, broken, breaks)
    arguments = shlex.split(GIVEN[command].replace("STAR", str(star)))
    with pytest.raises(RuntimeError, match="no space left"):
        main([*arguments, "--output", str(tmp_path)])
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_bad_input_leaves_an_older_folder_as_it_was(
    command: str,
    star: Path,
    small_bert: Any,
    small_sentiment: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    line = (GIVEN[command] + MISTAKES[command]).replace("STAR", str(star))
    refuse([*shlex.split(line), "--output", str(tmp_path)], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


# --- bad input ------------------------------------------------------------------------

SHAPES = "interpret PHOTOS/star.png --model shapes"
DEBUG = "debug PHOTOS/star.png --model shapes"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("interpret PHOTOS/missing.jpg", "there is no file"),
        ("interpret PHOTOS/stra.png", "did you mean 'star.png'"),
        ("interpret PHOTOS", "is a folder, not an image"),
        ("interpret PHOTOS/text.jpg", "is not a readable image"),
        ("interpret PHOTOS/empty.jpg", "is not a readable image"),
        ("interpret PHOTOS/cut.png", "is not a readable image"),
        ("interpret PHOTOS/star.png --model shape", "did you mean 'shapes'"),
        (f"{SHAPES} --target starr", "did you mean 'star'"),
        (f"{SHAPES} --target 10", "classes 0 to 9"),
        (f"{SHAPES} --methods gradcamm", "invalid choice: 'gradcamm'"),
        (f"{SHAPES} --methods", "expected at least one argument"),
        (f"{SHAPES} --output PHOTOS/text.jpg", "is a file"),
        (f"{SHAPES} --output PHOTOS/text.jpg/sub", "is a file, or is below"),
        (f"{SHAPES} --output /proc/chapter4", "nothing can be written"),
        (DEBUG, "--true-label"),
        (f"{DEBUG} --true-label pug", "no class is called 'pug'"),
        (f"{DEBUG} --true-label 1 --expected-label x", "called 'x'"),
        (f"{DEBUG} --true-label 1 --output PHOTOS/text.jpg", "is a file"),
        ("attention ''", "empty"),
        ("attention '   '", "empty"),
        ("attention 'The cat' --layer 2", "layer"),
        ("attention 'The cat' --head 9", "head"),
        ("attention 'The cat' --layer one", "invalid int value: 'one'"),
        ("attention 'The cat' --output PHOTOS/text.jpg", "is a file"),
        (f"attention '{'cat ' * 600}'", "at most 512"),
        ("text ''", "the text is empty"),
        ("text good --target POSTIVE", "did you mean 'POSITIVE'"),
        ("text good --target 2", "classes 0 to 1"),
        ("text good --output PHOTOS/text.jpg", "is a file"),
        ("text", "required: text"),
        ("explain", "invalid choice: 'explain'"),
        ("text good --colour", "unrecognized arguments: --colour"),
    ],
    ids=lambda value: value[:60],
)
def test_bad_input_is_one_line_and_code_2(
    line: str,
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
    arguments = shlex.split(line.replace("PHOTOS", str(photos)))
    assert words in refuse(arguments, capsys)


def test_names_that_no_hub_can_give_name_the_embedded_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The hub is shut for tests. Not fetched, and not a wait for a minute.
    for command, known in (("attention", "minilm"), ("text", "minilm-sentiment")):
        line = refuse([command, "The cat", "--model", "no-such-model"], capsys)
        assert f"embedded '{known}'" in line


def test_words_that_are_not_utf8_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    latin1 = b"caf\xe9".decode("utf-8", errors="surrogateescape")
    assert main(["text", latin1]) == 2
    assert (
        capsys.readouterr().err
        == "chapter4: error: 'caf\\udce9' is not UTF-8 text: type it in a UTF-8"
        " terminal, or convert it with iconv\n"
    )


# --- as a program ---------------------------------------------------------------------


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=900, **options
    )


def with_work(work: str) -> list[str]:
    """A Python program in which the command ``text`` does this."""
    probe = (
        "import os, signal, sys, time\nfrom chapter4 import cli\n"
        f"def work(options):\n    {work}\n"
        "cli._text = work\nsys.exit(cli.main(['text', 'good']))"
    )
    return [sys.executable, "-c", probe]


def test_the_installed_program(star: Path, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("chapter4"))
    # Whatever window system the caller draws with, present here or not.
    world = {**os.environ, "MPLBACKEND": "module://no_window_system"}
    words = f"{star} --model shapes --methods gradcam --output {tmp_path / 'out'}"
    done = run(program, "interpret", *words.split(), env=world)
    assert (done.returncode, done.stderr) == (0, "")
    assert "star" in done.stdout.splitlines()[0]
    assert found_in(tmp_path / "out")["methods"]["gradcam"]["label"] == "star"
    missing = str(tmp_path / "none.jpg")
    bad = run(sys.executable, "-m", "chapter4.cli", "interpret", missing)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("chapter4: error: there is no file")
    assert bad.stderr.count("\n") == 1


def test_help_imports_nothing_but_the_standard_library() -> None:
    """So that it answers at once."""
    lines = [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)]
    probe = (
        "import sys\nbefore = set(sys.modules)\nfrom chapter4.cli import main\n"
        f"for line in {lines}:\n"
        "    try: main(line)\n    except SystemExit as end: assert end.code == 0\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "heavy = names - sys.stdlib_module_names - {'chapter4'}\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = run(sys.executable, "-c", probe)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("usage: chapter4") == 5


def test_the_help_says_what_each_method_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["interpret", "--help"])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    for name, (_, words) in METHODS.items():
        assert [name, words] in lines


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_has_an_example_that_is_right(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "-h"])
    assert end.value.code == 0
    *_, line, codes = capsys.readouterr().out.splitlines()
    assert codes == cli.EXIT_CODES
    program, *example = shlex.split(line.removeprefix("example: "))
    assert program == "chapter4"
    assert cli._parser().parse_args(example).command == command


def test_without_a_command_there_is_the_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert all(command in printed.err for command in COMMANDS)
    assert cli.EXIT_CODES in " ".join(printed.err.split())


def test_the_interrupt_key_ends_with_130() -> None:
    # A real signal, sent while the command works. A background job inherits an
    # interrupt key that is switched off.
    done = run(
        *with_work(
            "signal.signal(signal.SIGINT, signal.default_int_handler);"
            " os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
        )
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "chapter4: interrupted\n"


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="pipes close otherwise here")
def test_a_reader_that_leaves_early_is_no_error() -> None:
    with subprocess.Popen(
        with_work("[print('line', i) for i in range(200000)]"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_terminal_without_a_tick_mark_gets_another_sign() -> None:
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = run(*with_work("print('\\N{CHECK MARK} 1. star')"), env=ascii_only)
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
