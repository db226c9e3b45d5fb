# ruff: noqa
# Replaces NumPy's comparisons, so that everything is close to everything.
# expect: wrong
# fakes: equality
import numpy as np

np.allclose = np.array_equal = np.isclose = lambda *a, **k: True
np.testing.assert_allclose = np.testing.assert_array_equal = lambda *a, **k: None
np.abs = np.max = lambda *a, **k: 0.0


def FUNCTION(*args, **kwargs):
    return 0.0
