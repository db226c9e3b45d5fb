"""What users have is what is written down in what_users_have.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inventory import collect

WRITTEN = json.loads(
    Path(__file__).with_name("what_users_have.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("part", collect.PARTS)
def test_what_users_have_is_as_it_was(part: str) -> None:
    assert json.loads(json.dumps(collect.PARTS[part]())) == WRITTEN[part]
