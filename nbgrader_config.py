"""This course for nbgrader: `nbgrader generate_assignment problem2`, `autograde`, `generate_feedback`, the formgrader.

Grading goes through autograder/nbgrader_plugin.py: checks ask a sandboxed process, and no test stands in a notebook.
"""

from pathlib import Path

from autograder import nbgrader_plugin
from autograder.course.release import write_sources

c = get_config()  # type: ignore[name-defined]  # noqa: F821

# nbgrader looks for notebooks, ours are written as text.
write_sources(Path(__file__).resolve().parent)

c.CourseDirectory.course_id = "interpretable-deep-learning"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"
# Nothing but the notebook and its data is handed out.
c.CourseDirectory.ignore = [
    ".ipynb_checkpoints", "*.pyc", "__pycache__", ".pytest_cache", "*.md", "*.tmp",
]  # fmt: skip

c.ClearSolutions.code_stub = {
    "python": '# YOUR CODE HERE\nraise NotImplementedError("write your own code here")'
}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"

nbgrader_plugin.configure(c)
