"""What belongs beside a map, so that a picture never stands alone: completeness, the
blank flag, and what is left of the map when the model's last layer is random.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from torch import nn

from chapter4.core.attribution import Attribution
from chapter4.evidence.randomization import default_stages, randomization_check

# A relative completeness error above this is marked wherever the map is shown. Fifty
# Gauss-Legendre steps leave about a twentieth on a photo; twice that means that the map
# does not share out what it says it does: take more steps, or a tolerance.
LARGEST_DELTA = 0.1


@dataclass(frozen=True)
class MapEvidence:
    """The evidence beside one map.

    blank: the map is zero everywhere. delta: relative completeness error, nan where the
    score does not change, None where the method promises no sum. rank_correlation:
    Spearman's between |map| and the same method's |map| once the weights of `stage` are
    random, nan where one of the two is constant, None where it was not asked for.
    """

    blank: bool
    delta: float | None = None
    stage: str | None = None
    rank_correlation: float | None = None

    @property
    def incomplete(self) -> bool:
        """Whether the completeness error is above LARGEST_DELTA."""
        return self.delta is not None and self.delta > LARGEST_DELTA

    def lines(self) -> list[str]:
        """The evidence in words, one line a fact; none for a method without any."""
        found = []
        if self.delta is not None:
            mark = "INCOMPLETE: " if self.incomplete else ""
            found.append(f"{mark}completeness error {percent(self.delta)}")
        return [*found, *self.random_lines()]

    def random_lines(self) -> list[str]:
        """What is left with a random last layer, in words; none where it was not asked."""
        if self.rank_correlation is None:
            return []
        undefined = math.isnan(self.rank_correlation)
        left = (
            "undefined (a constant map)"
            if undefined
            else f"{self.rank_correlation:.2f}"
        )
        return [f"rank correlation with random {self.stage}: {left}"]

    def facts(self) -> dict[str, Any]:
        """The same for a file: plain values by name."""
        return {
            "blank": self.blank,
            "delta": self.delta,
            "incomplete": self.incomplete,
            "random_stage": self.stage,
            "random_rank_correlation": self.rank_correlation,
        }


def evidence_of(result: Attribution) -> MapEvidence:
    """What the result itself tells: blank or not, and its completeness error where it
    has one. For one image.
    """
    delta = getattr(result, "delta", None)
    return MapEvidence(
        blank=not np.any(result.map),
        delta=None if delta is None else float(delta),
    )


def with_randomization(
    evidence: MapEvidence,
    explain: Callable[[nn.Module], Attribution | np.ndarray],
    found: Attribution | np.ndarray,
    model: nn.Module,
    *,
    seed: int = 0,
) -> MapEvidence:
    """The evidence with the sanity check of one stage: the model's last layer with
    weights, drawn anew on a copy. Costs one more map.

    explain: makes the map with a given model. found: the map that it made with `model`.
    A model whose parts have no weights has no such check: the evidence comes back as it
    was. Source: Adebayo et al. 2018, arXiv:1810.03292.
    """
    stages = default_stages(model)
    if not stages:
        return evidence
    checked = randomization_check(
        lambda each: found if each is model else explain(each),
        model,
        stages[:1],
        seed=seed,
    )
    return replace(
        evidence,
        stage=checked.stages[0],
        rank_correlation=checked.correlations[0],
    )


def versions_of(model: nn.Module) -> dict[str, str]:
    """Versions that a report names: torch, chapter4, and the package that made the model."""
    names = ["torch", "chapter4", type(model).__module__.partition(".")[0]]
    found = {}
    for name in dict.fromkeys(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # a model of the caller's own module
    return found


def percent(share: float) -> str:
    """A share in words: a completeness error has no value where the score does not
    change.
    """
    return (
        "undefined (the score does not change)" if math.isnan(share) else f"{share:.1%}"
    )
