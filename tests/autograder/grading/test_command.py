"""The instructor's run: one row per submission whatever happens.

Nothing is lost or doubled, and some names are traps.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from accepted import right_submissions
from courses import notebook
from processes import all_end, below, soon

from autograder import cli
from autograder.checking.runner import CheckResult
from autograder.grading import command, pool, submissions, worker
from autograder.grading.command import add_grade_command
from autograder.grading.export import grades_csv, row
from autograder.grading.gradebook import Entry
from autograder.grading.scheduler import Plan
from autograder.grading.state import Record, State, record_of, write_whole
from autograder.grading.worker import Worker
from autograder.sandbox.launcher import Sandbox, SandboxUnavailable
from autograder.sandbox.notebook import cells_of
from autograder.sandbox.student import BUDGET_SECONDS, seed_of

# A worker that grades nothing: it does what the notebook's text says, and notes what it
# was asked. "hold" waits for a file, or until the run is gone; "meet" waits for so many
# workers.
STUB = """
import json, os, select, sys, time
log = os.environ["STUB_LOG"]
with open(os.path.join(os.path.dirname(log), "settings"), "a") as file:
    print(sys.argv[1], file=file)
for line in sys.stdin:
    order = json.loads(line)
    words = " ".join(source for _, source in order["cells"]).split()
    with open(log, "a") as file:
        print(os.getpid(), words[0], order["seed"], file=file)
    told = {"status": "graded", "seconds": 0.5}
    for word, value in zip(words[1::2], words[2::2]):
        if word == "die":
            os._exit(3)
        while word == "hold" and not os.path.exists(log + value):
            if select.select([sys.stdin], [], [], 0.02)[0]:
                os._exit(0)
        while word == "meet" and len({x.split()[0] for x in open(log)}) < int(value):
            time.sleep(0.02)
        if word in ("status", "message"):
            told[word] = value
        if word == "starved" and sum(words[0] in x for x in open(log)) <= int(value):
            told |= {"status": "starved", "message": "the machine was too busy"}
        if word == "unavailable":
            told = {"unavailable": "apt-get install " + value}
        if word == "points":
            told["checks"] = [{
                "id": "smooth-grad/form", "title": "Form", "points": 12,
                "earned": float(value), "status": "failed", "message": "why",
                "public": True,
            }]
    print(json.dumps(told), flush=True)
