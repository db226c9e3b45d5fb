"""Counts lines of Python, by folder, without blank lines, comments and docstrings."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = ("git", "ls-files", "-co", "--exclude-standard", "-z", "*.py")
NO_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)


def code_lines(source: str) -> int:
    """How many lines hold code: part of a token that is no comment or docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            said = node.body[0]
            lines.difference_update(range(said.lineno, said.end_lineno + 1))
    return len(lines)


def by_folder(root: Path = ROOT) -> Counter[str]:
    """The count of every folder of the first two floors that holds Python."""
    listed = subprocess.run(LIST, cwd=root, capture_output=True, check=True).stdout
    counts: Counter[str] = Counter()
    for name in listed.decode().split("\0"):
        if (root / name).is_file():
            folder = "/".join(Path(name).parent.parts[:2])
            counts[folder] += code_lines((root / name).read_text(encoding="utf-8"))
    return counts


if __name__ == "__main__":
    counts = by_folder(Path(sys.argv[1]) if sys.argv[1:] else ROOT)
    for folder in sorted(counts):
        print(f"{counts[folder]:7,}  {folder or 'top'}")
    tests = sum(counts[folder] for folder in counts if folder.startswith("tests"))
    print(f"{counts.total() - tests:7,}  product\n{tests:7,}  tests")
