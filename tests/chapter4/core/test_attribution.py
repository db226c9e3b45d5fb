"""What every image method owes its caller: arguments, result, an unchanged model."""

from __future__ import annotations

import pytest
from measures import Oracle
from nets import ConvNet, built, image
from oracles import OWN, as_method
from oracles.contract import CONTRACT, STATE

import chapter4

KINDS = [kind for kind in OWN if kind not in ("make_baseline", "image_tensor")]


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
        lambda net, inputs: wanted.extend(p.requires_grad for p in net.parameters())
    )
    as_method(kind, getattr(chapter4, kind))(image(), net, 1)
    assert wanted
    assert not any(wanted)
    assert all(parameter.requires_grad for parameter in net.parameters())
