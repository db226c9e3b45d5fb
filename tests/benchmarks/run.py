"""Start the benchmark: ``python tests/benchmarks/run.py --help``.

Nothing has to be installed but PyTorch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    if find_spec("chapter4") is None:
        sys.path.append(str(TESTS.parent))
    raise SystemExit(import_module("benchmarks.main").main())
