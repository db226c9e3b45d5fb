"""The five problems as a cheat finds them: what each asks for, a right submission, and one that is flawed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property

from autograder.checking.runner import points_of
from autograder.course import release
from autograder.sandbox.notebook import cells_of

# The function of each problem that the attacks put themselves in the place of.
FUNCTIONS = {
    "problem1": "change_under",
    "problem2": "smooth_grad",
    "problem3": "integrated_gradients",
    "problem4": "average_attention",
    "problem5": "grad_cam",
}


@dataclass(frozen=True)
class Target:
    """One problem, and the function of it that is attacked."""

    problem: str
    function: str

    @property
    def full(self) -> float:
        """The points of all checks together."""
        return sum(points_of(self.problem).values())

    @cached_property
    def solution(self) -> str:
        """The solved notebook's code, without our cells and those that only measure or draw, which take long."""
        path = release.COURSE / "solutions" / self.problem / f"{self.problem}.md"
        notebook = release.source_notebook(path)
        told = [cell.metadata.get("nbgrader", {}) for cell in notebook.cells]
        notebook.cells = [
            cell
            for cell, ours in zip(notebook.cells, told, strict=True)
            if ours.get("grade_id") != "study"
        ]
        return "\n".join(cell.source for cell in cells_of(notebook))

    @property
    def flawed(self) -> str:
        """Right but for one mistake: what is less than full marks shows whether an attack adds anything."""
        return (
            self.solution + f"\nright_one = {self.function}\n"
            f"def {self.function}(*args):\n    return 2 * right_one(*args)\n"
        )

    @property
    def others(self) -> list[str]:
        """The other functions that the problem asks for."""
        tree = ast.parse(self.solution)
        defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        return [name for name in defined if name != self.function]


TARGETS = {
    problem: Target(problem, function) for problem, function in FUNCTIONS.items()
}
