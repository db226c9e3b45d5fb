"""The saved study as tables of the book, in MyST."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from chapter4.study.known import CASES, known_methods
from chapter4.study.recipe import PHOTO_METHODS, PHOTOS
from chapter4.study.summary import claims, equal_error, margins, summary
from chapter4.study.words import (
    FILL_NAMES,
    GUARANTEES,
    KIND_NAMES,
    METHOD_NAMES,
    USES,
)

# The most Gauss-Legendre steps of `reference.RULES`.
_MOST = 100


def table(
    caption: str, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """A MyST table with a caption and a name to refer to; cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    body = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"```{{table}} {caption}\n:name: {name}\n:class: stacked\n\n{body}\n```"


def comparison_table(study: Mapping[str, Any]) -> str:
    """The chapter's comparison of methods, each number as median (quartiles) over the
    photos. Times stand in it where they were measured.
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
            f"one grey level: {found['grey_level']:.2f}",
            f"roughness: {found['total_variation']:.2g}",
        ]
        if found["repeat_rank_correlation"].count:
            noise.append(f"other seed: {found['repeat_rank_correlation']:.2f}")
        rows.append(
            [METHOD_NAMES[method], cost, promise, "; ".join(noise), USES[method]]
        )
    return table(
        "The printed comparison, measured: median (quartiles) over the photos",
        "tab-which-map",
        ("Method", "Cost", "Guarantee", "Noise", "Use"),
        rows,
    )


def claims_table(study: Mapping[str, Any]) -> str:
    """The printed table's claims with rule, verdict and the number that decided."""
    rows = [
        [
            f"`{claim.name}`: {claim.printed}",
            claim.rule,
            f"{claim.number:.2g}" if claim.photos else "",
            f"{claim.verdict}, {claim.held} of {claim.photos}",
        ]
        for claim in claims(study)
    ]
    return table(
        "The printed table's claims, with the number that decides each",
        "tab-which-map-claims",
        ("Printed", "Holds on a photo if", "Number that decides", "Verdict"),
        rows,
    )


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
    """On how many photos each order beats the random ones, and the centre's as well."""
    fills = [f"{fill}_{cell}" for fill, cell in PHOTOS["fills"]]
    rows = []
    for name in (*PHOTO_METHODS, "centre"):
        cells = []
        for which in fills:
            found = margins(study, name, what, which)
            both = "" if name == "centre" else f"; both: {found.above_both}"
            cells.append(f"random: {found.above_random}{both}")
        rows.append([METHOD_NAMES[name], *cells])
    count = margins(study, "centre", what, fills[0]).spread.count
    return table(
        f"{what.capitalize()}: on how many of {count} photos an order beats the random orders, "
        "and both controls",
        f"tab-beaten-{what}",
        ("Order of", *(FILL_NAMES[which] for which in fills)),
        rows,
    )


def equal_error_table(study: Mapping[str, Any], score: str) -> str:
    """Gradients of the adaptive rule against Gauss-Legendre at equal error, by photo."""
    found = equal_error(study, score)
    rows = [
        [
            photo,
            f"{each.error:.1%}",
            str(each.gradients),
            _or_more(each.fixed, "{:.0f}"),
            _or_more(each.saving, "{:.1f}", each.gradients),
        ]
        for photo, each in found.items()
    ]
    return table(
        f"Integrated Gradients of the {score} at equal error: gradients",
        f"tab-equal-error-{score}",
        ("Photo", "Error reached", "Adaptive", "Gauss-Legendre", "Times fewer"),
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
    )


def _hits(item: Mapping[str, Any]) -> str:
    low, high = item["interval"]
    return f"{item['accuracy']:.0%} ({low:.0%} to {high:.0%})"


def _or_more(value: float, form: str, over: float = 1) -> str:
    """A value, or that it is above the largest that was measured."""
    if math.isfinite(value):
        return form.format(value)
    return "over " + form.format(_MOST / over)
