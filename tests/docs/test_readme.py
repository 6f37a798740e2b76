"""The README's figures are those of the result files, and its pictures and links are there."""

import re
from pathlib import Path

from benchmarks.figures import BLOCK, BLOCKS, rendered

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_figure_is_that_of_its_result_file() -> None:
    assert rendered(README) == README, "run: python -m benchmarks.figures"


def test_every_block_of_figures_is_there() -> None:
    assert {name for _, name, _ in BLOCK.findall(README)} == set(BLOCKS)


def test_every_link_and_picture_leads_somewhere() -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in t]

    assert [target for target in targets if not (ROOT / target).exists()] == []
