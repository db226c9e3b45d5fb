"""Every built page in a real browser: complete, described, and self-contained.

No third party is asked for anything. A run leaves a picture of each page, and a table
of what each weighs and how long it takes to be drawn, in tests/_output (CHAPTER4_OUTPUT
names another folder).
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HTML = Path(__file__).resolve().parents[3] / "book" / "_build" / "html"
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("*.html"))

OUTPUT = Path(
    os.environ.get("CHAPTER4_OUTPUT") or Path(__file__).parents[2] / "_output"
)

COUNTED = ("figures", "pictures", "with alt text")

# Notes when the page had loaded, its fonts were there, and its formulas, diagrams and
# pictures were drawn.
DRAWN = """
window.addEventListener("load", async () => {
  if (document.querySelector(".math")) await window.MathJax?.startup?.promise;
  const count = (selector) => document.querySelectorAll(selector).length;
  while (count("pre.mermaid") > count("pre.mermaid svg")) {
    await new Promise((next) => setTimeout(next, 10));
  }
  await document.fonts.ready;
  const images = [...document.images].filter((i) => i.loading !== "lazy");
  await Promise.all(images.map((i) => i.decode().catch(() => null)));
  window.chapter4Drawn = Math.round(performance.now());
});
"""

# What the checks read from a page, once its scripts have come to rest.
REPORT = """
async () => {
  if (document.querySelector(".math")) await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  const images = [...document.images];
  images.forEach((image) => { image.loading = "eager"; });
  await Promise.all(images.map((image) => image.decode().catch(() => null)));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const text = (selector) => all(selector).map((e) => e.textContent.trim());
  const description = (svg) =>
    document.getElementById(svg.getAttribute("aria-describedby"));
  return {
    headings: text("article h1"),
    math: all("article .math").length,
    typeset: all("article .math mjx-container").length,
    mathErrors: text("mjx-merror"),
    diagrams: all("pre.mermaid").length,
    described: all("pre.mermaid svg").filter((svg) =>
      svg.getAttribute("aria-roledescription") !== "error"
      && description(svg)?.textContent.trim()
      && svg.getBoundingClientRect().width > 50).length,
    undescribed: images.filter((image) => !image.alt.trim()).map((image) => image.src),
    broken: images.filter((image) => image.naturalWidth === 0)
      .map((image) => image.src),
    filtered: all("article img, pre.mermaid > svg").filter((e) =>
      getComputedStyle(e).filter !== "none").length,
    untitled: all("iframe").filter((frame) => !frame.title.trim()).length,
    links: all("a[href]").map((a) => a.href),
    width: document.documentElement.scrollWidth,
    dark: document.documentElement.dataset.theme === "dark",
    figures: all("article :is(figure, pre.mermaid, iframe)").length,
    pictures: all("article img").length,
    "with alt text": all("article img").filter((image) => image.alt.trim()).length,
    drawn: window.chapter4Drawn,
  };
}
"""


@dataclass
class Traffic:
    """What a page asked for and complained about."""

    foreign: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, page: Page, home: str) -> None:
        """Record the requests, failures and errors of ``page`` from now on."""

        def request(r: object) -> None:
            url = str(getattr(r, "url", ""))
            if not url.startswith((home, "data:", "blob:")):
                self.foreign.append(url)

        page.on("request", request)
        page.on("requestfailed", lambda r: self.failed.append(r.url))
        page.on(
            "response",
            lambda r: (
                self.failed.append(f"{r.status} {r.url}") if r.status >= 400 else None
            ),
        )
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        page.on(
            "console",
            lambda m: self.errors.append(m.text) if m.type == "error" else None,
        )


@pytest.fixture(scope="module")
def table() -> Iterator[list[dict[str, object]]]:
    """One row a page, on a desk; written when all pages have been seen."""
    rows: list[dict[str, object]] = []
    yield rows
    if rows:
        with (OUTPUT / "pages.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def weigh(page: Page) -> list[float]:
    """The bytes of each answer from now on, headers included."""
    sizes: list[float] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on(
        "Network.loadingFinished", lambda e: sizes.append(e["encodedDataLength"])
    )
    return sizes


def keep_picture(page: Page, name: str) -> None:
    """A picture of the whole page, for who looks at a run's results."""
    folder = OUTPUT / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jpg"
    page.screenshot(path=path, full_page=True, type="jpeg", quality=60)


