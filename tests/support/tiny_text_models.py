"""BERT and DistilBERT with two small layers, built from their configurations."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from chapter4.inputs.models import TextModel, minilm_folder

LIMIT = 48


@cache
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(minilm_folder())


def random_model(
    architecture: str, labels: tuple[str, ...] = ("NEGATIVE", "POSITIVE")
) -> TextModel:
    """A random model of two small layers, in float64.

    Its weights are large: with the usual 0.02 a random model is nearly linear.
    """
    import transformers as hf

    names = {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
    }
    size = {"vocab_size": len(tokenizer()), "max_position_embeddings": LIMIT}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if architecture == "bert":
            config = hf.BertConfig(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                **size,
                **names,
            )
            model = hf.BertForSequenceClassification(config)
        else:
            config = hf.DistilBertConfig(
                dim=16, hidden_dim=32, n_layers=2, n_heads=2, **size, **names
            )
            model = hf.DistilBertForSequenceClassification(config)
        for name, parameter in model.named_parameters():
            if "LayerNorm" not in name and "layer_norm" not in name:
                parameter.data.normal_(0, 0.2)
    return TextModel(model.double().eval(), tokenizer())
