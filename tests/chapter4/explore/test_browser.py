"""The figures of sections 4.1 to 4.3 in a real browser that has no network.

It covers keys, stills, hostile words, and two figures on a page.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
from chromium import watched
from explorers import HOSTILE, seen, shows, states

from chapter4.explore import (
    Choice,
    Explorer,
    Slider,
    explore_gradcam,
    explore_integrated_gradients,
    explore_smoothgrad,
)
from chapter4.explore.view import as_json

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser


TOP = "<!DOCTYPE html><meta charset='utf-8'><title>page</title>"


@pytest.fixture(scope="module")
def smooth(model: Any, x: torch.Tensor) -> Explorer:
    return explore_smoothgrad(
        x, model, 1, samples=(1, 2, 4), levels=(0.1, 0.3), start=(2, 0.1)
    )


def test_keys_move_the_sliders(
    browser: Browser, smooth: Explorer, tmp_path: Path
) -> None:
    found = states(smooth)
    with watched(browser, smooth.save(tmp_path / "a.html")) as page:
        assert page.title() == smooth.title
        now = seen(page)
        shows(now, found[0, 1])
        assert (now["controls"], now["off"]) == (True, False)
        keys = page.keyboard
        keys.press("Tab")
        keys.press("ArrowRight")
        now = seen(page)
        shows(now, found[1, 1])
        assert now["words"] == now["spoken"] == ["0.3", "2"]
        keys.press("Tab")
        keys.press("End")
        now = seen(page)
        shows(now, found[1, 2])
        assert now["words"] == now["spoken"] == ["0.3", "4"]
        keys.press("ArrowLeft")
        keys.press("ArrowLeft")
        shows(seen(page), found[1, 0])
        assert page.locator("[data-part=said]").text_content() == found[1, 0]["said"]
        assert page.get_by_role("slider", name="Samples", exact=True).count() == 1
        high = page.locator("[data-part=map-high]").text_content()
        assert high == found[1, 0]["parts"]["map-high"]["words"]


def test_choosing_a_class_and_a_layer(
    browser: Browser, model: Any, x: torch.Tensor, tmp_path: Path
) -> None:
    figure = explore_gradcam(x, model, layers=["features.0", "features"])
    found = states(figure)
    with watched(browser, figure.save(tmp_path / "a.html")) as page:
        shows(seen(page), found[1, 0])
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowLeft")
        shows(seen(page), found[0, 0])
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        shows(seen(page), found[0, 1])
        frame = page.locator("[data-part=map]").locator("xpath=..")
        ground = found[0, 1]["parts"]["map"]["ground"]
        style = frame.evaluate("f => getComputedStyle(f).backgroundImage")
        assert style == f'url("{ground}")'


def test_walking_the_path(
    browser: Browser, model: Any, x: torch.Tensor, tmp_path: Path
) -> None:
    """The mixture's opacity, the plot's mark and its name follow the controls.

    The controls are the position and the baseline.
    """
    figure = explore_integrated_gradients(
        x, model, 0, baselines=["white", "random"], n_steps=4
    )
    found = states(figure)
    with watched(browser, figure.save(tmp_path / "a.html")) as page:
        shows(seen(page), found[0, 3])
        page.get_by_role("combobox", name="Baseline").select_option("random")
        page.get_by_role("slider", name="Position").focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        shows(seen(page), found[1, 1])
        parts = found[1, 1]["parts"]
        mixture = page.locator("[data-part=mixture]")
        opacity = mixture.evaluate("i => +getComputedStyle(i).opacity")
        assert opacity == pytest.approx(parts["mixture"]["opacity"], abs=1e-4)
        style = "i => getComputedStyle(i.parentElement).backgroundImage"
        ground = mixture.evaluate(style)
        assert ground == f'url("{parts["mixture"]["ground"]}")'
        for name, key in (("dot", "d"), ("curve", "d"), ("plot", "aria-label")):
            drawn = page.locator(f"[data-part={name}]").get_attribute(key)
            assert drawn == parts[name][key]
        axis = page.locator("[data-part=axis]").text_content()
        assert axis == parts["axis"]["words"]


def test_without_scripts_the_still_is_shown(
    browser: Browser, smooth: Explorer, tmp_path: Path
) -> None:
    start = states(smooth)[0, 1]
    file = smooth.save(tmp_path / "a.html")
    with watched(browser, file, java_script_enabled=False) as page:
        for name in ("copy", "map"):
            picture = page.locator(f"[data-part={name}]")
            assert picture.is_visible()
            assert picture.get_attribute("src") == start["parts"][name]["src"]
            assert picture.get_attribute("alt") == start["parts"][name]["alt"]
            assert picture.bounding_box()["width"] > 50
        assert page.get_by_text("This is a still picture").is_visible()
        assert page.get_by_text(start["said"]).is_visible()
        assert not page.get_by_role("slider").first.is_visible()


def test_two_on_a_page_do_not_meet(
    browser: Browser, smooth: Explorer, model: Any, x: torch.Tensor
) -> None:
    """Each has its own setting, and no name is left behind."""
    other = explore_smoothgrad(x, model, 0, samples=(1, 2, 4), levels=(0.2, 0.5))
    blocks = [
        f"<div>{figure._repr_html_()}</div>" for figure in (smooth, smooth, other)
    ]
    html = (
        f"{TOP}<script>window.before = Object.getOwnPropertyNames(window).length;"
        f"</script>{''.join(blocks)}"
    )
    mine, its = states(smooth), states(other)
    with watched(browser, html) as page:
        count = page.evaluate("Object.getOwnPropertyNames(window).length")
        assert count == page.evaluate("window.before") + 1  # `before` itself
        page.get_by_role("slider", name="Noise level").nth(1).focus()
        page.keyboard.press("ArrowRight")
        shows(seen(page, 0), mine[0, 1])
        shows(seen(page, 1), mine[1, 1])
        shows(seen(page, 2), its[0, 2])
        page.get_by_role("slider", name="Samples").nth(2).focus()
        page.keyboard.press("ArrowLeft")
        shows(seen(page, 2), its[0, 1])
        shows(seen(page, 1), mine[1, 1])


def test_as_a_notebook_inserts_it(browser: Browser, smooth: Explorer) -> None:
    """JupyterLab fills an element before it is on the page.

    It also makes the element's scripts anew.
    """
    insert = """(html) => {
      const host = document.createElement("div");
      host.innerHTML = html;
      for (const old of [...host.querySelectorAll("script")]) {
        const fresh = document.createElement("script");
        for (const { name, value } of old.attributes) fresh.setAttribute(name, value);
        fresh.textContent = old.textContent;
        old.replaceWith(fresh);
      }
      document.querySelector("main").append(host);
    }"""
    found = states(smooth)
    with watched(browser, f"{TOP}<main></main>") as page:
        for _ in range(2):
            page.evaluate(insert, smooth._repr_html_())
        page.get_by_role("slider", name="Samples").nth(1).focus()
        page.keyboard.press("ArrowRight")
        shows(seen(page, 0), found[0, 1])
        shows(seen(page, 1), found[0, 2])
        # Its keys are not the notebook's commands.
        figure = page.locator("figure.explorer").first
        assert figure.get_attribute("data-lm-suppress-shortcuts") == "true"


def test_hostile_class_names_stay_text(
    browser: Browser, model: Any, x: torch.Tensor, tmp_path: Path
) -> None:
    figures = [
        explore_smoothgrad(x, model, 1, samples=(1, 2), levels=(0.1,)),
        explore_gradcam(x, model, layers=["features"], absent=1),
        explore_integrated_gradients(x, model, 1, baselines=["mean"], n_steps=2),
    ]
    assert HOSTILE in figures[0].title
    for figure in figures:
        with watched(browser, figure.save(tmp_path / "a.html")) as page:
            assert page.title().split() == figure.title.split()
            parts = states(figure)[0, 0]["parts"].values()
            pictures = sum("src" in part for part in parts)
            assert page.locator("figure img").count() == pictures
            label = page.locator("figure.explorer").get_attribute("aria-label")
            assert label == figure.title
            if figure.title.startswith("Grad-CAM"):
                names = page.locator("option").all_text_contents()
                (at,) = (i for i, name in enumerate(names) if HOSTILE in name)
                page.get_by_role("combobox", name="Class").select_option(str(at))
                assert HOSTILE in page.locator("[data-part=said]").text_content()


def test_hostile_values_of_controls(browser: Browser, tmp_path: Path) -> None:
    """A slider's words and a list's options come from outside as well."""
    figure = Explorer(
        title=HOSTILE,
        controls=[
            Slider("a", HOSTILE, [HOSTILE, "two"]),
            Choice("b", HOSTILE, ["one", HOSTILE], 1),
        ],
        stage="<p>nothing</p>",
        said=HOSTILE,
        caption=HOSTILE,
        data={
            "controls": [["a", 2], ["b", 2]],
            "pictures": [],
            "states": [{"said": f"{HOSTILE}{i}", "parts": {}} for i in range(4)],
        },
        script="pictures.js",
    )
    with watched(browser, figure.save(tmp_path / "a.html")) as page:
        assert page.locator("output").text_content() == HOSTILE
        assert page.locator("[data-part=said]").text_content() == f"{HOSTILE}1"
        assert page.locator("figcaption").text_content() == HOSTILE
        page.get_by_role("slider").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("[data-part=said]").text_content() == f"{HOSTILE}3"
        assert page.locator("img").count() == 0


def test_as_json_ends_no_script() -> None:
    found = as_json({"a": HOSTILE})
    assert "<" not in found
    assert "\u2028" not in found
    assert json.loads(found) == {"a": HOSTILE}
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json({"a": float("nan")})


def test_a_figure_stands_alone(model: Any, x: torch.Tensor, tmp_path: Path) -> None:
    figure = explore_smoothgrad(x, model, samples=(1, 2), levels=(0.1,))
    page = figure._repr_html_()
    addresses = re.findall(r"""(?:src|href)="([^"]+)"|url\(['"]?([^)'"]+)""", page)
    asked = {a for pair in addresses for a in pair if a} - {"${data.pictures[value]}"}
    assert asked
    assert all(address.startswith("data:image/webp;base64,") for address in asked)
    assert "http" not in page
    assert "console." not in page
    assert len(repr(figure)) < 250
    assert figure.title in repr(figure)
    saved = figure.save(str(tmp_path / "figure.html")).read_text(encoding="utf-8")
    assert saved.startswith("<!DOCTYPE html>")
    assert page in saved
