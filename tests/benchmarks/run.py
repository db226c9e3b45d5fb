"""Start the benchmark: ``python tests/benchmarks/run.py --help``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    # The repository first: tests/ has folders of the same names as the packages.
    sys.path[:0] = [str(TESTS.parent), str(TESTS)]
    raise SystemExit(import_module("benchmarks.main").main())
