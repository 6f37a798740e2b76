"""Admission on a real PostgreSQL: two workers in one moment get the last place once."""

import pytest

from fleetmend.clock import ManualClock
from fleetmend.store import Store
from remediation.sample import NOW_S
from tests.unit.remediation.race import admitted_of_two

pytestmark = pytest.mark.postgres


def test_two_workers_never_get_the_last_place_both(postgres_url: str) -> None:
    store = Store(postgres_url, ManualClock(NOW_S))
    store.migrate()

    assert sorted(admitted_of_two(store)) == [False, True]
    store.close()
