"""`fleetmend up`: what may be split, what is opened for whom, and in which order things start."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from fleetmend.cli import up
from fleetmend.cli.haltreaders import is_read
from fleetmend.clock import ManualClock, SystemClock
from fleetmend.errors import PortError, PortRefused, SettingsError
from fleetmend.pipeline import Parts, Role
from fleetmend.ports.halt import HaltState
from fleetmend.services import Service
from fleetmend.settings import Settings, load_settings
from fleetmend.store import Store
from fleetmend.streams.sqlite import SqliteLog
from remediation.halt import FileHalt

ALL = frozenset(Role)
POSTGRES = "postgresql://u@127.0.0.1/x"


def settings(**flags: Any) -> Settings:
    return load_settings(flags={k.replace("__", "."): v for k, v in flags.items()}).settings


class TestRoles:
    def test_all_is_every_role(self) -> None:
        assert up.parse_roles("all") == ALL

    def test_several_are_named_by_commas(self) -> None:
        assert up.parse_roles("rca, detector") == {Role.RCA, Role.DETECTOR}

    def test_an_unknown_one_is_named_with_those_that_there_are(self) -> None:
        with pytest.raises(typer.BadParameter, match=r"unknown role 'dectetor'; known: collector,"):
            up.parse_roles("dectetor,rca")


class TestSplit:
    @pytest.mark.parametrize("role", list(Role))
    def test_the_embedded_log_is_for_one_process(self, role: Role) -> None:
        with pytest.raises(SettingsError, match=r"streams\.engine"):
            up.refuse_split(settings(store__url=POSTGRES), frozenset({role}))

    @pytest.mark.parametrize("role", sorted(set(Role) - {Role.COLLECTOR}))
    def test_a_file_of_sqlite_is_for_one_process(self, role: Role) -> None:
        with pytest.raises(SettingsError, match=r"store\.url"):
            up.refuse_split(settings(streams__engine="kafka"), frozenset({role}))

    def test_a_collector_by_itself_needs_no_store(self) -> None:
        chosen = frozenset({Role.COLLECTOR})
        up.refuse_split(settings(streams__engine="kafka"), chosen)
        assert up.store_for(settings(), chosen, ManualClock()) is None

    def test_a_collector_beside_another_role_does(self) -> None:
        both = frozenset({Role.COLLECTOR, Role.DETECTOR})
        with pytest.raises(SettingsError, match=r"store\.url"):
            up.refuse_split(settings(streams__engine="kafka"), both)

    def test_all_in_one_process_need_neither(self) -> None:
        up.refuse_split(settings(), ALL)

    def test_a_store_that_is_opened_is_brought_to_its_newest_form(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'store.db'}"
        store = up.store_for(settings(store__url=url), ALL, ManualClock())
        assert store is not None
        assert store.at_head()
        store.close()


def test_everybody_may_decide_only_over_a_fleet_that_is_not_real() -> None:
    with pytest.raises(SettingsError, match=r"console\.auth"):
        up.refuse_demo(settings(console__auth="local-demo"))
    up.refuse_demo(settings(console__auth="token"))


def test_what_is_not_wired_is_refused_not_ignored(tmp_path: Path) -> None:
    chosen = settings(store__url=f"sqlite:///{tmp_path / 'store.db'}")
    store = Store(chosen.store.url, ManualClock(), settings=chosen.store)
    ports = up.real_ports(chosen, store, ManualClock())
    assert ports.cluster.node("n") is None
    with pytest.raises(PortRefused):
        ports.engines.restart("e", operation="o")
    with pytest.raises(PortRefused):
        ports.traffic.set_weight("e", 0, operation="o")
    store.close()


class TestWarnings:
    def test_an_installation_that_was_never_set_up_says_so_at_its_start(
        self, tmp_path: Path
    ) -> None:
        chosen = settings(remediation__halt_file=str(tmp_path / "halt.json"))
        [said] = up.warnings(chosen, ALL)
        assert "never set up" in said
        assert "fleetmend resume" in said

    def test_one_that_somebody_halted_says_who_and_why(self, tmp_path: Path) -> None:
        switch = tmp_path / "halt.json"
        FileHalt(switch).set(HaltState(True, "ana", "smoke", 1.0))
        [said] = up.warnings(settings(remediation__halt_file=str(switch)), ALL)
        assert said.startswith("halted by ana: smoke")

    def test_who_runs_and_does_not_act_hears_nothing(self, tmp_path: Path) -> None:
        switch = tmp_path / "halt.json"
        chosen = settings(remediation__halt_file=str(switch))
        assert up.warnings(chosen, frozenset({Role.CONSOLE})) == []
        FileHalt(switch).create()
        assert up.warnings(chosen, ALL) == []


@dataclass(frozen=True)
class Deps:
    """What `run` touches of the console's dependencies."""

    unready: Callable[[], Sequence[str]] = tuple
    simulated: str = ""


