"""The files that other programs read: what they say is what the project says."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import chapter4

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_the_citation_is_the_projects() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    book = yaml.safe_load((ROOT / "book/_config.yml").read_text("utf-8"))
    assert cited["version"] == chapter4.__version__
    assert cited["title"] == book["title"]
    assert cited["authors"] == [{"name": book["author"]}]
    assert cited["license"] == PROJECT["license"].split(" AND ")[0]


@pytest.mark.skipif(sys.platform != "linux", reason="hadolint comes for Linux only")
def test_the_dockerfile_has_no_fault() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    subprocess.run([hadolint, ROOT / "Dockerfile"], check=True)
    sources = re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE)
    let_in = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for name in " ".join(sources).split():
        assert (ROOT / name).exists()
        assert any(Path(name).match(line[1:]) for line in let_in if line[0] == "!")
    (extras,) = re.findall(r"\.\[(.+)\]", DOCKERFILE)
    assert {*extras.split(",")} <= {*PROJECT["optional-dependencies"]}


@pytest.mark.slow
def test_the_image_builds_where_there_are_docker_and_a_network() -> None:
    """Elsewhere it asks nothing: only the linter has looked at the Dockerfile then."""
    base = DOCKERFILE.split("FROM ")[1].split()[0]
    try:
        subprocess.run(["docker", "pull", "--quiet", base], check=True)
    except (OSError, subprocess.CalledProcessError):
        return
    build = ["docker", "build", "--quiet", ROOT]
    image = subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout
    grade = "autograder sample-class c && cd c && nbgrader generate_assignment problem1"
    grade += " && autograder grade submitted --output grades"
    run = ["docker", "run", "--rm", "--privileged", "--workdir=/tmp", image.strip()]
    subprocess.run([*run, "bash", "-ec", grade], check=True)
