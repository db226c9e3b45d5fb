"""The sample photos: each has a record that is true, and the credits agree."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import torch
from PIL import Image
from torch import nn

import chapter4.inputs.images
from chapter4.inputs.images import (
    image_tensor,
    load_image,
    sample_photo,
    sample_photos,
)

FOLDER = Path(chapter4.__file__).with_name("photos")
RECORDS: list[dict[str, Any]] = json.loads(
    (FOLDER / "photos.json").read_text(encoding="utf-8")
)
SHIPPED = [record for record in RECORDS if record["where"] == "chapter4"]
LABELLED = [record for record in RECORDS if record["label"] is not None]

# CC BY-SA and the GPL would bind the course too, and an NC or ND licence would bind its
# readers.
LICENCES = {
    "public domain": "https://creativecommons.org/publicdomain/mark/1.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
}
FACTS = ["where", "title", "file", "author", "licence", "licence_url"]
FACTS += ["source", "changes"]
FIELDS = {*FACTS, *["name", "alt", "label", "label_name", "accept", "reason"]}


def _named(records: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize(
        "record", records, ids=[record["name"] for record in records]
    )


def _credits() -> list[tuple[str, ...]]:
    """The rows of CREDITS.md, with the columns of FACTS."""
    rows, where = [], "chapter4"
    for line in (FOLDER / "CREDITS.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"### .*\(folder `(\w+)`\)", line):
            where = heading[1]
        if not line.startswith("|") or line.startswith(("| photo |", "|---")):
            continue
        title, file, author, licence, source, changes = (
            cell.strip() for cell in line.strip("|").split("|")
        )
        licence_link = re.fullmatch(r"\[(.+)\]\((\S+)\)", licence)
        source_link = re.fullmatch(r"\[source\]\(([^()\s]+)\)", source)
        assert licence_link, f"no licence link in {line}"
        assert source_link, f"no source link in {line}"
        about = (*licence_link.groups(), unquote(source_link[1]), changes)
        rows.append((where, title, file.strip("`"), author, *about))
    return rows


def test_every_jpeg_has_a_record_and_every_record_a_jpeg() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"photos.json", "CREDITS.md"}
    assert files == {record["file"] for record in SHIPPED}
    assert len(SHIPPED) == len(files)


def test_names_are_unique_and_lead_to_the_files() -> None:
    names = [record["name"] for record in RECORDS]
    assert len(set(names)) == len(names)
    assert list(sample_photos()) == names
    for record in SHIPPED:
        assert record["file"] == f"{record['name']}.jpg"
        assert sample_photo(record["name"]) == FOLDER / record["file"]


def test_no_photo_is_there_twice() -> None:
    pixels = [load_image(sample_photo(record["name"])).tobytes() for record in RECORDS]
    assert len(set(pixels)) == len(RECORDS)


@_named(RECORDS)
def test_the_file_opens_as_rgb_and_is_large_enough(record: dict[str, Any]) -> None:
    photo = load_image(sample_photo(record["name"]))
    assert photo.mode == "RGB"
    assert min(photo.size) >= 224, "smaller than what the classifier sees"
    # A blank or broken photo decodes too; a real one has many grey values.
    assert len([n for n in photo.convert("L").histogram() if n]) > 100


@_named(SHIPPED)
def test_the_shipped_file_is_a_small_plain_jpeg(record: dict[str, Any]) -> None:
    with Image.open(FOLDER / record["file"]) as photo:
        assert photo.format == "JPEG"
        assert photo.mode == "RGB"
        assert max(photo.size) <= 640
        # Pillow's own account of the JFIF header is all that may remain: no EXIF,
        # comment, profile or XMP.
        jfif = "jfif jfif_version jfif_unit jfif_density progressive progression"
        assert set(photo.info) <= set(jfif.split())
        assert dict(photo.getexif()) == {}


def test_all_shipped_photos_together_stay_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.jpg")) < 2_200_000


@_named(RECORDS)
def test_the_record_is_complete_and_the_licence_is_free(record: dict[str, Any]) -> None:
    assert set(record) == FIELDS
    assert record["where"] in ("chapter4", "skimage", "matplotlib")
    assert record["licence_url"] == LICENCES[record["licence"]]
    assert record["author"].strip()
    assert record["changes"].strip()
    assert record["source"].startswith("https://")
    not_free = ("eagle", "cells3d", "skin")
    assert Path(record["file"]).stem not in not_free


@_named(RECORDS)
def test_the_alt_text_is_a_sentence_and_the_title_is_none(
    record: dict[str, Any],
) -> None:
    alt = record["alt"]
    assert re.fullmatch(r"[A-Z].*[a-z]\.", alt)
    assert ". " not in alt
    assert 8 <= len(alt.split()) <= 30
    # A screen reader says that it is a picture before it reads the text.
    assert not re.match(r"(an? |the )?(image|photo|picture)", alt, re.IGNORECASE)
    assert record["title"]
    assert not record["title"].endswith(".")
    assert record["title"] != alt


@_named(RECORDS)
def test_the_label_is_an_imagenet_class_or_has_a_reason_to_be_none(
    record: dict[str, Any],
) -> None:
    from torchvision.models import ResNet50_Weights

    classes = ResNet50_Weights.DEFAULT.meta["categories"]
    if record["label"] is None:
        assert record["label_name"] is None
        assert record["accept"] == []
        assert re.fullmatch(r"[A-Z].*\.", record["reason"])
        return
    assert record["reason"] is None
    assert 0 <= record["label"] <= 999
    assert record["label_name"] == classes[record["label"]]
    accepted = set(record["accept"])
    assert accepted <= set(range(1000)) - {record["label"]}
    assert len(accepted) == len(record["accept"])


def test_the_credits_state_the_same_facts_as_the_records() -> None:
    facts = [
        tuple(unquote(record[k]) if k == "source" else record[k] for k in FACTS)
        for record in RECORDS
    ]
    rows = _credits()
    assert len(rows) == len(set(rows))
    assert set(rows) == set(facts)


def test_no_two_photos_are_swapped(classifier: nn.Module) -> None:
    """No photo with another label looks more like this one's class than it does.

    That holds whatever the classifier makes of the photo.
    """
    photos = [image_tensor(sample_photo(each["name"]), classifier) for each in LABELLED]
    with torch.no_grad():
        probabilities = classifier(torch.cat(photos)).softmax(dim=-1)  # (photos, 1000)
    for record in LABELLED:
        best = LABELLED[int(probabilities[:, record["label"]].argmax())]
        assert best["label"] == record["label"], f"{best['name']}: {record['name']}"
