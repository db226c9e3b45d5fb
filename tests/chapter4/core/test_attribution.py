"""What every image method owes its caller: arguments, result, an unchanged model."""

from __future__ import annotations

import pytest
from measures import Oracle
from nets import ConvNet, built, image
from oracles import as_method
from oracles.contract import CONTRACT, STATE

import chapter4

KINDS = (
    "vanilla_gradients",
    "gradient_input",
    "smooth_grad",
    "GradCAM",
    "GradCAMPlusPlus",
    "integrated_gradients",
)


@pytest.mark.parametrize(
    "oracle", [*CONTRACT, *STATE], ids=lambda oracle: oracle.__name__
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_method(kind: str, oracle: Oracle) -> None:
    oracle(as_method(kind, getattr(chapter4, kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_no_graph_is_kept_for_the_parameters(kind: str) -> None:
    """Their gradients are never asked for; a graph for them would only cost memory."""
    net = built(ConvNet)
    wanted: list[bool] = []
    net.register_forward_pre_hook(
        lambda module, inputs: wanted.extend(
            p.requires_grad for p in module.parameters()
        )
    )
    as_method(kind, getattr(chapter4, kind))(image(), net, 1)
    assert wanted
    assert not any(wanted)
    assert all(parameter.requires_grad for parameter in net.parameters())
