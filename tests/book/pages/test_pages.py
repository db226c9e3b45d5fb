"""Every built page in a real browser: complete, described, and self-contained.

No third party is asked for anything. A run leaves a picture of each page, and a table
of what each weighs and how long it takes to be drawn, in tests/_output (CHAPTER4_OUTPUT
names another folder).
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

HTML = Path(__file__).resolve().parents[3] / "book" / "_build" / "html"
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("*.html"))

OUTPUT = Path(
    os.environ.get("CHAPTER4_OUTPUT") or Path(__file__).parents[2] / "_output"
)

COUNTED = ("figures", "pictures", "with alt text")

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


def watch(page: Page, home: str) -> dict[str, list[str]]:
    """What a page asks of others, fails to get and complains of, from now on."""
    seen: dict[str, list[str]] = {"foreign": [], "failed": [], "errors": []}

    def note(kind: str, what: str, wrong: bool = True) -> None:
        if wrong:
            seen[kind].append(what)

    ours = (home, "data:", "blob:")
    page.on("request", lambda r: note("foreign", r.url, not r.url.startswith(ours)))
    page.on("requestfailed", lambda r: note("failed", r.url))
    page.on(
        "response", lambda r: note("failed", f"{r.status} {r.url}", r.status >= 400)
    )
    page.on("pageerror", lambda e: note("errors", str(e)))
    page.on("console", lambda m: note("errors", m.text, m.type == "error"))
    return seen


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
    new_page: Callable[..., Page],
    table: list[dict[str, object]],
    name: str,
    width: int,
    scheme: str,
) -> None:
    """A page is complete, on a desk and on a phone, and leaves others in peace."""
    page = new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    traffic = watch(page, home)
    sizes = weigh(page)
    # Until nothing more is asked for: late requests count, too.
    page.goto(home + name, wait_until="networkidle")
    page.wait_for_function("window.chapter4Drawn !== undefined")
    kilobytes = round(sum(sizes) / 1000)
    seen = page.evaluate(REPORT)
    keep_picture(page, f"{Path(name).stem}-{width}-{scheme}")
    if width == 1280 and name not in ("index.html", "search.html"):
        row: dict[str, object] = {"page": name, "kB": kilobytes}
        row["ms until drawn"] = seen["drawn"]
        table.append(row | {key: seen[key] for key in COUNTED})
    assert traffic == {"foreign": [], "failed": [], "errors": []}
    wanted = {
        "mathErrors": [],
        "typeset": seen["math"],
        "described": seen["diagrams"],
        "undescribed": [],
        "untitled": 0,
        "broken": [],
        "filtered": 0,  # the theme does not change the colours of a figure
        "dark": scheme == "dark",
    }
    assert {key: seen[key] for key in wanted} == wanted
    assert seen["width"] <= width
    assert len(seen["headings"]) == (name != "search.html")
    assert [link for link in seen["links"] if not stands(link, home)] == []


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


def test_opened_as_a_file(home: str, visit: Callable[..., Page]) -> None:
    """The first page draws its diagram when opened from the disk, with no server."""
    page = visit((HTML / "intro.html").as_uri())
    page.wait_for_selector("pre.mermaid svg")


def test_search_finds_a_method(visit: Callable[..., Page]) -> None:
    """The search box works without a service."""
    page = visit("search.html?q=completeness")
    page.wait_for_selector("#search-results li a")


def test_diagram_follows_the_colour_scheme(visit: Callable[..., Page]) -> None:
    """A diagram is drawn again when the reader turns the page dark."""
    page = visit("intro.html", color_scheme="light")
    drawn = "document.querySelector('pre.mermaid svg .node rect')"
    fill = f"getComputedStyle({drawn}).fill"
    light = page.evaluate(fill)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{drawn} && {fill} !== '{light}'")
