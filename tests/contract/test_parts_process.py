"""The programs of real parts: one that does not come up is not left behind."""

import os
from pathlib import Path

import pytest

from deploy.parts.process import Daemon, PartFailed

SLEEPER = ["/bin/sleep", "600"]


def running(pid: int) -> bool:
    """Whether a process of this id is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_part_that_is_not_ready_in_time_is_ended(tmp_path: Path) -> None:
    part = Daemon(SLEEPER, log=tmp_path / "log")

    with pytest.raises(PartFailed, match="not ready"):
        part.await_ready(lambda: False, timeout_s=0.01)

    assert not running(part.pid)


def test_an_interrupt_while_a_part_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    part = Daemon(SLEEPER, log=tmp_path / "log")

    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        part.await_ready(interrupted, timeout_s=60)

    assert not running(part.pid)


def test_a_part_that_left_says_what_it_wrote_last(tmp_path: Path) -> None:
    part = Daemon(["/bin/sh", "-c", "echo the disk is full; exit 3"], log=tmp_path / "log")

    with pytest.raises(PartFailed, match="left with 3\nthe disk is full"):
        part.await_ready(lambda: False, timeout_s=60)
