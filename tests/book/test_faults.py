"""A failing cell, a picture without alt text or an outside request fails the build.

A line says where.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from small_books import HEADER, PIXEL, build_book

CELL = """
```{{code-cell}} ipython3
{options}from base64 import b64decode

from IPython.display import Image

Image(b64decode("{pixel}"))
```
"""
Build = Callable[[str], tuple[int, list[str]]]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Return a function that builds a page as ``book/build.py`` does.

    The function returns the exit code and the lines of the warnings.
    """
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def run(text: str) -> tuple[int, list[str]]:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        for name in ("dot.png", "dash.png"):
            (source / name).write_bytes(base64.b64decode(PIXEL))
        (source / "page.md").write_text(HEADER + "# Page\n" + text, encoding="utf-8")
        settings = {
            "extensions": ["myst_nb", "chapter4_faults"],
            "root_doc": "page",
            # A list of its own: MyST-NB would add to Sphinx's default list, and later
            # builds share that.
            "source_suffix": {".md": "myst-nb"},
            "nb_execution_mode": "force" if "code-cell" in text else "off",
            "nb_execution_show_tb": True,
            "mathjax_path": "mathjax.js",
        }
        code, warnings = build_book(
            source, tmp_path, settings, warningiserror=True, keep_going=True
        )
        return code, warnings.strip().splitlines()

    return run


def test_a_sound_page_passes(build: Build) -> None:
    """Described pictures, links to elsewhere and everything from here are no fault."""
    text = (
        "![A dot.](dot.png) [elsewhere](https://example.org)\n\n```{raw} html\n<img"
        ' src="_images/dot.png" alt="A dot."><iframe title="x"'
        ' srcdoc="<p>https://example.org</p>"></iframe><link rel="canonical"'
        ' href="https://example.org">\n```\n'
    )
    assert build(text) == (0, [])


PICTURES = {
    "text": ("![](dot.png)", "dot.png"),
    "figure": ("```{figure} dash.png\n\nCaption.\n```", "dash.png"),
    "raw HTML": ('```{raw} html\n<img src="a/b.png">\n```', "b.png"),
    "empty": ('```{raw} html\n<img src="c.png" alt=" ">\n```', "c.png"),
    "in a frame": (
        '```{raw} html\n<iframe title="x" srcdoc="<img src=\'d.png\'>"></iframe>\n```',
        "d.png",
    ),
}


def test_pictures_without_alt_text(build: Build) -> None:
    """One line for each, with the page and the picture."""
    code, lines = build("\n\n".join(text for text, _ in PICTURES.values()))
    assert code == 1
    assert sorted(line.partition("WARNING: ")[2] for line in lines) == sorted(
        f"page.md: the picture {name} has no alt text" for _, name in PICTURES.values()
    )


def test_cells(build: Build) -> None:
    """A picture without alt text and an error are told, and nothing else is.

    The line quotes the picture's cell, since its name is made up.
    """
    plain = CELL.format(options="", pixel=PIXEL)
    described = '---\nmystnb: {image: {alt: "A dot."}}\n---\n'
    failing = "\n```{code-cell} ipython3\n1 / 0\n```\n"
    code, lines = build(plain + CELL.format(options=described, pixel=PIXEL) + failing)
    assert code == 1
    warnings = [line for line in lines if "WARNING: " in line]
    failed, _, picture = warnings  # between them, where the traceback is
    assert "page.md: WARNING: Executing notebook failed" in failed
    assert "ZeroDivisionError: division by zero" in lines
    assert "WARNING: page.md: the picture " in picture
    assert f'its cell ends with `Image(b64decode("{PIXEL}"))`' in picture
    assert "needs `mystnb: {image: {alt: ...}}`" in picture


OUTSIDE = {
    "script": '<script src="https://example.org/a.js"></script>',
    "style sheet": '<link rel="stylesheet" href="//example.org/a.css">',
    "connection": '<link rel="preconnect" href="https://example.org">',
    "picture": '<img alt="x" src="http://example.org/a.png">',
    "picture in sizes": (
        '<img alt="x" src="_images/a.png" srcset="https://example.org/a.png 2x">'
    ),
    "frame": '<iframe title="x" src="https://example.org/a.html"></iframe>',
    "inside a frame": (
        '<iframe title="x" srcdoc="<script'
        " src='https://example.org/a.js'></script>\"></iframe>"
    ),
    "font in a style": (
        "<style>@font-face { src: url('https://example.org/a.woff'); }</style>"
    ),
    "background": '<p style="background: url(https://example.org/a.png)">x</p>',
    "drawing": (
        '<svg role="img" aria-label="x"><image href="https://example.org/a.png"'
        " /></svg>"
    ),
}


def test_outside_requests(build: Build) -> None:
    """One line for each, with the page and the address."""
    raw = "\n".join(
        each.replace("example.org", f"{place}.example.org")
        for place, each in enumerate(OUTSIDE.values())
    )
    code, lines = build(f"```{{raw}} html\n{raw}\n```")
    assert code == 1
    for place, name in enumerate(OUTSIDE):
        (line,) = [one for one in lines if f"//{place}.example.org" in one]
        assert line.startswith("WARNING: page.html asks another machine: "), name
    assert len(lines) == len(OUTSIDE)


def test_an_outside_request_in_a_style_sheet(build: Build, tmp_path: Path) -> None:
    """Style sheets are read, too."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "own.css").write_text("@import 'https://example.org/b.css';")
    code, (line,) = build("Words.")
    assert code == 1
    assert line == "WARNING: own.css asks another machine: https://example.org/b.css"
