"""``import chapter4`` is cheap, and every public name is always there.

That holds whatever was imported before.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

import chapter4

HEAVY = "torch torchvision timm transformers captum matplotlib peft seaborn skimage PIL"
LOADED = f"print([m for m in '{HEAVY} bertviz'.split() if m in sys.modules])"


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_nothing_heavy() -> None:
    assert fresh(f"import sys, chapter4; {LOADED}") == "[]"


def test_the_image_modules_load_torch_and_nothing_heavier() -> None:
    code = (
        "import sys; from chapter4.inputs import images, models; "
        "from chapter4.methods import gradcam, gradients, integrated_gradients; "
    )
    assert fresh(code + LOADED) == "['torch']"


@pytest.mark.parametrize("name", chapter4.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(chapter4, name)
    assert name in dir(chapter4)
    assert found.__doc__
    assert found.__module__.startswith("chapter4.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'smoothgrad'"):
        chapter4.smoothgrad  # noqa: B018  # the look-up itself must fail
    with pytest.raises(ImportError):
        from chapter4 import smoothgrad  # noqa: F401  # the import must fail
