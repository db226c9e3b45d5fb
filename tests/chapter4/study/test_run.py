"""The run behind the study: it can be cut off at any moment, and loses nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest

from chapter4 import integrated_gradients
from chapter4.study import __main__ as command
from chapter4.study import recipe, reference, saved
from chapter4.study.store import plain, save


def two_items(calls: list[str], fail_at: str = "") -> dict[str, command.Item]:
    def measure(key: str) -> dict[str, Any]:
        if key == fail_at:
            raise KeyboardInterrupt
        calls.append(key)
        return {"value": float(len(calls)), "delta": math.nan}

    return {
        key: lambda key=key: measure(key)
        for key in ("photo/a/x", "photo/b/x", "known/c/x")
    }


def test_a_run_that_is_cut_off_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.json"
    calls: list[str] = []
    monkeypatch.setattr(command, "items", lambda: two_items(calls, "photo/b/x"))
    with pytest.raises(KeyboardInterrupt):
        command.run(path, report=lambda line: None)
    assert set(saved(path)["items"]) == {"photo/a/x"}
    lines: list[str] = []
    monkeypatch.setattr(command, "items", lambda: two_items(calls))
    assert command.run(path, report=lines.append) == 2
    assert calls == ["photo/a/x", "photo/b/x", "known/c/x"]
    assert len(lines) == 3
    assert saved(path)["items"]["photo/a/x"] == {
        "recipe": recipe.digest("photo"),
        "machine": 0,
        "value": 1.0,
        "delta": None,
    }
    assert command.run(path, report=lines.append) == 0
    assert list(tmp_path.iterdir()) == [path]


def test_another_recipe_is_measured_again_and_old_items_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.json"
    calls: list[str] = []
    monkeypatch.setattr(command, "items", lambda: two_items(calls))
    command.run(path, report=lambda line: None)
    calls.clear()
    monkeypatch.setitem(recipe.RECIPES, "known", {"seed": 1})
    assert command.run(path, report=lambda line: None) == 1
    assert calls == ["known/c/x"]
    assert command.run(path, fresh=True, only="photo", report=lambda line: None) == 2
    monkeypatch.setattr(
        command, "items", lambda: {"photo/a/x": two_items(calls)["photo/a/x"]}
    )
    command.run(path, report=lambda line: None)
    assert set(saved(path)["items"]) == {"photo/a/x"}


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    study = {"recipes": {}, "machines": [], "items": {"a": {"value": 1}}}
    save(study, path)
    with pytest.raises(TypeError):
        save({**study, "items": {"a": {"value": object()}}}, path)
    assert saved(path) == study
    assert plain([math.inf, 1 / 3, True, None, "x", np.float32(0.5)]) == [
        None,
        0.33333,
        True,
        None,
        "x",
        0.5,
    ]


def test_the_command_measures_one_item(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.json"
    given = ["--output", str(path), "--only", "known/logo_mistakes/centre"]
    assert command.main(given) == 0
    assert "1/1 known/logo_mistakes/centre" in capsys.readouterr().out
    assert json.loads(path.read_text())["items"].keys() == {
        "known/logo_mistakes/centre"
    }
    assert command.main(given) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_errors_are_relative_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a linear model every rule is exact; half of the reference is its error."""
    model, x = nets.built(nets.Power, 1), nets.image()
    exact = integrated_gradients(x, model, 1, "black", 2).attributions
    made = {"logit": 2 * exact}
    monkeypatch.setattr(reference, "reference_attributions", lambda *_, **__: made)
    monkeypatch.setattr(reference, "seen", lambda photo: (x, 1))
    monkeypatch.setattr(reference, "classifier", lambda: model)
    (found,) = reference.measure_reference("cat").values()
    assert set(found) == {"sum", *reference.RULES}
    assert found["sum"] == pytest.approx(2 * exact.sum())
    rule = found["gausslegendre_25"]
    assert rule["error"] == pytest.approx(0.5)
    assert rule["delta"] == pytest.approx(0, abs=1e-9)
    assert rule["images_backward"] == 25
