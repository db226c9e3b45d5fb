"""Every known mistake, by two authors: what it costs, and what its author reads.

A problem's file in ``rules`` quotes its statement part by part. Beside each part stand
the mistakes that disobey it and the checks that fail then.
"""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import second_author
from submissions import lost, student_of

from autograder.checking.runner import CheckResult, points_of, run_checks
from autograder.course import release

PROBLEMS = [f"problem{number}" for number in range(1, 6)]
KNOWN: dict[str, Any] = {
    problem: importlib.import_module(
        f"autograder.problems.{problem}.instructors.mistakes"
    )
    for problem in PROBLEMS
}
RULES: dict[str, dict[str, Any]] = {
    problem: tomllib.loads(
        (Path(__file__).parent / "rules" / f"{problem}.toml").read_text("utf-8")
    )
    for problem in PROBLEMS
}
ONLY_IN_GRADING = "only-in-grading"

# The one table of what a mistake costs: a share of its task's points -> the mistakes.
# Every mistake that can be made in more than one task stands here.
SHARES: dict[float, set[str]] = {
    0.1: {  # carelessness: the numbers are right
        "a batch axis kept",
        "array changed in place",
        "hook left in the model",
        "image changed in place",
        "model left in eval mode",
        "model left in training mode",
        "no seed",
        "one seed",
        "requires_grad left off",
        "training mode while explaining",
    },
    0.2: {"one noise for all channels"},
    0.5: {"corners aligned"},
    1: {  # the numbers are wrong throughout
        ".grad accumulates",
        "a list",
        "absolute value after the sum",
        "absolute, not relative",
        "columns only",
        "divided by n - 1",
        "each map scaled to 1",
        "first channel only",
        "gradient at the baseline only",
        "gradient at the image only",
        "in percent",
        "log-softmax instead of logit",
        "maximum over channels",
        "mean instead of sum",
        "methods swapped",
        "minimum subtracted",
        "negative attributions cut off",
        "pieces not merged",
        "rounded",
        "rows and columns swapped",
        "scaled to 1",
        "scaled to sum 1",
        "self not excluded",
        "signed maximum",
        "signed sum",
        "softmax instead of logit",
        "special tokens dropped silently",
        "squared",
        "sum of absolute values",
        "sum over all classes",
        "summed, not averaged",
        "the class predicted at the image",
        "the next class",
        "the predicted class",
        "transposed",
    },
}

# Whoever divides by a map's own maximum reads that, too.
ALSO = {
    ("problem5", "grad-cam", "NaN on a blank map"): "scaled to 1",
    ("problem5", "both-maps", "0 / 0 on a blank map"): "maps scaled separately",
}
# problem -> a task and a mistake in it, and how many checks it fails when the answer is
# also three times too large.
TWO = {
    "problem1": ("roughness", "squared differences", 2),
    "problem2": ("smooth-grad", "uniform noise", 3),
    "problem3": ("integrated-gradients", "softmax instead of logit", 4),
    "problem5": ("grad-cam", "no weights", 3),
}
# Mistakes that end a call besides showing in the numbers of another.
RAISES = [
    ("problem3", "cell is the number of cells"),
    ("problem3", "cells of the wrong axis"),
    ("problem3", "means over the wrong axes"),
    ("problem3", "pixel values below 0.1 and above 0.9"),
]


# The second author took these names in another sense: it is another mistake, which
# loses points and reads the checks' own words.
OTHER_SENSE = {
    ("problem5", "both-maps"): (
        "0 / 0 on a blank map",
        "channels summed with their signs",
        "each map's minimum subtracted",
        "the crop's corner",
        "the whole photo squashed",
    ),
    ("problem5", "cover-test"): ("bottom and right included", "covers pile up"),
    ("problem5", "find-cause"): (
        "harmless changes as one more cause",
        "largest change of the pixels",
        "largest gain in probability",
    ),
    ("problem5", "grad-cam"): ("NaN on a blank map",),
    ("problem5", "integrated-gradients"): ("one step too few", "the predicted class"),
    ("problem5", "standing"): ("rank within the top 5",),
}


