"""The halt switch: what cannot be read means halted, and any switch is enough."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetmend.clock import ManualClock
from fleetmend.errors import PortError
from fleetmend.ports.halt import HaltState, HaltSwitch
from remediation.halt import AGE_MAX_S, AnyHalt, FileHalt, RecentHalt
from tests.unit.remediation.fakes import FakeHalt

HALTED = HaltState(True, "ada", "storm", 5.0)


@pytest.fixture
def switch(tmp_path: Path) -> FileHalt:
    made = FileHalt(tmp_path / "var" / "halt.json")
    made.create()
    return made


def test_a_new_switch_stands_on_go_and_keeps_what_is_set(switch: FileHalt) -> None:
    assert switch.state() == HaltState(halted=False)

    switch.set(HALTED)
    assert switch.state() == HALTED
    switch.create()
    assert switch.state() == HALTED


def test_a_switch_that_was_never_made_means_halted(tmp_path: Path) -> None:
    state = FileHalt(tmp_path / "halt.json").state()

    assert (state.halted, state.by) == (True, "unknown")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60)
    | st.sampled_from([b"{}", b'{"halted": 0}', b'{"halted": "false"}', b"null", b"[]"])
)
def test_whatever_cannot_be_understood_means_halted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "halt.json"
    path.write_bytes(content)

    assert FileHalt(path).state().halted


def test_a_file_that_has_grown_too_large_means_halted(tmp_path: Path) -> None:
    path = tmp_path / "halt.json"
    path.write_text('{"halted": false, "reason": "' + "x" * 10_000 + '"}')

    assert FileHalt(path).state().halted


def test_a_folder_in_its_place_means_halted_and_cannot_be_set(tmp_path: Path) -> None:
    path = tmp_path / "halt.json"
    path.mkdir()
    switch = FileHalt(path)

    assert switch.state().halted
    with pytest.raises(PortError):
        switch.set(HALTED)
    assert os.listdir(tmp_path) == ["halt.json"]


def test_a_switch_that_is_lost_means_halted_until_a_person_says_otherwise(
    switch: FileHalt, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "var")
    again = FileHalt(tmp_path / "var" / "halt.json")
    assert (again.state().halted, again.state().by) == (True, "unknown")
    assert not (tmp_path / "var").exists()

    again.set(HaltState(False, "ada"))
    assert not again.state().halted


@dataclass
class Counted:
    """A switch that counts how often it is asked; it may fail."""

    now: HaltState | Exception
    asked: int = 0

    def state(self) -> HaltState:
        self.asked += 1
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    def set(self, state: HaltState) -> None:
        self.now = state


GO = HaltState(halted=False)
UNREAD = HaltState(True, "unknown", "no answer")


def test_a_halt_is_told_without_asking_what_may_be_slow() -> None:
    slow = Counted(UNREAD)

    assert AnyHalt([FakeHalt(HALTED), slow]).state() == HALTED
    assert slow.asked == 0


@pytest.mark.parametrize("unread", [UNREAD, PortError("no answer"), KeyError("a defect")])
def test_a_switch_that_cannot_be_read_halts_and_hides_no_halt(
    unread: HaltState | Exception,
) -> None:
    both: list[HaltSwitch] = [Counted(unread), FakeHalt(GO)]
    for switches in (both, both[::-1]):
        state = AnyHalt(switches).state()
        assert (state.halted, state.by) == (True, "unknown")

    assert AnyHalt([Counted(unread), FakeHalt(HALTED)]).state() == HALTED


def test_a_switch_that_answers_slowly_is_no_fresh_go_and_halts_for_a_while() -> None:
    """Else every step of giving back would wait for it anew."""
    clock = ManualClock(100.0)

    class Slow(Counted):
        def state(self) -> HaltState:
            clock.sleep(5.0)
            return super().state()

    go, unread = Slow(GO), Slow(UNREAD)
    for switch, asked in ((go, 2), (unread, 1)):
        recent = RecentHalt(switch, clock)
        recent.state()
        recent.state()
        assert switch.asked == asked


@given(st.lists(st.booleans(), max_size=4))
def test_several_switches_are_halted_when_any_is(positions: list[bool]) -> None:
    switches = [FakeHalt(HaltState(halted)) for halted in positions]

    assert AnyHalt(switches).state().halted is (any(positions) or not positions)


def test_setting_reaches_every_switch_although_one_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    broken, last = FileHalt(tmp_path / "file" / "halt.json"), FakeHalt()

    with pytest.raises(PortError):
        AnyHalt([broken, last]).set(HALTED)

    assert last.now == HALTED


def test_a_state_is_used_for_half_a_second_and_no_longer() -> None:
    clock, inner = ManualClock(100.0), FakeHalt()
    recent = RecentHalt(inner, clock)
    assert not recent.state().halted
    inner.now = HALTED

    clock.sleep(AGE_MAX_S / 2)
    assert not recent.state().halted
    clock.sleep(AGE_MAX_S / 2)
    assert recent.state().halted


def test_what_is_set_here_counts_here_at_once() -> None:
    recent = RecentHalt(FakeHalt(), ManualClock(100.0))
    assert not recent.state().halted

    recent.set(HALTED)

    assert recent.state() == HALTED