@pytest.mark.parametrize(
    ("width", "scheme"),
    [(1280, "light"), pytest.param(360, "dark", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("name", PAGES or ["index.html"])
def test_page(
    home: str,
    browser: Browser,
    table: list[dict[str, object]],
    name: str,
    width: int,
    scheme: str,
) -> None:
    """A page is complete, on a desk and on a phone."""
    traffic = Traffic()
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    try:
        page = context.new_page()
        traffic.watch(page, home)
        sizes = weigh(page)
        page.add_init_script(DRAWN)
        page.goto(home + name, wait_until="networkidle")
        if page.locator("pre.mermaid").count():
            page.wait_for_selector("pre.mermaid svg")
        # The page that leads to the first one is gone before it is drawn.
        page.wait_for_function("window.chapter4Drawn !== undefined")
        kilobytes = round(sum(sizes) / 1000)
        seen = page.evaluate(REPORT)
        keep_picture(page, f"{Path(name).stem}-{width}-{scheme}")
    finally:
        context.close()
    if width == 1280 and name not in ("index.html", "search.html"):
        row: dict[str, object] = {"page": name, "kB": kilobytes}
        row["ms until drawn"] = seen["drawn"]
        table.append(row | {key: seen[key] for key in COUNTED})
    assert traffic.foreign == [], "asked another machine"
    assert traffic.failed == []
    assert traffic.errors == []
    assert seen["mathErrors"] == []
    assert seen["typeset"] == seen["math"], "formulas left as source text"
    assert seen["described"] == seen["diagrams"], (
        "diagrams not drawn, or without a description"
    )
    assert seen["undescribed"] == [], "pictures without alt text"
    assert seen["untitled"] == 0, "frames without a title"
    assert seen["broken"] == []
    assert seen["filtered"] == 0, "the theme changes the colours of a figure"
    assert seen["width"] <= width, (
        f"the page is {seen['width']} px wide on a screen of {width}"
    )
    assert seen["dark"] == (scheme == "dark")
    assert len(seen["headings"]) == (name != "search.html")
    assert [link for link in seen["links"] if not stands(link, home)] == [], (
        "dead links"
    )


def stands(link: str, home: str) -> bool:
    """Tell whether a link inside the book leads to a file and an anchor in it.

    Other links are https and not followed.
    """
    if not link.startswith(home):
        return re.fullmatch(r"https://[\w-]+(\.[\w-]+)+(/[^\s<>]*)?", link) is not None
    parts = urlsplit(link)
    target = HTML / unquote(parts.path).lstrip("/")
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file():
        return False
    if not parts.fragment or target.suffix != ".html":
        return True
    anchor = re.escape(unquote(parts.fragment))
    return (
        re.search(rf'\bid="{anchor}"', target.read_text(encoding="utf-8")) is not None
    )


def test_opened_as_a_file(home: str, browser: Browser) -> None:
    """The first page draws its diagram when opened from the disk, with no server."""
    page = browser.new_page()
    try:
        errors: list[str] = []
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto((HTML / "intro.html").as_uri())
        page.wait_for_selector("pre.mermaid svg")
        assert errors == []
    finally:
        page.close()


def test_search_finds_a_method(home: str, browser: Browser) -> None:
    """The search box works without a service."""
    page = browser.new_page()
    try:
        page.goto(home + "search.html?q=completeness")
        page.wait_for_selector("#search-results li a")
    finally:
        page.close()


def test_diagram_follows_the_colour_scheme(home: str, browser: Browser) -> None:
    """A diagram is drawn again when the reader turns the page dark."""
    context = browser.new_context(color_scheme="light")
    try:
        page = context.new_page()
        page.goto(home + "intro.html")
        page.wait_for_selector("pre.mermaid svg")
        fill = (
            "getComputedStyle(document.querySelector('pre.mermaid svg .node"
            " rect')).fill"
        )
        light = page.evaluate(fill)
        page.emulate_media(color_scheme="dark")
        drawn = "document.querySelector('pre.mermaid svg .node rect')"
        page.wait_for_function(f"{drawn} && {fill} !== '{light}'")
    finally:
        context.close()
