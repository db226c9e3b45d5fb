"""The playground: the browser's results against the package, and what readers meet."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chapter4

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from torch import nn

HTML = Path(__file__).resolve().parents[3] / "book" / "_build" / "html"
PHOTOS = ("cat", "dog", "coffee", "hedgehog", "rocket", "macaw")

# Arrays cross as base64: as lists of numbers they take seconds.
EXPLAIN = """
async ([base64, target]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const image = new Float32Array(bytes.buffer);
  const found = await window.chapter4Playground.explain(image, target);
  return pack(found);
}
"""
SHOWN = """
async () => {
  await window.chapter4Playground.idle();
  return pack(window.chapter4Playground.shown().results);
}
"""
PACK = """
window.pack = ({ target, top, gradcam, saliency }) => {
  const text = (array) => {
    const bytes = new Uint8Array(Float32Array.from(array).buffer);
    let all = "";
    for (let i = 0; i < bytes.length; i += 8192) {
      all += String.fromCharCode(...bytes.subarray(i, i + 8192));
    }
    return btoa(all);
  };
  return { target, top, gradcam: text(gradcam), saliency: text(saliency) };
};
"""


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    """The page, freshly opened; whatever it complains of fails the test."""
    page = visit("playground.html")
    page.add_script_tag(content=PACK)
    return page


def unpack(found: dict[str, Any]) -> dict[str, Any]:
    """The maps of `found` as arrays (224, 224)."""
    for name in ("gradcam", "saliency"):
        raw = base64.b64decode(found[name])
        found[name] = np.frombuffer(raw, np.float32).reshape(224, 224)
    return found


def wait(page: Page) -> None:
    """Until the page has done what it was asked."""
    page.evaluate("window.chapter4Playground.idle()")


def test_the_same_tensor_gives_the_packages_maps(
    page: Page, classifier: nn.Module
) -> None:
    """Grad-CAM within 1e-3 and saliency within 2 % of the reference.

    For the predicted class and another one. The five classes come with the softmax over
    all classes.
    """
    for name in PHOTOS:
        x = chapter4.image_tensor(chapter4.sample_photo(name), classifier)
        text = base64.b64encode(x.numpy().tobytes()).decode()
        for target in (None, 281):
            found = unpack(page.evaluate(EXPLAIN, [text, target]))
            saliency = chapter4.vanilla_gradients(x, classifier, target)
            cam = chapter4.GradCAM(classifier, "bn2").generate_cam(x, target)
            assert found["target"] == saliency.target
            assert np.abs(found["gradcam"] - cam.map).max() <= 1e-3
            apart = chapter4.relative_difference(found["saliency"], saliency.map)
            assert apart <= 2e-2, (name, apart)
        right = classifier(x).softmax(dim=1)[0].topk(5)
        assert [c["index"] for c in found["top"]] == right.indices.tolist()
        assert [c["probability"] for c in found["top"]] == pytest.approx(
            right.values.tolist(), abs=1e-5
        )


def test_a_file_gives_the_same_class_and_nearly_the_same_cam(
    page: Page, classifier: nn.Module
) -> None:
    """The browser decodes and resizes the photo itself."""
    for name in PHOTOS:
        path = chapter4.sample_photo(name)
        page.set_input_files("#playground input[type=file]", path)
        page.wait_for_function("window.chapter4Playground.shown() !== null")
        found = unpack(page.evaluate(SHOWN))
        cam = chapter4.GradCAM(classifier, "bn2").generate_cam(path)
        assert found["target"] == cam.target, name
        together = np.corrcoef(found["gradcam"].ravel(), cam.map.ravel())[0, 1]
        assert together >= 0.95, (name, together)
        says = page.locator("#playground [data-status]").inner_text()
        assert classifier.class_names[cam.target] in says


def test_keyboard_only(page: Page) -> None:
    """A sample photo, another class and both comparisons, by keys alone."""
    page.locator("#playground [data-sample=cat]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#playground [data-top] input:checked")
    wait(page)
    first = page.locator("#playground [data-class]").first.inner_text()
    page.locator("#playground [data-top] input:checked").focus()
    page.keyboard.press("ArrowDown")
    wait(page)
    second = page.locator("#playground [data-class]").first.inner_text()
    assert first != second
    label = page.locator("#playground canvas[data-gradcam]").get_attribute("aria-label")
    assert label is not None
    assert second in label
    assert page.evaluate("document.activeElement.type") == "radio"
    for button in ("[data-nudge]", "[data-read-again]"):
        page.locator(f"#playground {button}").focus()
        page.keyboard.press("Enter")
        wait(page)
        assert "correlate" in page.locator("#playground [data-compare]").inner_text()


def test_nothing_is_loaded_before_the_reader_asks(
    home: str, new_page: Callable[..., Page]
) -> None:
    """The page by itself fetches neither model nor runtime.

    The other pages don't even fetch its script.
    """
    page = new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(home + "playground.html", wait_until="networkidle")
    assert [url for url in asked if "onnx" in url or "/playground/" in url] == []
    asked.clear()
    page.goto(home + "gradcam.html", wait_until="networkidle")
    assert [url for url in asked if "playground" in url] == []


def test_what_is_no_picture(page: Page, tmp_path: Path) -> None:
    """A file that can't be read is one clear line, and the next photo works."""
    file = tmp_path / "notes.png"
    file.write_text("no picture")
    page.set_input_files("#playground input[type=file]", file)
    page.wait_for_selector("#playground [data-status].trouble")
    assert "no picture" in page.locator("#playground [data-status]").inner_text()
    page.locator("#playground [data-sample=coffee]").click()
    page.wait_for_selector("#playground [data-top] input:checked")
    wait(page)
    assert "espresso" in page.locator("#playground [data-status]").inner_text()


def test_opened_as_a_file(home: str, visit: Callable[..., Page]) -> None:
    """Without a server the page says what to do."""
    page = visit((HTML / "playground.html").as_uri(), watched=False)
    page.wait_for_selector("#playground [data-status].trouble")
    assert "make serve" in page.locator("#playground [data-status]").inner_text()
