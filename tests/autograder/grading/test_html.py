"""The pages: what a student may see and no more, in the dark and on a phone.

Nothing in them is alive.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from chromium import launched, watched

from autograder.checking.runner import HIDDEN_REASONS, CheckResult, reason_of
from autograder.grading.changes import Change, Changes, Grade
from autograder.grading.export import Row
from autograder.grading.html import STATUS, WORDS, student_page, summary_page
from autograder.grading.state import Record
from autograder.nbgrader_plugin import verdict_outputs

ATTACK = "<script>alert(1)</script><img src='//elsewhere/x' onerror='x()'>&quot;"
RUN = {"seed": 7, "started": "2026-01-02T03:04:05+00:00", "sandbox": True}


def check(name: str, status: str, *, public: bool, **more: Any) -> CheckResult:
    told = {"points": 2.0, "earned": 0.0, "message": f"why {name}"} | more
    return CheckResult(
        f"task/{name}", f"Title of {name}", status=status, public=public, **told
    )


CHECKS = (
    check("shown", "failed", public=True, hint="hint shown"),
    check("part", "failed", public=True, earned=0.5),
    check("secret", "failed", public=False, hint="hint secret"),
    check("fine", "passed", public=False, earned=2.0, message=""),
    check("attack", "error", public=True, message=ATTACK, hint=ATTACK),
)
RECORD = Record(
    ATTACK, "problem2", "graded", checks=CHECKS, failed_cells={"cell 3": ATTACK}
)
ROW = Row(RECORD, "graded", 2.5, 20.0, 20.0, False)


def every_status() -> list[Row]:
    """A row of each status, as a run makes it."""
    rows = []
    for i, status in enumerate(STATUS):
        judged = status not in ("missing", "unreadable", "grader-error")
        record = Record(
            f"student {i} {ATTACK}",
            "problem2",
            "graded" if status == "needs-hand-grading" else status,
            "" if judged else f"Traceback:\nfirst line {ATTACK}",
            checks=CHECKS if judged else (),
        )
        by_hand = status == "needs-hand-grading"
        rows.append(Row(record, status, 2.5 if judged else None, 25.0, 20.0, by_hand))
    return rows


def text_of(html: str) -> str:
    return " ".join(BeautifulSoup(html, "html.parser").get_text(" ").split())


def items(html: str) -> dict[str, str]:
    """Check -> all that its entry says."""
    found = [text_of(str(li)) for li in BeautifulSoup(html, "html.parser").select("li")]
    return {
        match.group(1): line
        for line in found
        if (match := re.search(r"Title of (\w+)", line))
    }


FULL = student_page(ROW, RUN["started"])


def test_of_a_hidden_check_there_is_one_line_and_of_a_public_one_the_reason() -> None:
    shown = items(FULL)
    assert shown["secret"] == (
        "Failed: Title of secret (0 of 2 points) Why: the known mistake that is named"
        " above."
    )
    assert shown["fine"] == "Passed: Title of fine (2 of 2 points)"
    assert "why secret" not in FULL
    assert shown["shown"] == "Failed: Title of shown (0 of 2 points) Why: why shown"
    assert shown["part"].startswith("Partly passed: Title of part (0.5 of 2 points)")


LEAK = "for x = 3.14 the answer is 42"


@pytest.mark.parametrize("status", [*HIDDEN_REASONS, "part"])
@pytest.mark.parametrize("hint", ["", "The gradients were added, not averaged."])
def test_both_feedbacks_say_the_same_one_line_of_a_hidden_check(
    status: str, hint: str
) -> None:
    """Title, points and a reason; nothing that was asked, expected or answered."""
    earned = 0.5 if status == "part" else 0.0
    status = "failed" if status == "part" else status
    hidden = check(
        "secret", status, public=False, message=LEAK, hint=hint, earned=earned
    )
    reason = reason_of(hidden)
    assert reason
    assert "\n" not in reason
    html = student_page(replace(ROW, record=replace(RECORD, checks=(hidden,))), "")
    text = " ".join(verdict_outputs([hidden])[0]["text"].split())
    assert text.endswith(f"Title of secret ({earned:g} of 2) why: {reason}")
    shown = reason if reason != hint else "the known mistake that is named above."
    assert items(html)["secret"].endswith(f"({earned:g} of 2 points) Why: {shown}")
    assert reason in text_of(html)
    for feedback in (html, text):
        assert not {"3.14", "42"} & set(
            re.findall(r"[\d.]+", feedback.partition("<body>")[2] or feedback)
        )


def test_a_known_mistake_is_named_once_whichever_check_found_it() -> None:
    """It is about the student's code; of the hidden check it says nothing."""
    said = text_of(FULL)
    words = "A known mistake gives these numbers:"
    assert said.count(words) == 3
    for hint in ("hint shown", "hint secret"):
        assert said.count(f"{words} {hint}") == 1
    assert said.index("hint secret") < said.index("Title of shown")


