"""Interpreting deep learning models: the reference code of the chapter.

Every public name can be imported from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chapter4.core.attribution import Attribution as Attribution

__version__ = "1.0.0"

# Module -> public names. A module is loaded when one of its names is first used, so
# that ``import chapter4`` costs nothing.
_PUBLIC = {
    "inputs.images": (
        "Preprocessing",
        "image_tensor",
        "load_image",
        "sample_photo",
        "sample_photos",
    ),
    "inputs.models": (
        "class_index",
        "load_bert",
        "load_classifier",
        "load_sentiment",
        "load_vit",
    ),
    "core.attribution": ("Attribution", "GradientAttribution"),
    "methods.gradients": ("gradient_input", "smooth_grad", "vanilla_gradients"),
    "methods.gradcam": ("CamAttribution", "GradCAM", "GradCAMPlusPlus", "cams"),
    "methods.integrated_gradients": (
        "IntegratedGradientsAttribution",
        "integrated_gradients",
        "make_baseline",
    ),
    "attention.weights": (
        "TextAttention",
        "attention_rollout",
        "attention_weights",
        "average_attention",
    ),
    "attention.vit": ("VitAttention", "vit_attention", "vit_attention_weights"),
    "plots.attention": (
        "visualize_attention",
        "visualize_multi_head_attention",
        "visualize_vit_attention",
        "visualize_word_attention",
    ),
    "attention.words": (
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
    "plots.bertviz": ("InteractiveView", "head_view", "model_view"),
    "reports.image": (
        "DebugReport",
        "ImageClassifierInterpreter",
        "Interpretation",
        "debug_model_prediction",
    ),
    "evidence.map_evidence": ("MapEvidence", "evidence_of"),
    "reports.misclassification": (
        "MisclassificationAnalyzer",
        "MisclassificationReport",
    ),
    "plots.figures": ("compare_maps", "crop_of", "visualize_attributions"),
    "methods.reference_path": ("reference_attributions",),
    "reports.text": ("TextClassifierInterpreter",),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'chapter4' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"chapter4.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
