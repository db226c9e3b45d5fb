"""Numbers that say how far a map can be trusted.

Each file answers one question, and every public name can be imported from here.

- What does the map cost? ``count_passes``.
- How rough, noisy or repeatable is it? ``total_variation``, ``noise_to_signal``,
  ``repeatability``, and the distances ``relative_difference`` and ``rank_correlation``.
- Does it add up? ``completeness``.
- Does the score follow it? ``deletion_insertion``, ``infidelity``.
- Does it depend on the model at all? ``randomization_check``.
- Is it right where the cause is known? ``pointing_game``, with the cases of
  ``logo_mistakes`` and ``off_centre_shapes``.
"""

from __future__ import annotations

from chapter4.evidence.completeness import Completeness, completeness
from chapter4.evidence.deletion_insertion import (
    Curve,
    DeletionInsertion,
    Faithfulness,
    centre_blob,
    deletion_insertion,
)
from chapter4.evidence.ground_truth import logo_mistakes, off_centre_shapes
from chapter4.evidence.infidelity import Infidelity, infidelity
from chapter4.evidence.map_statistics import (
    Repeatability,
    noise_to_signal,
    rank_correlation,
    relative_difference,
    repeatability,
    total_variation,
)
from chapter4.evidence.passes import Passes, count_passes
from chapter4.evidence.pointing import (
    KnownAnswer,
    Pointing,
    PointingAccuracy,
    pointing_accuracy,
    pointing_game,
    wilson_interval,
)
from chapter4.evidence.randomization import (
    Randomization,
    default_stages,
    randomization_check,
    randomize_,
)

__all__ = [
    "Completeness",
    "Curve",
    "DeletionInsertion",
    "Faithfulness",
    "Infidelity",
    "KnownAnswer",
    "Passes",
    "Pointing",
    "PointingAccuracy",
    "Randomization",
    "Repeatability",
    "centre_blob",
    "completeness",
    "count_passes",
    "default_stages",
    "deletion_insertion",
    "infidelity",
    "logo_mistakes",
    "noise_to_signal",
    "off_centre_shapes",
    "pointing_accuracy",
    "pointing_game",
    "randomization_check",
    "randomize_",
    "rank_correlation",
    "relative_difference",
    "repeatability",
    "total_variation",
    "wilson_interval",
]
