"""Interactive figures that answer to controls, made from the package's own maps.

Each function computes everything that its figure can show. It returns an
:class:`chapter4.Explorer`, which works in a notebook, in the book and as a file of its
own.
"""

from __future__ import annotations

from chapter4.explore.attention_matrix import explore_attention
from chapter4.explore.attention_patches import explore_vit_attention
from chapter4.explore.baselines import explore_integrated_gradients
from chapter4.explore.layers import explore_gradcam
from chapter4.explore.noise import explore_smoothgrad
from chapter4.explore.view import Choice, Explorer, Slider

__all__ = [
    "Choice",
    "Explorer",
    "Slider",
    "explore_attention",
    "explore_gradcam",
    "explore_integrated_gradients",
    "explore_smoothgrad",
    "explore_vit_attention",
]
