"""A live engine under watch: the collectors and detection in threads, on a log in a file."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from collectors.kmsg import this_boot
from collectors.tail import open_tail
from deploy.parts.engine import Engine
from fleetmend.clock import SystemClock
from fleetmend.services import Loop, Service, ServiceThreads
from fleetmend.streams.sqlite import SqliteLog
from tests.engine.reports import FAULTS, delays, missing, said_wrongly
from tests.engine.station import Station, Ways, settings_for
from tests.engine.tape import Tape, TapedAnswers, TapedLines, TapedPages
from tests.engine.told import Told

PATIENCE_S = 120.0
_WAIT_S = 0.2


@dataclass(slots=True)
class Outcome:
    """What was reported of one fault."""

    fault: str
    what: str
    reported: list[dict[str, object]]
    """Words, by whom, delay in seconds: what had to be said."""
    also_found: list[dict[str, object]]
    """Other findings that opened while it lasted."""


class Watch:
    """Watches an engine from when it is made to its end."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        *,
        kernel: bool = False,
        golden_s: float | None = None,
    ) -> None:
        """`folder` for the log; `kernel`: follow the kernel's log too; `golden_s`: seconds between
        golden prompts, if any are to be sent."""
        self.clock = SystemClock()
        self.tape = Tape(self.clock)
        boot = this_boot(self.clock)
        settings = settings_for(engine.url, folder, golden_s=golden_s)
        ways = Ways(
            pages=TapedPages(self.tape, settings),
            answers=TapedAnswers(self.tape),
            engine_log=TapedLines(self.tape, open_tail(engine.log, from_start=False), "log"),
            kernel_log=self._kernel() if kernel else None,
            boot=boot,
        )
        self._boot_s = boot.at_s
        self._log = SqliteLog(str(folder / "log.db"), clock=self.clock, partitions=1)
        self.told = Told(self._log, self.clock)
        station = Station(ways, settings, log=self._log, clock=self.clock)
        self._threads = ServiceThreads(
            [
                Service("fleet", station.fleet.step),
                Loop("prometheus", station.scraper.run),
                Loop("probe", station.probe.run),
                *(Loop(f"log {at}", each.run) for at, each in enumerate(station.followers)),
                Service("detection", partial(station.detection.step, _WAIT_S)),
            ],
            self.clock,
        )
        self._threads.start()

    def _kernel(self) -> TapedLines:
        device = open_tail(Path("/dev/kmsg"), from_start=False)
        return TapedLines(self.tape, device, "kmsg", about="oom")

    def until(
        self,
        holds: Callable[[], object],
        what: Callable[[], object],
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Wait until this holds of what stands in the log; `what` says what is waited for."""
        deadline_s = self.clock.monotonic_s() + patience_s
        while not holds():
            self.told.read(_WAIT_S)
            if self.clock.monotonic_s() > deadline_s:
                newest = {name: rows[-1].value for name, rows in self.told.values.items()}
                events = [event.data for _, event in self.told.events[-6:]]
                raise AssertionError(f"not seen: {what()}\n{newest}\n{events}")

    def calm(self, seconds: float) -> None:
        """Let detection learn what is usual."""
        until_s = self.clock.now_s() + seconds
        self.until(lambda: self.clock.now_s() >= until_s, lambda: "time passes")

    def told_of(self, name: str, since_s: float) -> None:
        """Wait until everything that must be said of a fault is said."""
        fault = FAULTS[name]
        self.until(
            lambda: not missing(fault, self.told, since_s),
            lambda: f"{name}: {missing(fault, self.told, since_s)}",
        )

    def outcome(self, name: str, since_s: float) -> Outcome:
        """What was reported; fails on what must not be."""
        fault = FAULTS[name]
        assert said_wrongly(fault, self.told, since_s) == []
        wanted = {report.words for report in fault.must}
        others = {
            f"{finding.detector}: {finding.reason}": round(told_s - since_s, 2)
            for told_s, finding in reversed(list(self.told.opened(since_s)))
        }
        return Outcome(
            name,
            fault.what,
            [asdict(delay) for delay in delays(fault, self.told, since_s)],
            [
                {"words": words, "delay_s": delay_s}
                for words, delay_s in sorted(others.items(), key=lambda item: item[1])
                if words not in wanted
            ],
        )

    def film(self, path: Path, *, begun_s: float) -> None:
        """Keep what the collectors were answered; the fault began at `begun_s`."""
        self.tape.save(
            path,
            begun=round(begun_s - self.tape.started_s, 3),
            ended=round(self.clock.now_s() - self.tape.started_s, 3),
            boot=round(self._boot_s - self.tape.started_s, 3),
        )

    def end(self) -> None:
        """Stop looking."""
        self._threads.stop(timeout_s=30)
        self._log.close()
