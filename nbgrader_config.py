"""The configuration of this course for nbgrader.

It is for ``nbgrader generate_assignment problem2``, ``autograde``,
``generate_feedback`` and the formgrader. Grading goes through
autograder/nbgrader_plugin.py: the checks ask a process in a sandbox, and a notebook
contains no test.
"""

from pathlib import Path

from autograder import nbgrader_plugin
from autograder.course.release import write_sources

# nbgrader puts this function in the file's namespace.
c = get_config()  # type: ignore[name-defined]  # noqa: F821  # see the line above

# nbgrader looks for notebooks, but ours are written as text.
write_sources(Path(__file__).resolve().parent)

c.CourseDirectory.course_id = "interpretable-deep-learning"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
# Nothing but the notebook and its data is handed out.
c.CourseDirectory.ignore = [
    ".ipynb_checkpoints",
    "*.pyc",
    "__pycache__",
    ".pytest_cache",
    "*.md",
    "*.tmp",
]

c.ClearSolutions.code_stub = {
    "python": '# YOUR CODE HERE\nraise NotImplementedError("write your own code here")'
}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"

nbgrader_plugin.configure(c)
