"""The saved study as tables of the book, in MyST."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from chapter4.study.known import CASES, known_methods
from chapter4.study.labels import (
    FILL_NAMES,
    GUARANTEES,
    KIND_NAMES,
    METHOD_NAMES,
    USES,
)
from chapter4.study.recipe import FILLS, PHOTO_METHODS
from chapter4.study.summary import Spread, claims, equal_error, margins, summary


def table(
    caption: str,
    name: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    stacked: bool = False,
) -> str:
    """A MyST table with a caption and a name for references.

    Args:
        caption: The words above the table.
        name: The name that references use.
        head: The names of the columns.
        rows: The cells of each row, as Markdown.
        stacked: For long cells: on a phone they are drawn one below the other.
    """
    options = f":name: {name}\n" + (":class: stacked\n" if stacked else "")
    return f"```{{table}} {caption}\n{options}\n{markdown(head, rows)}\n```"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def comparison_table(study: Mapping[str, Any]) -> str:
    """The chapter's comparison of methods, with measured numbers.

    Each number is a median (quartiles) over the photos. Times are included where they
    were measured.
    """
    rows = []
    for method, found in summary(study).items():
        cost = f"{found['images_backward'].median:.0f} gradients"
        cost = cost.replace("1 gradients", "1 gradient") if cost[:2] == "1 " else cost
        if found["gradients_of_time"].count:
            cost += f"; time in gradients: {found['gradients_of_time']:.2g}"
        promise = GUARANTEES.get(method, "none")
        if found["delta"].count:
            promise += f"; misses by {found['delta']:.1%}"
        noise = [
            f"one grey level: {unbroken(found['grey_level'], '.2f')}",
            f"roughness: {unbroken(found['total_variation'], '.2g')}",
        ]
        if found["repeat_rank_correlation"].count:
            again = unbroken(found["repeat_rank_correlation"], ".2f")
            noise.append(f"other seed: {again}")
        rows.append(
            [METHOD_NAMES[method], cost, promise, "<br>".join(noise), USES[method]]
        )
    return table(
        "The printed comparison, measured: median (quartiles) over the photos",
        "tab-which-map",
        ("Method", "Cost", "Guarantee", "Noise", "Use"),
        rows,
        stacked=True,
    )


def claims_table(study: Mapping[str, Any]) -> str:
    """The printed table's claims with rule, verdict and the number that decided."""
    rows = [
        [
            f"`{claim.name}`: {claim.printed}",
            claim.rule,
            unbroken(claim.number, ".2g") if claim.photos else "",
            claim.verdict
            + (f", {claim.held} of {claim.photos}" if claim.photos else ""),
        ]
        for claim in claims(study)
    ]
    return table(
        "The printed table's claims, with the number that decides each",
        "tab-which-map-claims",
        ("Printed", "Holds on a photo if", "Number that decides", "Verdict"),
        rows,
        stacked=True,
    )


def unbroken(number: Spread, form: str) -> str:
    """A median with its quartiles that stays on one line of a narrow column."""
    return format(number, form).replace(" ", "\N{NO-BREAK SPACE}")


def known_answers_table(study: Mapping[str, Any]) -> str:
    """Hits of every method and control on each kind of case, with chance."""
    rows = [
        [METHOD_NAMES[name]]
        + [_hits(study["items"][f"known/{case}/{name}"]) for case in CASES]
        for name in known_methods()
    ]
    first = [study["items"][f"known/{case}/random"] for case in CASES]
    rows.append(
        ["chance, counted from the areas"] + [f"{each['chance']:.1%}" for each in first]
    )
    return table(
        "Hits where the answer is known, with 95% intervals",
        "tab-known-answers",
        ("Method", "The logo", "The shape"),
        rows,
    )


def beaten_table(study: Mapping[str, Any], what: str) -> str:
    """On how many photos each order beats the random ones.

    A second number says on how many it beats the centre's order as well: "22 / 15".
    """
    rows = []
    for name in (*PHOTO_METHODS, "centre"):
        cells = []
        for which in FILLS:
            found = margins(study, name, what, which)
            both = "" if name == "centre" else f" / {found.above_both}"
            cells.append(f"{found.above_random}{both}")
        rows.append([METHOD_NAMES[name], *cells])
    count = margins(study, "centre", what, FILLS[0]).spread.count
    return table(
        f"{what.capitalize()}: on how many of {count} photos an order beats the random"
        " orders / both controls",
        f"tab-beaten-{what}",
        ("Order of", *(FILL_NAMES[which] for which in FILLS)),
        rows,
    )


def equal_error_table(study: Mapping[str, Any], score: str) -> str:
    """Gradients of the adaptive rule for the error of 50 fixed steps, by photo."""
    rows = []
    for photo, each in equal_error(study, score).items():
        row = [photo, f"{each.error:.1%}", "none reached it", "", ""]
        if math.isfinite(each.adaptive):
            row[2:] = f"{each.adaptive}", f"{each.reached:.1%}", f"{each.saving:.1f}"
        rows.append(row)
    return table(
        f"Integrated Gradients of the {score}: 50 steps of Gauss-Legendre, and the"
        " fewest gradients of the adaptive rule with no larger error",
        f"tab-equal-error-{score}",
        ("Photo", "Error of 50", "Adaptive", "Its error", "Times fewer"),
        rows,
    )


def machines_table(study: Mapping[str, Any]) -> str:
    """What was measured on which machine, and with which seed."""
    counts = Counter(
        (key.partition("/")[0], item["machine"]) for key, item in study["items"].items()
    )
    rows = []
    for (kind, index), count in sorted(counts.items()):
        machine = study["machines"][index]
        threads = (
            "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
        )
        rows.append(
            [
                KIND_NAMES[kind],
                str(count),
                f"{machine['cpu']}, {machine['cores']} cores, {threads} a process",
                f"{machine['torch']}, Python {machine['python']}, {machine['system']}",
                str(study["recipes"][kind].get("seed", "no chance in it")),
            ]
        )
    return table(
        "What was measured where",
        "tab-study-machines",
        ("Measured", "Items", "Processor", "PyTorch", "Seed"),
        rows,
        stacked=True,
    )


def _hits(item: Mapping[str, Any]) -> str:
    low, high = item["interval"]
    return f"{item['accuracy']:.0%} ({low:.0%} to {high:.0%})"