"""


def submit(
    folder: Path, student: str, *sources: str, problem: str = "problem2"
) -> Path:
    path = folder / student / problem / f"{problem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(*sources)), encoding="utf-8")
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the stub as worker; submissions go to place/submitted."""
    (tmp_path / "stub.py").write_text(STUB)
    (tmp_path / "submitted").mkdir()
    monkeypatch.setenv("STUB_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(pool, "WORKER", (sys.executable, str(tmp_path / "stub.py")))
    return tmp_path


def run(place: Path, *arguments: str) -> int:
    folders = [str(place / "submitted"), "--output", str(place / "out")]
    return cli.main(["grade", *folders, "--no-gradebook", *arguments])


def table(place: Path) -> dict[str, dict[str, str]]:
    with open(place / "out" / "grades.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({r["student"] for r in rows}) == len(rows), "a row twice"
    return {r["student"]: r for r in rows}


def everything(place: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((place / "out" / "grades.json").read_bytes())
    return told


def log(place: Path) -> list[list[str]]:
    """What workers were asked so far: their process, the first word and the seed."""
    return [line.split() for line in (place / "log").read_text().splitlines()]


def asked(place: Path) -> list[str]:
    """The submissions that workers were asked for so far, by their first word."""
    return [name for _, name, _ in log(place)]


def test_one_row_per_submission_whatever_happens(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place / "submitted"
    submit(folder, "ada", "ada points 12")
    submit(folder, "ben", "ben points 7.1")
    submit(folder, "cem", "cem die 1")
    submit(folder, "dia", "dia status timed-out points 3")
    submit(folder, "eve", "eve status crashed points 0")
    submit(folder, "fay", "fay status unreadable")
    submit(folder, "gus", "x").rename(folder / "gus/problem2/Problem 2.ipynb")
    (folder / "hal").mkdir()
    (folder / "notes.txt").write_text("no student")
    assert run(place, "--seed", "5") == 1
    assert {n: (r["status"], r["score"]) for n, r in table(place).items()} == {
        "ada": ("graded", "12"),
        "ben": ("graded", "7.1"),
        "cem": ("grader-error", ""),
        "dia": ("timed-out", "3"),
        "eve": ("crashed", "0"),
        "fay": ("unreadable", ""),
        "gus": ("missing", ""),
        "hal": ("missing", ""),
    }
    assert {r["max_score"] for r in table(place).values()} == {"20"}
    told = everything(place)
    assert told["seed"] == 5
    assert told["versions"]["torch"]
    by_student = {s["student"]: s for s in told["submissions"]}
    assert "Problem 2.ipynb" in by_student["gus"]["message"]
    assert "ended twice" in by_student["cem"]["message"]
    assert by_student["ben"]["checks"][0]["message"] == "why"
    assert asked(place).count("cem") == 2, "a second try, in a new worker"
    said = capsys.readouterr()
    assert "notes.txt" in said.err
    assert "1 of 8 rows" in said.err
    assert "[8/8]" in said.out
    suites = ElementTree.parse(place / "out/junit.xml").getroot()
    assert len(suites) == 8
    assert {s.get("name"): s.get("errors") for s in suites}["problem2 hal"] == "1"
    pages = {p.parent.name for p in (place / "out/feedback").glob("*/problem2.html")}
    assert pages == set(table(place))


def test_all_went_well_is_0_whatever_the_scores(place: Path) -> None:
    submit(place / "submitted", "ada", "ada points 0")
    assert run(place) == 0
    first = everything(place)
    assert first["submissions"][0]["score"] == 0
    shutil.rmtree(place / "out")
    assert run(place) == 0
    assert everything(place)["seed"] != first["seed"], "nobody can learn the questions"


def test_only_what_changed_is_asked_again(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place / "submitted"
    for name in ("ada", "ben", "cem", "dia"):
        submit(folder, name, f"{name} points 1")
    assert run(place) == 0
    seed = everything(place)["seed"]
    assert run(place) == 0
    assert sorted(asked(place)) == ["ada", "ben", "cem", "dia"], "nothing again"
    assert "4 of 4 rows" in capsys.readouterr().err

    submit(folder, "ben", "ben points 2")
    shutil.rmtree(folder / "cem")
    submit(folder, "eve", "eve points 3")
    assert run(place) == 0
    assert sorted(asked(place)[4:]) == ["ben", "eve"]
    scores = {n: r["score"] for n, r in table(place).items()}
    assert scores == {"ada": "1", "ben": "2", "dia": "1", "eve": "3"}
    assert not (place / "out/feedback/cem/problem2.html").exists()
    assert everything(place)["seed"] == seed
    said = capsys.readouterr().out
    assert "ben problem2: 1 -> 2 points, graded (the notebook changed)" in said
    assert "rows since the last run: 1 new, 1 gone" in said


def test_those_that_are_chosen(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place / "submitted"
    for name in ("ada", "ben"):
        for problem in ("problem1", "problem2"):
            submit(folder, name, f"{name}-{problem} points 1", problem=problem)
    run(place, "--student", "ben")
    assert sorted(asked(place)) == ["ben-problem1", "ben-problem2"]
    assert {s["student"] for s in everything(place)["submissions"]} == {"ben"}
    run(place)
    before = len(asked(place))
    for name in ("ada", "ben"):
        submit(folder, name, f"{name}-new points 2")
    run(place, "--student", "ada", "--problem", "problem2")
    assert asked(place)[before:] == ["ada-new"]
    told = everything(place)["submissions"]
    scores = {(s["student"], s["problem"]): s["score"] for s in told}
    assert scores == {
        ("ada", "problem1"): 1,
        ("ben", "problem1"): 1,
        ("ada", "problem2"): 2,
        ("ben", "problem2"): 1,
    }, "what is not chosen stays, even if it is out of date"
    assert (place / "out/feedback/ben/problem2.html").exists()
    run(place, "--student", "ada", "--again")
    assert sorted(asked(place)[before + 1 :]) == ["ada-new", "ada-problem1"]
    for wrong in (["--student", "Aad"], ["--student", "ada", "--seed", "1"]):
        assert run(place, *wrong) == 2
    assert "did you mean 'ada'" in capsys.readouterr().err


# A shell makes its background jobs deaf to Ctrl-C, and those whatever they start.
DRIVER = """
import signal, sys
from autograder import cli
from autograder.grading import pool
signal.signal(signal.SIGINT, signal.default_int_handler)
pool.WORKER = (sys.executable, sys.argv[1])
sys.exit(cli.main(["grade", *sys.argv[2:]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_stopped_it_goes_on_with_nothing_lost_or_doubled(
    place: Path, kind: signal.Signals
) -> None:
    students = [f"s{i}" for i in range(8)]
    for i, name in enumerate(students):
        waits = "hold .go" if i >= 3 else "meet 2"
        submit(place / "submitted", name, f"{name} {waits} points {i}")
    command = [sys.executable, "-c", DRIVER, str(place / "stub.py")]
    command += [str(place / "submitted"), "--output", str(place / "out")]
    with subprocess.Popen(
        [*command, "--no-gradebook", "--workers", "2"],
        cwd=Path(cli.__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any("[3/8]" in line for line in process.stdout)
        process.send_signal(kind)
        said = process.communicate()[0]
    assert process.returncode == (1 if kind == signal.SIGINT else -9)
    if kind == signal.SIGINT:
        assert "goes on from here" in said
        assert "Traceback" not in said
    workers = {int(pid) for pid, *_ in log(place)}
    assert len(workers) == 2
    assert all_end(workers), "a worker outlives its run"
    assert not (place / "out/grades.csv").exists(), "half a table is none"
    kept = {*(place / "out/state").glob("*.json")} - {place / "out/state/run.json"}
    done = {record_of(json.loads(path.read_bytes())).student for path in kept}
    assert done == {*students[:3]}

    before = len(asked(place))
    (place / "log.go").touch()
    assert run(place, "--workers", "1") == 0
    rows = table(place)
    assert {n: r["score"] for n, r in rows.items()} == {
        name: str(i) for i, name in enumerate(students)
    }
    assert asked(place)[before:] == students[3:], "what was done is not redone"
    assert {seed for *_, seed in log(place)} == {str(everything(place)["seed"])}


def test_whatever_decides_a_result_decides_whether_it_is_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(place / "submitted", "ada", "ada points 1")
    run(place)

    def again(*arguments: str) -> bool:
        """Whether a run that goes on asks for her once more."""
        before = len(asked(place))
        run(place, *arguments)
        return len(asked(place)) > before

    assert not again()
    assert not again("--seed", str(everything(place)["seed"]))
    assert not again("--budget", f"{BUDGET_SECONDS:g}")
    for changed in (["--seed", "1"], ["--budget", "31"], ["--unsafe-no-sandbox"]):
        assert again(*changed)
        assert not again(*changed)
        if "--budget" in changed:
            assert everything(place)["budget"] == 31
    monkeypatch.setattr("autograder.grading.state.text_of", lambda *_: "other")
    assert again(*changed)
    settings = [*map(json.loads, (place / "settings").read_text().splitlines())]
    assert [s["budget"] for s in settings] == [BUDGET_SECONDS] * 2 + [31] + [
        BUDGET_SECONDS
    ] * 2
    limits = worker._worker(settings[2])._limits
    assert limits == {"budget_seconds": 31, "cell_seconds": 15.5, "call_seconds": 6.2}


def test_a_mistake_of_ours_is_tried_again_and_the_rest_is_not(place: Path) -> None:
    submit(place / "submitted", "ada", "ada points 12")
    submit(place / "submitted", "ben", "ben status grader-error message boom")
    assert run(place) == 1
    assert table(place)["ben"]["score"] == ""
    assert run(place) == 1
    assert sorted(asked(place)) == ["ada", "ben", "ben"]


def test_a_record_that_is_spoilt_is_graded_anew(place: Path) -> None:
    submit(place / "submitted", "ada", "ada points 12")
    run(place)
    for spoilt in ("", "[]", '{"checks": 3}', '{"checks": [{}]}', '{"a": 1}'):
        (record,) = {*(place / "out/state").glob("*.json")} - {
            place / "out/state/run.json"
        }
        record.write_text(spoilt)
        assert run(place) == 0
        assert table(place)["ada"]["score"] == "12"
    assert asked(place) == ["ada"] * 6


def test_workers_share_the_work(place: Path) -> None:
    for i in range(6):
        submit(place / "submitted", f"s{i}", f"s{i} meet 3 points 1")
    run(place, "--workers", "3")
    assert len({pid for pid, *_ in log(place)}) == 3
    assert len(asked(place)) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="has no such lock")
def test_two_runs_do_not_write_to_one_folder(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(place / "submitted", "ada", "ada points 1")
    with State(place / "out").locked():
        assert run(place) == 1
    assert "another run is writing" in capsys.readouterr().err
    assert run(place) == 0


def test_without_a_sandbox_it_refuses_and_says_what_to_do(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(place / "submitted", "ada", "ada unavailable bubblewrap")
    assert run(place) == 1
    said = capsys.readouterr()
    assert "apt-get install bubblewrap" in said.err
    assert "Traceback" not in said.err
    assert "unsafe" not in said.err, "no message recommends less safety"
    assert not (place / "out/grades.csv").exists()


def test_the_course_around_the_submissions_is_hidden(tmp_path: Path) -> None:
    """Whoever calls the command from elsewhere; Python's own folder is no course."""
    prefix, output = Path(sys.prefix), Path("out")
    options = argparse.Namespace(output=output, course=tmp_path / "elsewhere")
    for course, around in ((tmp_path, [tmp_path]), (prefix, [])):
        options.submitted = course / "submitted"
        hidden = command._hidden(options)
        assert hidden == [options.submitted, output, options.course, *around]
    options.course = prefix
    assert command._hidden(options) == [options.submitted, output]


def test_a_sandbox_that_fails_later_costs_no_more_than_its_rows(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(place / "submitted", "ada", "ada points 12")
    submit(place / "submitted", "ben", "ben unavailable bubblewrap")
    submit(place / "submitted", "cem", "cem points 3")
    assert run(place, "--workers", "1") == 1
    assert {n: (r["status"], r["score"]) for n, r in table(place).items()} == {
        "ada": ("graded", "12"),
        "ben": ("grader-error", ""),
        "cem": ("graded", "3"),
    }
    assert "1 of 3 rows" in capsys.readouterr().err
    assert asked(place) == ["ada", "ben", "ben", "cem"]


def test_who_was_starved_is_asked_again_alone_before_points_are_lost(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(place / "submitted", "ada", "ada starved 1 points 12")
    submit(place / "submitted", "ben", "ben starved 2 points 12")
    for i in range(6):
        submit(place / "submitted", f"s{i}", f"s{i} points 1")
    assert run(place, "--workers", "2") == 1
    assert sorted(asked(place)[-2:]) == ["ada", "ben"], "when all others are done"
    rows = {n: (r["status"], r["score"]) for n, r in table(place).items()}
    assert rows["ada"] == ("graded", "12")
    assert rows["ben"] == ("grader-error", "")
    assert {rows[f"s{i}"] for i in range(6)} == {("graded", "1")}
    told = capsys.readouterr().err
    assert told.count("the machine was too busy; it is asked again alone") == 2
    messages = {s["student"]: s["message"] for s in everything(place)["submissions"]}
    assert messages["ben"] == "the machine was too busy"
    assert run(place) == 0
    assert table(place)["ben"]["score"] == "12", "the next run asks it again"


def test_no_bubblewrap_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        Worker(True, []).grade("problem2", [], 1)


def test_grading_without_a_sandbox_is_loud(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(place / "submitted", "ada", "ada points 1")
    for given in (["--unsafe-no-sandbox"], []):
        assert run(place, *given) == 0
        assert ("ALL YOUR RIGHTS" in capsys.readouterr().err) == bool(given)
        assert everything(place)["sandbox"] is not bool(given)
        page = (place / "out/index.html").read_text()
        assert ("without a sandbox" in page) == bool(given)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--problem", "problem9"], "there are: "),
        (["--problem", "../problem2"], "there are: "),
        (["--workers", "0"], "at least 1"),
        (["--seed", "-3"], "not negative"),
        (["--seed", "many"], "invalid int"),
        (["--budget", "0"], "1 to 3600 seconds"),
        (["--budget", "nan"], "1 to 3600 seconds"),
        (["--output", "submitted/out"], "among the submissions"),
    ],
)
def test_wrong_usage_is_2_and_one_line(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(place)
    submit(place / "submitted", "ada", "ada points 1")
    try:
        code = run(place, *arguments)
    except SystemExit as exit:
        code = int(str(exit.code))
    assert code == 2
    assert words in capsys.readouterr().err
    assert not (place / "out").exists()


def test_nothing_to_grade_is_wrong_usage(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place) == 2
    assert "problemN.ipynb" in capsys.readouterr().err
    (place / "submitted").rmdir()
    assert run(place) == 2


def test_only_the_problem_that_is_asked_for(place: Path) -> None:
    submit(place / "submitted", "ada", "ada points 1")
    submit(place / "submitted", "ada", "other points 1", problem="problem1")
    (place / "submitted/ada/homework").mkdir()
    run(place, "--problem", "problem2")
    assert asked(place) == ["ada"]


# Names of students are names of folders, and those may be anything.

NAMES = [
    *("=HYPERLINK(1)", "+1", "-1+2", "@sum", "＝1", '"quoted", and, commas"'),
    *("a;=1", " =1", "\u3000=1", "\u200b=1", "a; ＋1", "--help", "]]>", "#1?x=%41"),
    *("two\nlines", "\x1b[31mred", "ev\u202ecila", "<script>alert(1)<script>", "Zoë"),
    *("..hidden", "...", "a b  ", "名前", "[a-z]*", "{student_id}", "%2e%2e", "&amp;"),
    *("n" * 255, "é" * 127, "C:\\name", "CON"),
]


def test_names_that_are_traps(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place / "submitted"
    for i, name in enumerate(NAMES):
        submit(folder, name, f"s{i} points {i / 4}")
    bytes_only = os.fsencode(folder) + b"/caf\xe9"
    if sys.platform == "linux":
        submit(folder, os.fsdecode(bytes_only).split("/")[-1], "bytes points 12")
    outside = set(place.rglob("*"))
    assert run(place) == 0
    rows = table(place)
    assert len(rows) == len(list(folder.iterdir())) - 2, "two begin with a dot"
    for name, told in rows.items():
        assert told["status"] == "graded"
        parts = [part.strip(" \u3000\u200b") for part in name.split(";")]
        assert not any(part.startswith(tuple("=+-@＝＋\t\r")) for part in parts)
        assert re.sub("[\u3000\u200b]", "", name).isprintable()
    assert rows["'=HYPERLINK(1)"]["score"] == "0"
    assert rows["Zoë"]["score"] == str(NAMES.index("Zoë") / 4)
    students = {s["student"] for s in everything(place)["submissions"]}
    shown = {"=HYPERLINK(1)", "Zoë", "名前", "two\\x0alines", "ev\\u202ecila"}
    assert shown <= students
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\u202e" not in said.out + said.err
    # Nothing but the output folder, the log of the stub and its run has changed.
    made = {p.relative_to(place).parts[0] for p in {*place.rglob("*")} - outside}
    assert made <= {"out", "log", "settings"}
    assert "<script" not in (place / "out/index.html").read_text("utf-8")
    ElementTree.parse(place / "out/junit.xml")


@pytest.mark.parametrize(
    "student", ["..", ".", "", "a/b", "/etc", "../../x", "n" * 300, ". .", "é" * 200]
)
def test_a_page_lies_in_the_output_folder(student: str) -> None:
    page = submissions.page_of(student, "problem2")
    assert page.parts[0] == "feedback"
    assert len(page.parts) == 3
    assert page.parts[1].strip(". ")
    assert len(page.parts[1].encode()) <= 255
    assert page != submissions.page_of(student + "x", "problem2")


def test_links_are_not_followed(place: Path) -> None:
    """Neither to somebody else's work nor out of the folder."""
    folder = place / "submitted"
    theirs = submit(folder, "ada", "ada points 12")
    secret = submit(place / "elsewhere", "x", "secret points 12")
    (folder / "eve").symlink_to(folder / "ada")
    (folder / "fay").symlink_to("../elsewhere/x")
    (folder / "gus/problem2").mkdir(parents=True)
    (folder / "gus/problem2/problem2.ipynb").symlink_to(theirs)
    (folder / "hal").mkdir()
    (folder / "hal/problem2").symlink_to(secret.parent)
    (folder / "ivy").symlink_to("nowhere")
    assert run(place) == 0
    told = {n: r["status"] for n, r in table(place).items() if n != "ada"}
    links = ["eve", "fay", "gus", "hal", "ivy"]
    assert told == dict.fromkeys(links, "unreadable")
    assert asked(place) == ["ada"]
    messages = {s["student"]: s["message"] for s in everything(place)["submissions"]}
    assert "link" in messages["gus"]


def test_names_that_look_alike_are_pointed_out(tmp_path: Path) -> None:
    for name in ("Zoe\u0308", "Zo\u00eb", "ada", "ad\u200da", "ben"):
        submit(tmp_path, name, "x")
    found = submissions.find(tmp_path)
    assert len(found.submissions) == 5
    alike = [note for note in found.notes if "look alike" in note]
    assert len(alike) == 2
    assert any(r"'ad\u200da'" in note for note in alike)


def test_two_folders_never_share_a_row(tmp_path: Path) -> None:
    """A name as it is shown can be another folder's own name."""
    for name in ("a\nb", "a\\x0ab"):
        submit(tmp_path, name, "x")
    found = submissions.find(tmp_path).submissions
    for of in ("student", "key", "path"):
        assert len({getattr(s, of) for s in found}) == 2


def test_whoever_is_expected_has_a_row(tmp_path: Path) -> None:
    submit(tmp_path, "ada", "x")
    found = submissions.find(tmp_path, ["ben", "../../etc", "ada"])
    assert {s.student: s.missing for s in found.submissions} == {
        "ada": "",
        "ben": "no folder of this student",
        "../../etc": "no folder of this student",
    }
    for submission in found.submissions:
        assert submission.path.parents[2] == tmp_path


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def result(status: str, earned: float = 0) -> CheckResult:
    return CheckResult("t/x", "X", 2, earned, status, f"why {status}", True)


@pytest.mark.parametrize(
    ("statuses", "kinds", "expected"),
    [
        (["passed", "failed", "error"], set(), "graded"),
        (["passed", "timeout", "not-run"], set(), "timed-out"),
        (["timeout", "crashed"], set(), "crashed"),
        (["grader-error", "crashed"], set(), "grader-error"),
        (["error"], {"timed-out"}, "timed-out"),
        (["error"], {"crashed"}, "crashed"),
        (["passed"], {"timed-out", "crashed"}, "graded"),
        (["failed"], {"missing", "raised", "bad-reply"}, "graded"),
    ],
)
def test_the_gravest_status_is_the_submissions(
    statuses: list[str], kinds: set[str], expected: str
) -> None:
    results = [result(status, 2 if status == "passed" else 0) for status in statuses]
    assert worker.status_of(results, kinds) == expected


def test_hand_grading_is_open_until_the_gradebook_says_otherwise() -> None:
    record = Record("ada", "problem2", "graded", checks=(result("passed", 2),))
    assert row(record, hand_max=0).status == "graded"
    alone = row(record, hand_max=5)
    assert (alone.status, alone.score, alone.max_score) == ("needs-hand-grading", 2, 25)
    read = row(record, hand_max=5, entry=Entry(6, 25, False))
    assert (read.status, read.score, read.record.auto_score) == ("graded", 6, 2)
    for status in ("missing", "unreadable", "grader-error"):
        nobody = Record("ada", "problem2", status)
        none = row(nobody, hand_max=5, entry=Entry(0, 25, True))
        assert (none.status, none.score, none.by_hand) == (status, None, False)


def test_points_are_written_as_people_write_them() -> None:
    checks = tuple(result("failed", earned) for earned in (0.1, 0.2, 1 / 3))
    record = Record("ada", "problem2", "graded", checks=checks)
    assert grades_csv([row(record, hand_max=0)]) == (
        "student,problem,score,max_score,auto_score,auto_max,status,seconds\n"
        "ada,problem2,0.633333,20,0.633333,20,graded,0.00\n"
    )


# The real worker.


def test_files_as_they_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is a row with its reason, and nothing of it runs anywhere."""
    folder = tmp_path / "submitted"
    files = {
        "zip": (b"PK\x03\x04", "a zip archive: unpack it"),
        "latin": ("{'ü'}".encode("latin-1"), "no text in UTF-8"),
        "empty": (b"", "empty"),
        "many": (json.dumps(notebook(*"x" * 10_000)).encode(), "more than 1,000 cells"),
        "=cmd\n\x1b[31m<b>]]>": (b"\x1b[31m<script>]]>", "no JSON"),
        "--output=x": (
            b'{"cells": [{"cell_type": "\\u001b<b>"}], "nbformat": 4}',
            "<b>",
        ),
    }
    for name, (data, _) in files.items():
        submit(folder, name).write_bytes(data)
    path = submit(folder, "pipe")
    path.unlink()
    os.mkfifo(path)
    path = submit(folder, "folder")
    path.unlink()
    path.mkdir()
    (folder / "link").symlink_to(folder / "many")
    path = submit(folder, "itself")
    path.unlink()
    path.symlink_to(path)
    out = tmp_path / "out"
    told = ["grade", str(folder), "--output", str(out), "--no-gradebook"]
    assert cli.main([*told, "--unsafe-no-sandbox"]) == 0
    rows = json.loads((out / "grades.json").read_bytes())["submissions"]
    reasons = {row["student"]: row["message"] for row in rows}
    assert {row["status"] for row in rows} == {"unreadable"}
    whys = [why for _, why in files.values()]
    for why in (*whys, "no plain file", "no plain file but a folder", "is a link"):
        assert any(why in reason for reason in reasons.values()), why
    assert len(rows) == len(files) + 4
    said = capsys.readouterr()
    pages = [p.read_text("utf-8") for p in out.rglob("*.html")]
    junit = (out / "junit.xml").read_text("utf-8")
    for text in (said.out, said.err, junit, *pages, *reasons.values(), *reasons):
        assert "\x1b" not in text
    assert all("<b>" not in page and "<script" not in page for page in pages)
    assert "\n'=cmd" in (out / "grades.csv").read_text("utf-8")
    assert len(ElementTree.fromstring(junit)) == len(rows)


Graded = Callable[..., dict[str, Any]]


@pytest.fixture
def graded(sandboxes: Callable[[int], Sandbox]) -> Graded:
    """A worker with the shared sandbox: sources of cells -> the result."""
    found = Worker(True, [])
    found._problem, found._launcher = "problem2", sandboxes(2)

    def one(
        *sources: str, own_seed: int | None = None, **limits: float
    ) -> dict[str, Any]:
        found._limits = limits
        return found.grade("problem2", cells_of(notebook(*sources)), 11, own_seed)

    return one


RIGHT = next(iter(right_submissions("problem2").values()))


def points(told: dict[str, Any]) -> float:
    return float(sum(check["earned"] for check in told["checks"]))


def test_a_worker_grades_and_goes_on_after_each_trouble(graded: Graded) -> None:
    told = graded(RIGHT)
    assert (told["status"], points(told)) == ("graded", 20)
    assert json.loads(json.dumps(told)) == told

    told = graded("import os", "def smooth_grad(*a):\n    os._exit(1)")
    assert (told["status"], points(told)) == ("crashed", 0)
    assert "the process ended while smooth_grad ran" in told["message"]

    hangs = "def smooth_grad(*a):\n    while True: pass"
    told = graded(hangs, call_seconds=0.5)
    assert (told["status"], points(told)) == ("timed-out", 0)
    assert "more than 0.5 seconds of computing" in told["message"]

    told = graded("while True: pass", "x = 1", cell_seconds=0.5)
    assert told["status"] == "timed-out", "a cell that hangs counts too"
    assert "cell 1" in told["failed_cells"]

    told = graded(RIGHT, "while True: pass", cell_seconds=3.0)
    assert (told["status"], points(told)) == ("graded", 20), "it cost nothing"

    assert points(graded(RIGHT)) == 20


def test_no_two_submissions_have_the_same_random_numbers(graded: Graded) -> None:
    """By the run's seed, the course, the student and the problem; each run repeats."""
    ada = seed_of(1, "course", "ada", "problem2")
    others = [
        seed_of(1, "course", "ben", "problem2"),
        seed_of(1, "course", "ada", "problem3"),
        seed_of(2, "course", "ada", "problem2"),
        seed_of(1, "another", "ada", "problem2"),
    ]
    assert len({ada, *others}) == 5

    drawn = (
        "import random, numpy, torch\n"
        "raise ValueError([random.random(), numpy.random.rand(), torch.rand(1).item()])"
    )

    def told(seed: int) -> list[float]:
        line = graded(drawn, own_seed=seed)["failed_cells"]["cell 1"]
        found: list[float] = json.loads(line.partition("ValueError: ")[2])
        return found

    first = told(ada)
    assert first == told(ada)
    for other in others:
        assert all(a != b for a, b in zip(first, told(other), strict=True))


def test_one_that_is_slow_in_every_call_gets_no_more_once_its_budget_is_used_up(
    graded: Graded,
) -> None:
    """No single call is over its limit; together they are."""
    slow = (
        "import time\n_plain = smooth_grad\ndef smooth_grad(*a, **k):\n"
        "    end = time.process_time() + 0.4\n    while time.process_time() < end: 0\n"
        "    return _plain(*a, **k)"
    )
    told = graded(RIGHT, slow, budget_seconds=1.0)
    assert told["status"] == "timed-out"
    assert "used up its 1 seconds of computing" in told["message"]
    statuses = [check["status"] for check in told["checks"]]
    assert {*statuses[statuses.index("timeout") :]} <= {"timeout", "not-run"}


def test_a_mistake_in_our_checks_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    sandboxes: list[Any] = []

    def sandbox(*_: Any, **__: Any) -> Any:
        sandboxes.append(SimpleNamespace(close=lambda: None))
        return sandboxes[-1]

    monkeypatch.setattr(worker, "Sandbox", sandbox)
    monkeypatch.setattr(worker, "run_checks", lambda *_: [result("grader-error")])
    told = Worker(True, []).grade("problem2", [], 11)
    assert told["status"] == "grader-error"
    assert len(sandboxes) == 2, "once more, in a new sandbox"

    monkeypatch.setattr(worker, "run_checks", lambda *_: 1 / 0)
    told = Worker(True, []).grade("problem2", [], 11)
    assert told["status"] == "grader-error"
    assert "ZeroDivisionError: division by zero" in told["message"]
    assert Record("ada", "problem2", **told).auto_score is None


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_a_worker_ends_with_its_run(needs_bubblewrap: None, tmp_path: Path) -> None:
    """In the middle of a submission that would keep it for minutes."""
    mark = "def smooth_grad(*a):\n    while True: pass"
    order = {"problem": "problem2", "cells": [["cell 1", RIGHT], ["cell 2", mark]]}
    plan = Plan(tmp_path, seed=1, budget=300)
    settings = plan.settings() | {"core": 0}
    with subprocess.Popen(
        [*pool.WORKER, json.dumps(settings)],
        env={**pool.environment(), "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({**order, "seed": 1}).encode() + b"\n")
        process.stdin.flush()
        # Bubblewrap, its own in the sandbox, the fork server, and the submission.
        assert soon(lambda: len(below(process.pid)) >= 4)
        inside = below(process.pid)
        process.stdin.close()
        process.wait()
    assert all_end(inside)
    assert not [*tmp_path.iterdir()], "its folder goes along"


def test_the_command_says_how_much_time_there_is() -> None:
    commands = argparse.ArgumentParser().add_subparsers()
    add_grade_command(commands)
    said = " ".join(commands.choices["grade"].format_help().split())
    assert f"otherwise {BUDGET_SECONDS:g}" in said


def test_without_the_sandbox_the_same_work_gets_the_same_points() -> None:
    plain = Worker(False, [])
    told = plain.grade("problem2", cells_of(notebook(RIGHT)), 11)
    plain.close()
    assert (told["status"], points(told)) == ("graded", 20)