def listed(*tables: str) -> list[tuple[str, str, str]]:
    return [
        (problem, task, name)
        for problem, known in KNOWN.items()
        for table in tables
        for task, names in getattr(known, table).items()
        for name in names
    ]


def by_authors(*tables: str) -> list[tuple[str, str, str, str]]:
    """Every mistake once for each author who made it."""
    known = listed(*tables)
    again = [
        (problem, task, name)
        for problem, task, name in known
        if (task, name) in second_author.listed(problem)
        and name not in OTHER_SENSE.get((problem, task), ())
    ]
    return [(*one, "first") for one in known] + [(*one, "second") for one in again]


@cache
def results_of(
    problem: str, task: str, mistake: str, author: str = "first"
) -> tuple[CheckResult, ...]:
    """The verdicts on the task's checks."""
    if author == "first":
        source = KNOWN[problem].wrong_submission(task, mistake)
    else:
        source = second_author.submission(problem, task, mistake)
    return tuple(run_checks(problem, student_of(source), 7, task=task))


def share_lost(problem: str, task: str, mistake: str, author: str = "first") -> float:
    results = results_of(problem, task, mistake, author)
    return sum(r.points - r.earned for r in results) / points_of(problem)[task]


@pytest.mark.parametrize(("problem", "task", "name", "author"), by_authors("HINTS"))
def test_a_mistake_loses_points_and_is_named(
    problem: str, task: str, name: str, author: str
) -> None:
    failed = lost([*results_of(problem, task, name, author)])
    assert share_lost(problem, task, name, author) > 0
    hints = {r.hint for r in failed if r.status == "failed"}
    assert hints == {KNOWN[problem].HINTS[task][name]}
    assert (problem, name) in RAISES or {r.status for r in failed} == {"failed"}


@pytest.mark.parametrize(("problem", "task", "name", "author"), by_authors("TOLD"))
def test_a_mistake_that_no_number_shows_is_told(
    problem: str, task: str, name: str, author: str
) -> None:
    known = KNOWN[problem]
    failed = lost([*results_of(problem, task, name, author)])
    assert failed
    if points_of(problem)[task]:
        assert share_lost(problem, task, name, author) > 0
    assert any(known.TOLD[task][name] in r.message for r in failed)
    also = known.HINTS[task].get(ALSO.get((problem, task, name), ""), "")
    assert {r.hint for r in failed} <= {"", also}, "a hint for another mistake"
    assert all("\n" not in r.message for r in failed)


@pytest.mark.parametrize(
    ("problem", "task", "name"),
    [(*where, name) for where, names in OTHER_SENSE.items() for name in names],
)
def test_a_mistake_in_another_sense_is_not_called_by_a_wrong_name(
    problem: str, task: str, name: str
) -> None:
    assert share_lost(problem, task, name, "second") > 0
    hints = {r.hint for r in results_of(problem, task, name, "second")}
    assert hints <= {"", KNOWN[problem].HINTS[task].get(name, "")}


@pytest.mark.parametrize("problem", second_author.problems())
def test_the_second_author_is_right_but_for_the_known_mistakes(problem: str) -> None:
    source = second_author.submission(problem)
    assert lost(run_checks(problem, student_of(source), 7)) == []
    first = {(t, name) for p, t, name in listed("HINTS", "TOLD") if p == problem}
    assert second_author.listed(problem) <= first


@pytest.mark.parametrize(
    ("problem", "task"),
    [(problem, task) for problem, known in KNOWN.items() for task in known.FUNCTIONS],
)
def test_the_variants_code_without_a_mistake_is_right(problem: str, task: str) -> None:
    """Otherwise a variant could lose its points for another reason than its mistake."""
    assert lost([*results_of(problem, task, "")]) == []


