"""The same story with a worker killed by SIGKILL at a seeded moment and started again at once:
nothing is done twice and nothing is lost."""

import os
from dataclasses import asdict
from typing import Any

import pytest

from tests.flow.killer import Killer, drawn
from tests.flow.proof import assert_done_once, assert_told
from tests.flow.story import Parts, running, tell

pytestmark = pytest.mark.flow
SEEDS = int(os.environ.get("FLEETMEND_KILL_SEEDS", "5"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_killed_worker_repeats_nothing_and_loses_nothing(
    parts: Parts, seed: int, survived: list[dict[str, Any]]
) -> None:
    blow = drawn(seed)
    with running(parts) as flow:
        killer = Killer(flow, blow)
        try:
            told = tell(flow, seed, meanwhile=killer.start)
            killer.join()
            assert killer.struck_s is not None
            assert_done_once(flow, told)
            assert_told(flow, told)
            after_s = round(killer.struck_s - told.line_s, 2)
            survived.append({"seed": seed, **asdict(blow), "struck_after_line_s": after_s})
        except BaseException as error:
            error.add_note(f"seed {seed}: {blow}, struck at {killer.struck_s}")
            raise
