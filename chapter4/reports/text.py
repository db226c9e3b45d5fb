"""Section 4.5: which words a text classifier's answer depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from chapter4.core.attribution import (
    check_count,
    choose_targets,
    frozen_eval,
    gradient_sum,
)
from chapter4.evidence.map_evidence import MapEvidence, with_randomization
from chapter4.inputs.images import nearest
from chapter4.inputs.models import TextModel, load_sentiment, name_of
from chapter4.methods.integrated_gradients import quadrature

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TextClassifierInterpreter:
    """Integrated Gradients over the word embeddings of a text classifier.

    Args:
        model_name: A name as for :func:`chapter4.load_sentiment`, or a model and its
            tokenizer as that function returns them.
        device: Where to move the model; None to leave it where it is.

    Raises:
        FileNotFoundError: If the weights can't be found or loaded.

    References:
        Sundararajan et al. 2017, arXiv:1703.01365.
    """

    def __init__(
        self,
        model_name: str | TextModel = "minilm-sentiment",
        *,
        device: str | torch.device | None = None,
    ) -> None:
        loaded = (
            load_sentiment(model_name) if isinstance(model_name, str) else model_name
        )
        self.model, self.tokenizer = loaded
        if device is not None:
            self.model.to(device)  # type: ignore[arg-type]  # transformers wraps .to()

    def interpret(
        self,
        text: str,
        target_class: int | str | None = None,
        *,
        baseline: str = "mask",
        n_steps: int = 50,
        chunk_size: int | None = None,
        evidence: bool = True,
    ) -> dict[str, Any]:
        """The share of each token in the score of a class.

        The shares add up to ``F(text) - F(baseline)``, where F is the logit of the
        class.

        Args:
            text: One text, as long as the model allows.
            target_class: The class, as an index or a name in upper or lower case, or
                None for the predicted class.
            baseline: The text to start from. It keeps [CLS] and [SEP] and the attention
                mask; every other token becomes [MASK] ("mask") or [PAD] ("pad"). So the
                special tokens score 0.
            n_steps: The number of gradients on the path.
            chunk_size: How many points of the path go through the model at a time; None
                for the default.
            evidence: Whether to compute also how much of the scores is left when the
                model's last layer is random. This costs as much again.

        Returns:
            A dictionary with these keys:

            - "tokens": The T tokens, as the model sees them.
            - "attributions": Their signed scores, (T,), each the sum over the embedding
              axis.
            - "words": For each word the positions of its tokens.
            - "prediction": A dictionary with "class", "probability" and "label".
            - "target", "target_label": The class that was explained.
            - "score", "baseline_score": ``F(text)`` and ``F(baseline)``.
            - "delta": The relative completeness error.
            - "evidence": The blank flag and the completeness error, and what is left
              with a random last layer if that was wanted, as a
              :class:`chapter4.MapEvidence`.

        Raises:
            ValueError: For an empty or too long text, an unknown class or baseline, or
                a count below 1.
            TypeError: If an argument has the wrong type.
        """
        n_steps = check_count("n_steps", n_steps)
        encoded, words = self._encode(text)
        ids = encoded["input_ids"]
        start_ids = self._baseline_ids(ids, words, baseline)
        classifier = _OnEmbeddings(self.model, encoded["attention_mask"])
        embed = self.model.get_input_embeddings()
        with frozen_eval(self.model):
            with torch.no_grad():
                x, start = embed(ids), embed(start_ids)  # (1, T, D)
                logits, start_logits = classifier(x), classifier(start)
                direct = self.model(**encoded).logits
                # Word embeddings go in, and the model adds positions and layer norm
                # itself. Equal logits show that it adds them once, and that F is the
                # model.
                if not torch.allclose(logits, direct, rtol=1e-4, atol=1e-4):
                    raise ValueError(
                        f"{name_of(self.model)} gives other logits for "
                        "embeddings than for token ids"
                    )
            probabilities = direct[0].softmax(dim=0)
            predicted = int(direct[0].argmax())
            target = choose_targets(direct, self._class(target_class))[0]
            alphas, weights = quadrature("gausslegendre", n_steps)
            path = (
                (start[0] + a * (x[0] - start[0]), 0, w)
                for a, w in zip(alphas, weights, strict=True)
            )
            signed = (x - start) * gradient_sum(
                classifier, path, x, [target], chunk_size=chunk_size
            )
        scores = signed.sum(dim=-1)[0]
        score, start_score = float(logits[0, target]), float(start_logits[0, target])
        change = score - start_score
        delta = (
            abs(float(scores.sum()) - change) / abs(change) if change else float("nan")
        )
        found = scores.cpu().numpy()
        known = MapEvidence(blank=not found.any(), delta=delta)
        if evidence:

            def explain(model: Any) -> Any:
                other = TextClassifierInterpreter(TextModel(model, self.tokenizer))
                return other.interpret(
                    text,
                    target,
                    baseline=baseline,
                    n_steps=n_steps,
                    chunk_size=chunk_size,
                    evidence=False,
                )["attributions"]

            known = with_randomization(known, explain, found, self.model)
        return {
            "tokens": self.tokenizer.convert_ids_to_tokens(ids[0].tolist()),
            "attributions": found,
            "words": words,
            "prediction": {
                "class": predicted,
                "probability": float(probabilities[predicted]),
                "label": self._labels()[predicted],
            },
            "target": target,
            "target_label": self._labels()[target],
            "score": score,
            "baseline_score": start_score,
            "delta": delta,
            "evidence": known,
        }

    def visualize(
        self, text: str, target_class: int | str | None = None, **options: Any
    ) -> Figure:
        """Draw the words on backgrounds coloured by their scores.

        The score of a word is the sum over its pieces.

        Args:
            text: One text.
            target_class: The class, as an index or a name, or None for the predicted
                class.
            **options: The other arguments of ``interpret``.

        Returns:
            The figure.

        Raises:
            ValueError: As ``interpret``.
            TypeError: As ``interpret``.
        """
        return figure_of(self.interpret(text, target_class, **options))

    def _encode(self, text: str) -> tuple[Any, list[list[int]]]:
        if not isinstance(text, str):
            raise TypeError(f"text is a string, not {type(text).__name__}")
        encoded = self.tokenizer(text, return_tensors="pt", verbose=False)
        words: dict[int, list[int]] = {}
        for position, word in enumerate(encoded.word_ids()):
            if word is not None:
                words.setdefault(word, []).append(position)
        if not words:
            raise ValueError("the text is empty: there is no word to score")
        limit = getattr(self.model.config, "max_position_embeddings", 512)
        if encoded["input_ids"].shape[1] > limit:
            raise ValueError(
                f"the text has {encoded['input_ids'].shape[1]} tokens; the model reads"
                f" at most {limit}"
            )
        return encoded.to(self.model.device), list(words.values())

    def _baseline_ids(
        self, ids: Tensor, words: list[list[int]], baseline: str
    ) -> Tensor:
        fills = {
            "mask": self.tokenizer.mask_token_id,
            "pad": self.tokenizer.pad_token_id,
        }
        if baseline not in fills:
            raise ValueError(f"baseline is 'mask' or 'pad', not {baseline!r}")
        if fills[baseline] is None:
            raise ValueError(
                f"the tokenizer of {name_of(self.model)} has no {baseline} token"
            )
        start = ids.clone()
        # Only the tokens of words are replaced. [UNK] is one of them: an unknown word
        # has a share like any other.
        of_words = [position for pieces in words for position in pieces]
        start[0, of_words] = fills[baseline]
        return start

    def _class(self, target: int | str | None) -> int | None:
        if not isinstance(target, str):
            return target
        labels = self._labels()
        found = [i for i, label in labels.items() if label.lower() == target.lower()]
        if not found:
            raise ValueError(
                "no class is called"
                f" {target!r}{nearest(target.upper(), labels.values())}"
            )
        return found[0]

    def _labels(self) -> dict[int, str]:
        return {
            int(i): str(label)
            for i, label in (self.model.config.id2label or {}).items()
        }


def word_scores(result: Mapping[str, Any]) -> tuple[list[str], list[float]]:
    """Words and their scores, each the sum over the word's pieces.

    Args:
        result: What ``TextClassifierInterpreter.interpret`` returns.

    Returns:
        The words, and the score of each.
    """
    tokens, scores = result["tokens"], result["attributions"]
    words = [
        "".join(tokens[i].removeprefix("##") for i in pieces)
        for pieces in result["words"]
    ]
    return words, [float(sum(scores[i] for i in pieces)) for pieces in result["words"]]


def figure_of(result: Mapping[str, Any]) -> Figure:
    """What ``interpret`` returned, as the figure of ``visualize``."""
    from chapter4.plots.figures import text_figure

    words, scores = word_scores(result)
    prediction = result["prediction"]
    title = f"Prediction: {prediction['label']} ({prediction['probability']:.1%})"
    label = f"share in the {result['target_label']} logit"
    return text_figure(words, scores, title, label, result["evidence"])


class _OnEmbeddings(nn.Module):
    """A text classifier as a function of its word embeddings (N, T, D).

    All texts share one attention mask, (1, T).
    """

    def __init__(self, model: nn.Module, attention_mask: Tensor) -> None:
        super().__init__()
        self.model, self.mask = model, attention_mask

    def forward(self, embeddings: Tensor) -> Tensor:
        mask = self.mask.expand(len(embeddings), -1)
        return self.model(inputs_embeds=embeddings, attention_mask=mask).logits