def test_a_task_stands_in_one_place_with_its_points() -> None:
    """Public checks run first, so that those of a task are not side by side."""
    other = replace(CHECKS[0], id="other/x", title="Other", hint="")
    mixed = (CHECKS[0], other, *CHECKS[1:])
    row = replace(ROW, record=replace(RECORD, checks=mixed))
    soup = BeautifulSoup(student_page(row, ""), "html.parser")
    assert [h.text for h in soup.select("h2")] == [
        "Cells that did not run through",
        "task: 2.5 of 10 points",
        "other: 0 of 2 points",
    ]


def test_points_and_what_a_person_still_has_to_grade() -> None:
    rows = {row.status: row for row in every_status()}
    said = text_of(student_page(rows["needs-hand-grading"], ""))
    assert "2.5 of 25 points." in said
    assert "The checks gave 4.5 of 20." not in said, "2.5 is what the row says"
    assert "5 points are given by a person, who is not through yet." in said
    graded = text_of(student_page(rows["graded"], ""))
    assert "5 points are given by a person, and are counted." in graded
    assert "person" not in text_of(student_page(ROW, ""))


@pytest.mark.parametrize("row", every_status(), ids=lambda row: row.status)
def test_every_status_has_words_and_points_only_where_somebody_judged(row: Row) -> None:
    said = text_of(student_page(row, ""))
    word, meaning = STATUS[row.status]
    assert f"{word}. {meaning}" in said
    assert ("of 25 points" in said) == (row.score is not None)


def test_a_mistake_of_ours_shows_nothing_of_its_traceback() -> None:
    rows = {row.status: row for row in every_status()}
    mistake = rows["grader-error"]
    record = replace(mistake.record, checks=CHECKS)
    html = student_page(replace(mistake, record=record), "")
    assert "Traceback" not in html
    assert "Title of" not in html
    assert "on our side" in html
    unreadable = text_of(student_page(rows["unreadable"], ""))
    assert "Why:" in unreadable
    assert "hand it in again" in unreadable


PAGES = {row.status: student_page(row, RUN["started"]) for row in every_status()} | {
    "index": summary_page(every_status(), RUN),
    "full": FULL,
}


@pytest.mark.parametrize("html", PAGES.values(), ids=PAGES)
def test_a_page_is_whole_and_nothing_runs_and_nothing_is_fetched(html: str) -> None:
    soup = BeautifulSoup(html, "html.parser")
    for tag in ("script", "img", "iframe", "link", "object", "embed", "form", "svg"):
        assert soup.select(tag) == []
    for element in soup.find_all(True):
        assert not [name for name in element.attrs if name.startswith("on")]
        for attribute in ("src", "href"):
            address = str(element.attrs.get(attribute, ""))
            assert not re.match(r"[a-z]*:|/", address), address
    policy = soup.select_one("meta[http-equiv='Content-Security-Policy']")
    assert policy is not None
    assert "default-src 'none'" in policy["content"]
    (style,) = soup.select("style")
    assert "url(" not in style.text
    assert "@import" not in style.text
    assert soup.html is not None
    assert soup.html["lang"] == "en"
    assert soup.title is not None
    assert soup.title.text.strip()
    assert len(soup.select("h1")) == 1
    assert soup.select_one("meta[name=viewport]") is not None


