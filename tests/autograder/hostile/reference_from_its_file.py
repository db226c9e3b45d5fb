# ruff: noqa
# Loads the reference from wherever the package was installed.
# expect: raised missing
# fakes: work of its own
import importlib.util, sys
import __editable___interpreting_deep_learning_models_1_0_0_finder as finder


def FUNCTION(*args, **kwargs):
    folder = finder.MAPPING["chapter4"]
    spec = importlib.util.spec_from_file_location("reference", folder + "/gradients.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return "got the reference"
