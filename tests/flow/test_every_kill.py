"""The executor killed at every boundary between it and the outside, one run for each."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock
from fleetmend.store import Store
from remediation.sample import NOW_S
from tests.unit.remediation.bench import Bench, stores
from tests.unit.remediation.test_crash import hung_engine, killed_at_every, lost_gpu


@pytest.mark.parametrize("story", [lost_gpu, hung_engine])
def test_a_kill_at_any_boundary_changes_nothing(story: Callable[[Bench], str]) -> None:
    """End state as in the uninterrupted run, and every change reached the world exactly once."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of the test's own is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        template = Path(folder) / "template.db"
        store = Store(f"sqlite:///{template}", ManualClock(NOW_S))
        store.migrate()
        store.close()

        boundaries, wrong = killed_at_every(stores(template, Path(folder)), story, stride=1)

    assert boundaries > 80
    assert wrong == []
