"""What the results of executed cells depend on, as digests.

Comments and docstrings do not count: to touch one executes nothing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import tokenize
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from io import StringIO
from pathlib import Path
from tokenize import generate_tokens

import kernel
from nbformat import NotebookNode
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def libraries(name: str = "interpreting-deep-learning-models") -> list[str]:
    """Return Python's version, and ``name==version`` of each declared requirement.

    Extras are left out: to install one executes nothing.
    """
    declared = [r for r in metadata.requires(name) or [] if "extra ==" not in r]
    names = sorted({Requirement(r).name for r in declared})
    return [sys.version, *(f"{n}=={metadata.version(n)}" for n in names)]


def digest_of(facts: Iterable[str]) -> str:
    """Return one SHA-256 of all facts."""
    total = hashlib.sha256()
    for fact in facts:
        total.update(hashlib.sha256(fact.encode("utf-8")).digest())
    return total.hexdigest()


@cache
def digest(used: str) -> str:
    """Return a digest of something that ``kernel.found`` names.

    It is "" for what is gone, and what it was when a build first asked.
    """
    kind, _, name = used.partition(":")
    path = ROOT / name
    if kind == kernel.EVERYTHING:
        return everything("chapter4", "autograder")
    if kind == "folder":
        return digest_of(sorted({p.name for p in path.glob("*")} - {"__pycache__"}))
    if not path.is_file():
        return ""
    if kind == "code" and name.endswith(".py"):
        return digest_of([code_of_module(path.read_text(encoding="utf-8"))])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def written(used: str) -> float:
    """Return when a file that ``kernel.found`` names was written, 0 for no file."""
    path = ROOT / used.partition(":")[2]
    return path.stat().st_mtime if path.is_file() else 0.0


def everything(*folders: str) -> str:
    """Return a digest of all code and data below ``folders`` of the repository."""
    files = [
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return digest_of(f"{name} {digest(f'code:{name}')}" for name in files)


def code_of_cell(cell: NotebookNode) -> str:
    """Return what can change a cell's results: its tags, and its words but comments."""
    try:
        words = [
            word.string
            for word in generate_tokens(StringIO(cell.source).readline)
            if word.type not in (tokenize.COMMENT, tokenize.NL)
        ]
    except (SyntaxError, tokenize.TokenError):  # IPython's own, such as %time
        words = [cell.source]
    return json.dumps([cell.metadata.get("tags"), words])


def code_of_module(source: str) -> str:
    """Return what Python does with ``source``: no comment, docstring or layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, WITH_DOCSTRING) and ast.get_docstring(node, clean=False):
            node.body[0] = ast.Pass()
    return ast.dump(tree)
