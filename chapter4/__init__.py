"""Interpreting deep learning models: the reference code of the chapter. Every public
name is importable from here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chapter4.attribution import Attribution as Attribution

# Public name -> module. Loaded when first used, so that `import chapter4` costs
# nothing.
_PUBLIC = {
    "images": (
        "Preprocessing",
        "image_tensor",
        "load_image",
        "sample_photo",
        "sample_photos",
    ),
    "models": (
        "class_index",
        "load_bert",
        "load_classifier",
        "load_sentiment",
        "load_vit",
    ),
    "attribution": ("Attribution", "GradientAttribution"),
    "gradients": ("gradient_input", "smooth_grad", "vanilla_gradients"),
    "gradcam": ("CamAttribution", "GradCAM", "GradCAMPlusPlus", "cams"),
    "integrated_gradients": (
        "IntegratedGradientsAttribution",
        "integrated_gradients",
        "make_baseline",
        "visualize_attributions",
    ),
    "attention": (
        "TextAttention",
        "attention_rollout",
        "attention_weights",
        "average_attention",
    ),
    "attention_images": ("VitAttention", "vit_attention", "vit_attention_weights"),
    "attention_plots": (
        "visualize_attention",
        "visualize_multi_head_attention",
        "visualize_vit_attention",
        "visualize_word_attention",
    ),
    "attention_words": (
        "AttentionPair",
        "MostAttended",
        "WordAttention",
        "attention_by_distance",
        "attention_pair",
        "most_attended",
        "word_attention",
    ),
    "explore": (
        "Explorer",
        "explore_attention",
        "explore_gradcam",
        "explore_integrated_gradients",
        "explore_smoothgrad",
        "explore_vit_attention",
    ),
    "evidence": (
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
    ),
    "bertviz_views": ("InteractiveView", "head_view", "model_view"),
    "interpreters": (
        "DebugReport",
        "ImageClassifierInterpreter",
        "Interpretation",
        "debug_model_prediction",
    ),
    "map_evidence": ("MapEvidence", "evidence_of"),
    "misclassification": ("MisclassificationAnalyzer", "MisclassificationReport"),
    "plots": ("compare_maps", "crop_of"),
    "reference_path": ("reference_attributions",),
    "text_interpreter": ("TextClassifierInterpreter",),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_HOME)


class _Package(ModuleType):
    """Keeps `chapter4.integrated_gradients` the function: importing the file of that
    name would put a module there.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'chapter4' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"chapter4.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