class Console:
    """Stands in for the console's server."""

    def __init__(self, deps: Deps, *, taken: bool) -> None:
        self.deps = deps
        self.taken = taken
        self.unready_at_start: Sequence[str] = ()
        self.stopped = False

    def start(self) -> str:
        if self.taken:
            raise PortError("the console cannot listen")
        self.unready_at_start = self.deps.unready()
        return "http://127.0.0.1:1"

    def stop(self) -> None:
        self.stopped = True


class TestRun:
    @pytest.fixture
    def parts(self) -> Parts:
        clock = SystemClock()
        log = SqliteLog(":memory:", clock=clock, partitions=1)
        return Parts(settings=Settings(), clock=clock, log=log, store=None, ports=_nothing)

    @pytest.fixture(autouse=True)
    def handlers(self) -> Iterator[None]:
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        yield
        for number, handler in before.items():
            signal.signal(number, handler)

    def wire(
        self, monkeypatch: pytest.MonkeyPatch, step: Callable[[], int], *, taken: bool = False
    ) -> list[Console]:
        """One service with this step, and a console; the list gets it when it is made."""
        made: list[Console] = []

        def server(deps: Deps) -> Console:
            made.append(Console(deps, taken=taken))
            return made[0]

        monkeypatch.setattr(up, "services", lambda *_: [Service("detection", step)])
        monkeypatch.setattr(up, "showing", lambda *_: (Deps(), []))
        monkeypatch.setattr(up, "console_server", server)
        return made

    def test_a_console_that_cannot_listen_ends_it_before_anybody_acts(
        self, parts: Parts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[int] = []
        self.wire(monkeypatch, lambda: steps.append(1) or 0, taken=True)  # type: ignore[func-returns-value]

        with pytest.raises(PortError):
            up.run(parts, ALL)
        assert steps == []

    def test_it_runs_until_sigterm_and_the_console_knows_how_its_services_are(
        self, parts: Parts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Sequence[str]] = []

        def step() -> int:
            if not seen:
                seen.append(made[0].deps.unready())
                os.kill(os.getpid(), signal.SIGTERM)
            return 0

        made = self.wire(monkeypatch, step)
        up.run(parts, ALL, ready=lambda _: None)

        [console] = made
        assert [reason.partition(":")[0] for reason in console.unready_at_start] == ["detection"]
        assert seen == [[]], "ready once its services run"
        assert console.stopped
        assert "fleetmend_service_steps_total" in {
            sample.name for metric in parts.registry.collect() for sample in metric.samples
        }

    def test_a_store_that_is_taken_away_makes_it_unready_and_its_switch_is_known_to_be_read(
        self, parts: Parts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file, switch = tmp_path / "store.db", tmp_path / "halt.json"
        file.write_text("")
        parts.settings = settings(
            store__url=f"sqlite:///{file}", remediation__halt_file=str(switch)
        )
        seen: list[Sequence[str]] = []
        read: list[bool] = []

        def step() -> int:
            if not seen:
                read.append(is_read(switch))
                file.unlink()
                seen.append(made[0].deps.unready())
                os.kill(os.getpid(), signal.SIGTERM)
            return 0

        made = self.wire(monkeypatch, step)
        up.run(parts, ALL, ready=lambda _: None)
        assert seen == [[f"{file} was deleted while it was open; restart"]]
        assert read == [True]
        assert not is_read(switch)

    def test_without_the_role_there_is_no_console(
        self, parts: Parts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def step() -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return 0

        made = self.wire(monkeypatch, step)
        up.run(parts, ALL - {Role.CONSOLE})
        assert made == []


def _nothing() -> Any:
    raise AssertionError("nothing is acted on here")
