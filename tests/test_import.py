"""`import chapter4` is cheap, and every public name is there whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import chapter4

HEAVY = (
    "torchvision",
    "timm",
    "transformers",
    "captum",
    "matplotlib",
    "peft",
    "seaborn",
    "skimage",
    "PIL",
    "bertviz",
)


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_nothing_heavy() -> None:
    assert (
        fresh(
            f"import sys, chapter4; print([m for m in {HEAVY} + ('torch',) if m in sys.modules])"
        )
        == "[]"
    )


def test_the_image_modules_load_torch_and_nothing_heavier() -> None:
    modules = "attribution, gradients, gradcam, integrated_gradients, images, models"
    code = f"import sys; from chapter4 import {modules}; print([m for m in {HEAVY} + ('torch',) if m in sys.modules])"
    assert fresh(code) == "['torch']"


@pytest.mark.parametrize("name", chapter4.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(chapter4, name)
    assert name in dir(chapter4)
    assert found.__doc__
    assert found.__module__.startswith("chapter4.")


def test_a_function_is_not_hidden_by_the_file_of_its_name() -> None:
    """Whichever is imported first, in a package that is new each time."""
    orders = (
        "import chapter4.integrated_gradients",
        "from chapter4.integrated_gradients import quadrature",
        "from chapter4 import integrated_gradients",
        "from chapter4 import make_baseline",
        "from chapter4 import ImageClassifierInterpreter",
        "import chapter4; chapter4.integrated_gradients; import chapter4.integrated_gradients",
    )
    code = f"""
import sys
for order in {orders}:
    for module in [m for m in sys.modules if m.startswith("chapter4")]:
        del sys.modules[module]
    exec(order)
    import chapter4
    from chapter4 import integrated_gradients as imported
    from chapter4.integrated_gradients import RULES
    print(type(imported).__name__, imported is chapter4.integrated_gradients)
"""
    assert set(fresh(code).splitlines()) == {"function True"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'smoothgrad'"):
        chapter4.smoothgrad  # noqa: B018
    with pytest.raises(ImportError):
        from chapter4 import smoothgrad  # noqa: F401
