"""What every image method owes its caller: the contract of its arguments and result, and a model left as it was."""

from __future__ import annotations

import pytest
from measures import Oracle
from oracles import as_method
from oracles_contract import CONTRACT, STATE

import chapter4

KINDS = (
    "vanilla_gradients",
    "gradient_input",
    "smooth_grad",
    "GradCAM",
    "GradCAMPlusPlus",
    "integrated_gradients",
)


@pytest.mark.parametrize("oracle", [*CONTRACT, *STATE], ids=lambda oracle: oracle.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_every_method(kind: str, oracle: Oracle) -> None:
    oracle(as_method(kind, getattr(chapter4, kind)))