def test_the_teachers_page_counts_and_links() -> None:
    rows = every_status()
    html = summary_page(rows, RUN)
    said = text_of(html)
    assert "seed 7" in said
    assert "7 rows:" in said
    assert "(median 2.5 of 25 points)" in said
    soup = BeautifulSoup(html, "html.parser")
    (table,) = soup.select("[aria-label='Problem 2, checks'] table")
    lines = [[td.text.strip() for td in tr.select("td")] for tr in table.select("tr")]
    assert ["task", "Title of secret", "4 of 4"] in lines
    assert ["task", "Title of fine", "0 of 4"] in lines
    widths = [str(bar["style"]) for bar in table.select(".bar span")]
    assert sorted(set(widths)) == ["width: 0%", "width: 100%"]
    links = [str(a["href"]) for a in soup.select("td a")]
    assert len(links) == len(set(links)) == len(rows)
    assert all(re.fullmatch(r"feedback/[\w.%~-]+/problem2\.html", x) for x in links)
    assert [td.text for td in soup.select("td.count")].count("none") == 3


def test_the_gradebooks_trouble_stands_in_the_teachers_page_only() -> None:
    row = replace(ROW, note="not in the gradebook: boom")
    assert "not in the gradebook: boom" in summary_page([row], RUN)
    assert "boom" not in student_page(row, "")


def test_every_state_of_a_check_has_a_word_of_its_own() -> None:
    assert len(set(WORDS.values())) == len(WORDS)


def test_on_a_phone_in_any_light(tmp_path: Path) -> None:
    """Nothing is cut off at 360 pixels, and every text stands out from its ground."""
    long = replace(RECORD, student="n" * 255, failed_cells={"cell 1": "x" * 300})
    wide = [*every_status(), replace(ROW, record=long)]
    grade = Grade("needs-hand-grading", 12.345678, 9.876543)
    changes = Changes([Change("n" * 255, "problem2", grade, grade, "y" * 80)], 1, 1)
    index = summary_page(wide, RUN, changes)
    (tmp_path / "index.html").write_text(index, encoding="utf-8")
    (tmp_path / "page.html").write_text(student_page(wide[-1], ""), encoding="utf-8")
    size = {"width": 360, "height": 740}
    with launched(env={**os.environ, "HOME": str(tmp_path)}) as browser:
        for scheme in ("light", "dark"):
            for name in ("index.html", "page.html"):
                options = {"viewport": size, "color_scheme": scheme}
                with watched(browser, tmp_path / name, **options) as page:
                    assert page.evaluate("document.documentElement.scrollWidth") <= 360
                    assert contrast(page) >= 4.5, (scheme, name)


def contrast(page: Any) -> float:
    """The least contrast of a text with the ground that is painted below it."""
    pairs = page.evaluate("""() => [...document.querySelectorAll("body *")]
        .filter(e => e.textContent.trim()).map(e => {
        const ground = x => getComputedStyle(x).backgroundColor;
        const clear = x => ground(x) == 'rgba(0, 0, 0, 0)';
        let g = e;
        while (clear(g) && g.parentElement) g = g.parentElement;
        return [getComputedStyle(e).color, ground(g)] })""")
    return min(_ratio(*pair) for pair in pairs)


def _ratio(ink: str, ground: str) -> float:
    shades = sorted(_luminance(colour) for colour in (ink, ground))
    return (shades[1] + 0.05) / (shades[0] + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(x) / 255 for x in re.findall(r"\d+", colour)[:3]]
    linear = [
        x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts
    ]
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
