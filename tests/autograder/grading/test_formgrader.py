"""The formgrader in a browser, on a class that ``autograder grade`` has graded.

What a person types there stays.
"""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import courses
import nbformat
import pytest
from chromium import launched
from processes import soon

from autograder import cli
from autograder.course import release
from autograder.grading.export import _hand_points

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROBLEM = "problem1"
TOKEN = "a-token-of-this-test"


def hand_graded(notebook: Path) -> dict[str, float]:
    """Cell -> points, of the cells that a person grades."""
    cells = nbformat.read(notebook, 4).cells
    points = {
        c.metadata.get("nbgrader", {}).get("grade_id"): _hand_points(c) for c in cells
    }
    return {name: most for name, most in points.items() if most}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory, needs_bubblewrap: None) -> Path:
    """Ada and Ben have the sample answer, Cem the untouched release."""
    course = courses.new_course(tmp_path_factory.mktemp("forms") / "course", PROBLEM)
    text = (course / f"solutions/{PROBLEM}/{PROBLEM}.ipynb").read_text("utf-8")
    empty = (course / f"exercises/{PROBLEM}/{PROBLEM}.ipynb").read_text("utf-8")
    for student, notebook in {"ada": text, "ben": text, "cem": empty}.items():
        courses.submit(course, student, notebook, PROBLEM)
    assert grade(course)["ada"]["status"] == "needs-hand-grading"
    return course


def grade(course: Path) -> dict[str, dict[str, str]]:
    """`autograder grade`; student -> row."""
    output = course.parent / "out"
    arguments = ["grade", str(course / "submitted"), "--output", str(output)]
    assert cli.main([*arguments, "--course", str(course), "--workers", "1"]) == 0
    with (output / "grades.csv").open(encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@contextmanager
def served(course: Path, folder: Path) -> Iterator[str]:
    """The address of a Jupyter server with the formgrader.

    The server has a process of its own, which ends with the block.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": course,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "ServerApp.jpserver_extensions": "nbgrader.server_extensions.formgrader=True",
        "IdentityProvider.token": TOKEN,
    }
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server"]
            + [f"--{name}={value}" for name, value in settings.items()],
            cwd=course,
            env={
                **os.environ,
                "HOME": str(folder),
                "JUPYTER_CONFIG_DIR": str(folder / "config"),
                "JUPYTER_DATA_DIR": str(folder / "data"),
                "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
                "PYTHONPATH": str(release.COURSE),
                "PYTHONWARNINGS": "ignore",
            },
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
        try:
            home = f"http://127.0.0.1:{port}"
            up = soon(lambda: answers(f"{home}/api") or process.poll() is not None)
            assert up, log.read_text("utf-8")[-3000:]
            assert process.poll() is None, log.read_text("utf-8")[-3000:]
            yield home
        finally:
            process.kill()
            process.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def opened(page: Page, home: str, student: str) -> None:
    """Logs in, and opens a student's notebook in the formgrader, as a teacher does."""
    listed = f"/formgrader/gradebook/{PROBLEM}/{PROBLEM}"
    page.goto(f"{home}/login?token={TOKEN}&next={listed}")
    # Names are hidden until a teacher asks for them: submissions are numbered.
    page.get_by_text("Submission #1").wait_for()
    page.get_by_role("button", name="Show All Names").click()
    page.get_by_role("link", name=student, exact=True).click()
    # The scores come after the page.
    page.wait_for_load_state("networkidle")
    page.locator("input.score").first.wait_for()


def typed(page: Page, selector: str, value: object) -> None:
    """Types into a field and leaves it; returns when the server has taken it."""
    field = page.locator(selector)
    with page.expect_response(lambda r: r.request.method == "PUT") as taken:
        field.fill(str(value))
        field.press("Tab")
    assert taken.value.status == 200


@pytest.mark.slow
def test_what_a_person_types_there_is_in_every_result_and_stays(
    course: Path, tmp_path: Path
) -> None:
    """The teacher leaves the formgrader open while the class is graded anew."""
    by_hand = hand_graded(course / f"exercises/{PROBLEM}/{PROBLEM}.ipynb")
    assert by_hand
    with (
        served(course, tmp_path) as home,
        launched(env={**os.environ, "HOME": str(tmp_path)}) as browser,
    ):
        page = browser.new_page()
        page.set_default_timeout(90_000)  # a busy machine
        opened(page, home, "ada")
        open_cells = page.locator("input.score.needs_manual_grade")
        assert {field.get_attribute("id") for field in open_cells.all()} == {*by_hand}
        for cell, points in by_hand.items():
            typed(page, f"input[id='{cell}']", points - 0.5)
            typed(page, f"textarea[id='{cell}-comment']", f"Half a point for {cell}.")
        assert open_cells.count() == 0
        checked = page.locator("input.score").count() - len(by_hand)
        assert checked > 0, "the cells that the checks graded are there too"

        after = grade(course)
        opened(page, home, "ada")
        assert open_cells.count() == 0
        for cell, points in by_hand.items():
            field = page.locator(f"input[id='{cell}']")
            assert float(field.input_value()) == points - 0.5
    due = float(after["ada"]["auto_score"]) + sum(by_hand.values()) - 0.5 * len(by_hand)
    assert (float(after["ada"]["score"]), after["ada"]["status"]) == (due, "graded")
    assert after["ben"]["status"] == "needs-hand-grading"
    assert courses.exported(course)["ada"] == due
    courses.nbgrader(course, "generate_feedback", PROBLEM)
    feedback = (course / f"feedback/ada/{PROBLEM}/{PROBLEM}.html").read_text("utf-8")
    for cell, points in by_hand.items():
        assert f"(Score: {points - 0.5} / {points})" in " ".join(feedback.split())
        assert f"Half a point for {cell}." in feedback
