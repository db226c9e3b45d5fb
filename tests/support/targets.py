"""The five problems as a cheat finds them.

For each: what it asks for, a right submission, and a flawed one.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property

from autograder.checking.runner import points_of
from autograder.course import release
from autograder.sandbox.notebook import cells_of

# The function of each problem that the attacks replace.
FUNCTIONS = {
    "problem1": "change_under",
    "problem2": "smooth_grad",
    "problem3": "integrated_gradients",
    "problem4": "average_attention",
    "problem5": "grad_cam",
}


@dataclass(frozen=True)
class Target:
    """One problem, and the function that is attacked in it.

    Attributes:
        problem: The problem's name.
        function: The function's name.
    """

    problem: str
    function: str

    @property
    def full(self) -> float:
        """The points of all checks together."""
        return sum(points_of(self.problem).values())

    @cached_property
    def solution(self) -> str:
        """The solved notebook's code, without our cells and those that measure or draw.

        The latter take long.
        """
        path = release.COURSE / "solutions" / self.problem / f"{self.problem}.md"
        notebook = release.source_notebook(path)
        marks = [cell.metadata.get("nbgrader", {}) for cell in notebook.cells]
        notebook.cells = [
            cell
            for cell, ours in zip(notebook.cells, marks, strict=True)
            if ours.get("grade_id") != "study"
        ]
        return "\n".join(cell.source for cell in cells_of(notebook))

    @property
    def flawed(self) -> str:
        """A submission that is right except for one mistake.

        It gets less than full marks, so it shows whether an attack adds points.
        """
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
