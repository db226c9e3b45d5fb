"""What belongs beside a map, so that no picture is shown without evidence.

It has three parts: the completeness error, the blank flag, and how much of the map is
left when the model's last layer is random.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from torch import nn

import chapter4
from chapter4.core.attribution import Attribution
from chapter4.evidence.randomization import default_stages, randomization_check

# A relative completeness error above this is marked wherever the map is shown. Fifty
# Gauss-Legendre steps leave an error of about a twentieth on a photo. Twice that means
# that the map does not share out the whole change of the score: take more steps, or
# give a tolerance.
LARGEST_DELTA = 0.1


@dataclass(frozen=True)
class MapEvidence:
    """The evidence beside one map.

    Attributes:
        blank: Whether the map is zero everywhere.
        delta: The relative completeness error. NaN where the score does not change,
            None where the method promises no sum.
        stage: The part of the model whose weights were made random, None where this
            check was not made.
        rank_correlation: Spearman's correlation between ``|map|`` and the same method's
            ``|map|`` after the weights of ``stage`` were made random. NaN where one of
            the two is constant, None where this check was not made.
    """

    blank: bool
    delta: float | None = None
    stage: str | None = None
    rank_correlation: float | None = None

    @property
    def incomplete(self) -> bool:
        """Whether the completeness error is above ``LARGEST_DELTA``, a tenth."""
        return self.delta is not None and self.delta > LARGEST_DELTA

    def lines(self) -> list[str]:
        """The evidence in words, one line for each fact; empty if there is none."""
        found = []
        if self.delta is not None:
            mark = "INCOMPLETE: " if self.incomplete else ""
            found.append(f"{mark}completeness error {percent(self.delta)}")
        return [*found, *self.random_lines()]

    def random_lines(self) -> list[str]:
        """What is left with a random last layer, in words; empty if not checked."""
        if self.rank_correlation is None:
            return []
        left = f"{self.rank_correlation:.2f}"
        if math.isnan(self.rank_correlation):
            left = "undefined (a constant map)"
        return [f"rank correlation with random {self.stage}: {left}"]

    def facts(self) -> dict[str, Any]:
        """The evidence as plain values by name, for a file."""
        return {
            "blank": self.blank,
            "delta": self.delta,
            "incomplete": self.incomplete,
            "random_stage": self.stage,
            "random_rank_correlation": self.rank_correlation,
        }


def evidence_of(result: Attribution) -> MapEvidence:
    """The evidence that a result carries itself.

    Args:
        result: The attribution of one image.

    Returns:
        Whether the map is blank, and its completeness error if it has one.
    """
    delta = getattr(result, "delta", None)
    return MapEvidence(not np.any(result.map), None if delta is None else float(delta))


def with_randomization(
    evidence: MapEvidence,
    explain: Callable[[nn.Module], Attribution | np.ndarray],
    found: Attribution | np.ndarray,
    model: nn.Module,
    *,
    seed: int = 0,
) -> MapEvidence:
    """Add the sanity check of one stage: a random last layer.

    The last layer with weights is drawn anew on a copy of the model. This costs one
    more map.

    Args:
        evidence: The evidence so far.
        explain: A function that makes the map with a given model.
        found: The map that it made with ``model``.
        model: The trained model, which is not changed.
        seed: Seed of the new weights.

    Returns:
        The evidence with the stage and the rank correlation. If no part of the model
        has weights, the evidence is returned as it was.

    References:
        Adebayo et al. 2018, arXiv:1810.03292.
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
    stage, correlation = checked.stages[0], checked.correlations[0]
    return replace(evidence, stage=stage, rank_correlation=correlation)


def versions_of(model: nn.Module) -> dict[str, str]:
    """Versions for a report: torch, chapter4, and the package that made the model."""
    found = {"torch": version("torch"), "chapter4": chapter4.__version__}
    maker = type(model).__module__.partition(".")[0]
    if maker not in found:
        # Without one, the model comes from the caller's own module.
        with suppress(PackageNotFoundError):
            found[maker] = version(maker)
    return found


def percent(share: float) -> str:
    """A share in words.

    A completeness error has no value where the score does not change.
    """
    undefined = "undefined (the score does not change)"
    return undefined if math.isnan(share) else f"{share:.1%}"
