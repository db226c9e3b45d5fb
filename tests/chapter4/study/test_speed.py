"""The tables of the page on cost."""

from __future__ import annotations

import pytest

from chapter4.study import speed


def cell(**seconds: list[float]) -> dict[str, dict[str, list[float]]]:
    return {"seconds": seconds}


def test_a_row_has_our_median_and_its_ratios() -> None:
    data = {
        "times": {
            "resnet50/2/gradient_1": cell(ours=[9.0], captum=[1.0]),
            "resnet50/16/gradient_1": cell(ours=[9.0], captum=[1.0]),
            "resnet50/2/gradcam": cell(captum=[1.0]),
            "resnet50/1/gradient_1": cell(
                ours=[3.0, 2.0, 40.0], captum=[6.0, 5.0, 7.0], forward=[0.25]
            ),
            "efficientnet-lite0/1/gradient_1": cell(ours=[1.0], captum=[1.0]),
        }
    }
    head, line, row = speed.ratio_table(data, "resnet50").splitlines()
    names = [each.strip() for each in head.split("|")[1:-1]]
    values = [each.strip() for each in row.split("|")[1:-1]]
    assert len(names) == len(line.split("|")[1:-1]) == len(values)
    found = dict(zip(names, values, strict=True))
    assert found.pop("Task") == "gradient, one photo"
    assert found.pop("Seconds") == "3"
    assert found.pop("Captum") == "0.50"
    assert found.pop("a forward pass") == "12"
    assert set(found.values()) == {""}


def test_the_table_of_memory_has_what_is_in_use_by_count() -> None:
    data = {
        "memory": {
            "resnet50/smooth_grad/ours+in_use/200": 21.4,
            "resnet50/smooth_grad/ours+in_use/10": 20.6,
            "resnet50/smooth_grad/captum+in_use/10": 1234.0,
            "resnet50/smooth_grad/captum/10": 9999.0,
            "resnet50/smooth_grad/ours/10": 25.0,
            "resnet50/gradcam/ours+in_use": 3.0,
            "resnet50/gradcam/captum_best+in_use": None,
            "efficientnet-lite0/gradcam/ours+in_use": 7.0,
        }
    }
    head, _, *rows = speed.memory_table(data, "resnet50").splitlines()
    names = [each.strip() for each in head.strip("|").split("|")]
    assert names[:4] == ["Task", "this package", "printed chapter", "Captum"]
    assert names[-1] == speed.OWN_PROCESS
    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in rows] == [
        ["Grad-CAM", "3", "", "", "", "", "", ""],
        ["SmoothGrad, 10", "21", "", "1,234", "", "", "", "25"],
        ["SmoothGrad, 200", "21", "", "", "", "", "", ""],
    ]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_saved_benchmark_fills_the_tables(device: str) -> None:
    data = speed.benchmark(device)
    for model in speed.MODELS:
        table = speed.ratio_table(data, model)
        for task, words in speed.TASKS.items():
            count = f", {data['settings']['n']}" if task in speed.SAMPLED else ""
            assert f"| {words}{count} |" in table


def test_the_saved_benchmark_fills_the_tables_of_memory() -> None:
    data, model = speed.benchmark(), "efficientnet-lite0"
    memory, allocator = (
        make(data, model) for make in (speed.memory_table, speed.allocator_table)
    )
    for task, words in speed.TASKS.items():
        counts = [f", {n}" for n in (10, 50, 200)] if task in speed.SAMPLED else [""]
        assert all(f"| {words}{count} |" in memory for count in counts)
    for task in ("gradient_1", "gradient_8", "gradcam", *speed.SAMPLED):
        assert f"| {speed.TASKS[task]} |" in allocator


def test_the_table_of_the_allocator_divides_by_the_time_without() -> None:
    seconds = {
        "ours": [4.0, 2.0, 3.0],
        "ours+malloc": [2.0, 1.5, 1.0],
        "captum": [2.0],
        "captum+malloc": [1.8],
    }
    chunked = {"captum_best": [3.0], "captum_best+malloc": [1.2]}
    cells = {
        "m/gradcam": {"seconds": seconds},
        "m/smooth_grad": {"seconds": seconds | chunked},
        "m/gradient_1": {"seconds": {"ours": [1.0], "ours+malloc": [1.0]}},
    }
    rows = speed.allocator_table({"malloc": cells}, "m").splitlines()[2:]
    assert rows == [
        "| Grad-CAM | 0.50 | 0.90 |  | 0.83 |",
        "| SmoothGrad | 0.50 | 0.90 | 0.40 | 1.25 |",
    ]
    assert not speed.allocator_table({"malloc": cells}, "n").splitlines()[2:]


def test_the_figure_shows_medians_and_the_line_through_them() -> None:
    seconds = {"5": [1.0, 1.1, 0.9], "10": [2.0, 2.2, 1.8]}
    cells = {f"shapes/{what}": {"seconds": seconds} for what in speed.PANELS}
    figure = speed.scaling_figure({"scaling": cells})
    samples, _, images = figure.axes
    points, line = samples.lines[0], samples.lines[-1]
    assert points.get_ydata().tolist() == [1.0, 2.0]
    assert line.get_ydata() == pytest.approx([0, 2.0])
    assert images.lines[0].get_ydata().tolist() == [200.0, 200.0]
    assert speed.through_origin([1, 2], [1.0, 4.0]) == 9 / 5
