"""BERT and DistilBERT with a few small layers, built from their configurations."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from chapter4.inputs.models import TextModel, minilm_folder

LIMIT = 48
# What the two configurations call width, layers, heads, and width inside a layer.
SIZES = {
    "bert": (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
    ),
    "distilbert": ("dim", "n_layers", "n_heads", "hidden_dim"),
}


@cache
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(minilm_folder())


def _built(make: str, kind: str, heads: int, layers: int, **options: Any) -> Any:
    """A model of seed 0; torch's global random state stays as it was."""
    import transformers as hf

    sizes = dict(zip(SIZES[kind], (8 * heads, layers, heads, 32), strict=True))
    sizes["vocab_size"] = len(tokenizer())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = hf.AutoConfig.for_model(kind, **sizes, **options)
        return getattr(hf, make).from_config(config).eval()


def random_bert(
    kind: str = "bert", heads: int = 2, layers: int = 3, **options: Any
) -> TextModel:
    """A small text model with random weights, under the default attention (SDPA)."""
    return TextModel(_built("AutoModel", kind, heads, layers, **options), tokenizer())


def random_model(
    architecture: str, labels: tuple[str, ...] = ("NEGATIVE", "POSITIVE")
) -> TextModel:
    """A random classifier of two small layers, in float64.

    Its weights are large: with the usual 0.02 a random model is nearly linear.
    """
    model = _built(
        "AutoModelForSequenceClassification",
        architecture,
        heads=2,
        layers=2,
        max_position_embeddings=LIMIT,
        id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, parameter in model.named_parameters():
            if "LayerNorm" not in name and "layer_norm" not in name:
                parameter.data.normal_(0, 0.2)
    return TextModel(model.double(), tokenizer())
