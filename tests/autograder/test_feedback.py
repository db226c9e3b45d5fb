"""A student's text and code are shown in time, and do no harm in a browser."""

from __future__ import annotations

import time

import pytest

from autograder import feedback


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[here](javascript:alert(1))",
        '<a href="javascript:alert(1)">here</a>',
        "<iframe src='//elsewhere'></iframe>",
        "<p style='position:fixed'>over everything</p>",
        "![picture](https://elsewhere/counter.png)",
        # The formgrader finds its own buttons and fields by these.
        "<div class='nbgrader_cell'><p id='smooth-grad' class='full-credit'>Click</p>",
        "# smooth-grad",
    ],
)
def test_markdown_can_do_no_harm_in_a_browser(attack: str) -> None:
    html = feedback.harmless_markdown(attack)
    for part in ("<script", "<img", "<iframe", 'href="javascript', "style="):
        assert part not in html
    assert " id=" not in html
    assert " class=" not in html


def test_markdown_keeps_its_form() -> None:
    text = "# Title\n\n- `a < b`\n\n<details><summary>Hint</summary>\n\nx\n\n</details>"
    html = feedback.harmless_markdown(text)
    for part in ("<h1", "<li>", "a &lt; b", "<details>", "<summary>"):
        assert part in html


def test_long_markdown_is_shown_as_text() -> None:
    """Many an attack on Markdown takes time that grows with the square."""
    html = feedback.harmless_markdown("<b>[" * 50_000)
    assert html.startswith("<pre>&lt;b&gt;[")


LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "source",
    [
        f"```systemd\nx{' ' * 9_000}y\n```",
        f"```ipython3\nx{chr(10) * 9_000}y\n```",
        "".join(f"<b {x}{y}>" for x in LETTERS for y in LETTERS) + "<p>x" * 1_000,
    ],
    ids=["lexer", "lines", "tags"],
)
def test_markdown_that_would_take_minutes(source: str) -> None:
    start = time.process_time()
    assert "x" in feedback.harmless_markdown(source)
    assert time.process_time() - start < 5


def test_code_has_colours_unless_they_would_take_an_hour() -> None:
    start = time.process_time()
    for source in ("x = 1" + "\n" * 20_000 + "1 < 2", "f'{" * 60_000 + "1 < 2"):
        html = feedback.coloured_code(source)
        assert "1 &lt; 2</pre>" in html
        assert "<span" not in html
    assert time.process_time() - start < 5
    assert '<span class="o">' in feedback.coloured_code("1 < 2")