@pytest.mark.parametrize("problem", TWO)
def test_two_mistakes_at_once_get_no_wrong_hint(problem: str) -> None:
    """No listed mistake explains both; the checks' own words remain."""
    task, mistake, least = TWO[problem]
    name, _ = KNOWN[problem].FUNCTIONS[task]
    source = KNOWN[problem].wrong_submission(task, mistake)
    source += f"one = {name}\ndef {name}(*a):\n    return 3 * one(*a)\n"
    failed = lost(run_checks(problem, student_of(source), 5, task=task))
    assert len(failed) >= least
    assert not any(r.hint for r in failed)


# What a mistake costs.

PRICE = {name: share for share, names in SHARES.items() for name in names}


@pytest.mark.parametrize(
    ("problem", "task", "name", "author"),
    [one for one in by_authors("HINTS", "TOLD") if one[2] in PRICE],
)
def test_the_same_mistake_costs_the_same_share_everywhere(
    problem: str, task: str, name: str, author: str
) -> None:
    share = share_lost(problem, task, name, author)
    assert share == pytest.approx(PRICE[name], abs=1e-6)


def test_every_mistake_of_several_tasks_has_a_price() -> None:
    names = [name for _, task, name in listed("HINTS", "TOLD") if task != "words"]
    assert {name for name in names if names.count(name) > 1} <= set(PRICE)
    assert set(PRICE) <= set(names)


# What the statement says.


def statement_of(problem: str) -> Iterator[tuple[str, str]]:
    """Each task and its text in the notebook, without its heading and hints."""
    path = release.COURSE / "solutions" / problem / f"{problem}.md"
    text = ""
    for cell in release.source_notebook(path).cells:
        if cell.cell_type == "markdown":
            text = "" if cell.source.startswith("## ") else text
            text += "\n" + cell.source
            continue
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if name.endswith("-code"):
            text = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
            text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
            yield name.removesuffix("-code"), " ".join(text.split())


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_part_of_a_statement_is_asked_or_asks_nothing(problem: str) -> None:
    rules = RULES[problem]
    tasks = dict(statement_of(problem))
    assert [task for task in rules if task != ONLY_IN_GRADING] == [*tasks]
    for task, text in tasks.items():
        for rule in rules[task]:
            part = " ".join(rule["text"].split())
            assert part in text, f"{task}: the statement no longer says: {part}"
            text = text.replace(part, "", 1)
            kinds = {"asked", "explains", "not-graded", "by-hand"} & rule.keys()
            assert len(kinds) == 1, part
            assert "not graded" in part or kinds != {"not-graded"}, part
            assert points_of(problem)[task] == 0 or kinds != {"by-hand"}, part
            assert rule.get("asked") != {}, part
        assert set(text) <= set("-* |"), f"{task}: not in the table of rules: {text}"


@pytest.mark.parametrize(
    ("problem", "task", "mistake", "name"),
    [
        (problem, task, mistake, name)
        for problem, rules in RULES.items()
        for task, parts in rules.items()
        if task != ONLY_IN_GRADING
        for rule in parts
        for mistake, name in rule.get("asked", {}).items()
    ],
)
def test_who_breaks_a_rule_fails_its_check(
    problem: str, task: str, mistake: str, name: str
) -> None:
    failed = lost([*results_of(problem, task, mistake)])
    assert f"{task}/{name}" in {r.id for r in failed}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_likely_slip_shows_before_the_work_is_handed_in(problem: str) -> None:
    """What no public check finds is listed, with the reason why that is well so."""
    found = {
        f"{task}: {name}"
        for whose, task, name in listed("HINTS", "TOLD")
        if whose == problem
        and not any(r.public for r in lost([*results_of(problem, task, name)]))
    }
    assert found == set(RULES[problem].get(ONLY_IN_GRADING, {}))
