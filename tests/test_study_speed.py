"""The tables of the page on cost."""

from __future__ import annotations

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
