"""Problem 6: which mistakes are known, and what a student who made one should read."""

from __future__ import annotations

from autograder.checking import diagnose
from autograder.problems.problem6.instructors import mutants

FUNCTIONS: diagnose.Functions = {"gap": ("gap", mutants.gap_with)}
HINTS = {
    "gap": {
        "softmax instead of logit": "The softmax was explained: take the logit.",
        "absolute shares": "The shares lost their signs: add them up as they are.",
        "gradients alone": "The gradients were added up: multiply by the image first.",
        "turned around": "The sign is turned around: the score minus the shares.",
    }
}
RIGHT = diagnose.right_functions(FUNCTIONS)
MISTAKES = diagnose.mistakes(FUNCTIONS, HINTS)


def wrong_submission(task: str, mistake: str) -> str:
    """The source of a submission that is right but for one mistake in one task."""
    return diagnose.source_with(mutants, FUNCTIONS, task, mistake)
