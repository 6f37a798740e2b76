"""docs/operations.md names every reason for which admission refuses, and every command."""

import re
from pathlib import Path

from fleetmend.model.plans import Refusal

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_every_refusal_is_explained() -> None:
    section = PAGE.partition("## Why nothing happened")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", section, re.MULTILINE)
    explained = {word for row in rows for word in re.findall(r"`([a-z_]+)`", row)}

    assert explained == {refusal.value for refusal in Refusal}
