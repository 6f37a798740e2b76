"""The process is killed while it appends, again and again: what the spool had taken goes out once,
in order, into a real log."""

import random
import subprocess
import sys
from pathlib import Path

from fleetmend.settings.streams import StreamsSettings
from tests.contract.streams.spooled import event_ids, spooled

ROOT = Path(__file__).parents[3]
KILLS = 4


def test_nothing_that_was_taken_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    rng, taken = random.Random(7), 0
    streams = StreamsSettings(path=str(tmp_path / "log.db"), partitions=1)
    for _ in range(KILLS):
        program = [sys.executable, "-m", "tests.contract.streams.spool_killed"]
        with subprocess.Popen(
            [*program, str(tmp_path / "spool"), str(taken)], cwd=ROOT, stdout=subprocess.PIPE
        ) as appending:
            assert appending.stdout is not None
            said = [appending.stdout.readline() for _ in range(rng.randint(20, 600))]
            appending.kill()
            appending.stdout.read()
        log = spooled(tmp_path / "spool", streams)
        assert log.taken > int(said[-1]), "it had said that this one was taken"
        taken = log.taken
        log.close()
    log = spooled(tmp_path / "spool", streams)
    while log.behind:
        log.drain()

    ids = event_ids(log)
    log.close()
    assert ids == [f"id-{number}" for number in range(len(ids))]
    assert len(ids) == taken
    assert log.dropped == {"samples": 0, "events": 0}
