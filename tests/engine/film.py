"""Playing a recorded fault: the collectors and detection see it as they saw the engine, in event
time and within seconds, one thread for all.

The canary probe runs in an event loop whose clock jumps: waiting costs nothing, and everything else
has its turn whenever time has passed.
"""

import asyncio
import json
import lzma
import selectors
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path

import httpx

from collectors.fetch import Fetched, Outcome
from collectors.kmsg import Boot
from fleetmend.clock import ManualClock
from fleetmend.streams.sqlite import SqliteLog
from tests.engine.station import Station, Ways, settings_for
from tests.engine.tape import Row, asked_of
from tests.engine.told import Told
from tests.unit.collectors.fakes import HeldExecutor

BEGIN_S = 1_700_000_000.0
"""Unix time at which every film begins."""
_NOWHERE = "http://engine.invalid"
_TURN_S = 0.5
"""Event time between two turns of detection."""


class Film:
    """One recorded fault."""

    def __init__(self, path: Path) -> None:
        text = lzma.decompress(path.read_bytes()).decode()
        head, *rows = (json.loads(line) for line in text.splitlines())
        self.begun_s = BEGIN_S + float(head["begun"])
        """When the fault began."""
        self.ended_s = BEGIN_S + float(head["ended"])
        """When the recording ended, within the fault."""
        self.boot = Boot("recorded", BEGIN_S + float(head.get("boot", 0.0)))
        self.rows: list[Row] = rows

    def of(self, name: str) -> list[Row]:
        """The rows that have this field."""
        return [row for row in self.rows if name in row]


def play(film: Film, folder: Path) -> Told:
    """Everything that the collectors and detection say of a film."""
    clock = ManualClock(BEGIN_S)
    log = SqliteLog(":memory:", clock=clock, partitions=1)
    told = Told(log, clock)
    kernel = film.of("kmsg")
    ways = Ways(
        pages=FilmedPages(film, clock),
        answers=FilmedAnswers(film, clock),
        engine_log=FilmedLines(film.of("log"), "log", clock),
        kernel_log=FilmedLines(kernel, "kmsg", clock) if kernel else None,
        boot=film.boot,
    )
    settings = settings_for(_NOWHERE, folder)
    station = Station(ways, settings, log=log, clock=clock, executor=HeldExecutor())
    stop = threading.Event()
    turns = _Turns(station, told, clock, until_s=film.ended_s, stop=stop)
    with asyncio.Runner(loop_factory=lambda: JumpingLoop(clock, turns.take)) as runner:
        runner.run(station.probe.ask_all(stop))
    turns.fold()
    log.close()
    return told


class _Turns:
    """Everybody but the probe, in turn."""

    def __init__(
        self,
        station: Station,
        told: Told,
        clock: ManualClock,
        *,
        until_s: float,
        stop: threading.Event,
    ) -> None:
        self._station, self._told, self._clock = station, told, clock
        self._until_s, self._stop = until_s, stop
        self._folded_s = float("-inf")
        station.scraper.announce()

    def take(self) -> None:
        """After time has passed."""
        self._station.scraper.poll()
        for follower in self._station.followers:
            follower.poll()
        now_s = self._clock.now_s()
        if now_s - self._folded_s >= _TURN_S:
            self._folded_s = now_s
            self.fold()
        if now_s >= self._until_s:
            self._stop.set()

    def fold(self) -> None:
        """Detection takes in what has come."""
        self._station.fleet.step()
        while self._station.detection.step():
            pass
        while self._told.read():
            pass


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait: its clock is moved to where the next timer is due."""

    def __init__(self, clock: ManualClock, passed: Callable[[], None]) -> None:
        super().__init__(_Jumping(clock, passed))
        self._event_clock = clock

    def time(self) -> float:
        """The clock of the film."""
        return self._event_clock.monotonic_s()


class _Jumping(selectors.SelectSelector):
    def __init__(self, clock: ManualClock, passed: Callable[[], None]) -> None:
        super().__init__()
        self._clock, self._passed = clock, passed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            # Timers are compared with the end of the loop's own resolution.
            self._clock.sleep(timeout + 1e-6)
            self._passed()
        return super().select(0)


class FilmedPages:
    """The scraper's way to the engine of a film."""

    def __init__(self, film: Film, clock: ManualClock) -> None:
        self._moments = _Moments(film.of("page"))
        self._clock = clock

    def begin(self, url: str, timeout_s: float, ca_file: str = "") -> "Future[Fetched]":
        """What came of the recorded request that is nearest in time; it is there at once."""
        row = self._moments.nearest(self._clock.now_s())
        future: Future[Fetched] = Future()
        future.set_result(
            Fetched(
                Outcome(str(row["outcome"])),
                str(row["page"]).encode(),
                status=int(row["status"]),
                duration_s=float(row["took"]),
            )
        )
        return future

    def close(self) -> None:
        """Nothing is held."""


class FilmedAnswers(httpx.AsyncBaseTransport):
    """The probe's way to the engine of a film."""

    def __init__(self, film: Film, clock: ManualClock) -> None:
        rows: dict[str, list[Row]] = {}
        for row in film.of("asked"):
            rows.setdefault(str(row["asked"]), []).append(row)
        self._moments = {asked: _Moments(each) for asked, each in rows.items()}
        self._clock = clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """What came of the recorded request that is nearest in time, in the time that it took."""
        row = self._moments[asked_of(request)].nearest(self._clock.now_s())
        if row.get("error") == "timeout":
            await asyncio.Event().wait()
        await asyncio.sleep(float(row["took"]))
        if "error" in row:
            error = _ERRORS[str(row["error"])](str(row["error"]), request=request)
            raise error from (ConnectionRefusedError() if row["error"] == "refused" else None)
        return httpx.Response(
            int(row["status"]), stream=httpx.ByteStream(str(row["body"]).encode())
        )


class FilmedLines:
    """A log of a film, as a tail."""

    def __init__(self, rows: Iterable[Row], name: str, clock: ManualClock) -> None:
        self._rows = list(rows)
        self._name, self._clock = name, clock

    def poll(self) -> list[str]:
        """The lines that have been printed since."""
        now_s = self._clock.now_s() - BEGIN_S
        due = [row for row in self._rows if float(row["s"]) <= now_s]
        del self._rows[: len(due)]
        return [str(row[self._name]) for row in due]

    def wait(self, timeout_s: float) -> bool:
        """Nobody waits in a film."""
        return False

    def close(self) -> None:
        """Nothing is held."""


class _Moments:
    """Rows by the time at which they began."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = sorted(rows, key=lambda row: float(row["s"]))
        self._at_s = [BEGIN_S + float(row["s"]) for row in self._rows]

    def nearest(self, moment_s: float) -> Row:
        """The row that began next to a moment."""
        after = bisect_left(self._at_s, moment_s)
        near = range(max(0, after - 1), min(after + 1, len(self._rows)))
        return self._rows[min(near, key=lambda at: abs(self._at_s[at] - moment_s))]


_ERRORS: dict[str, type[httpx.TransportError]] = {
    "timeout": httpx.ReadTimeout,
    "refused": httpx.ConnectError,
    "broken": httpx.RemoteProtocolError,
}
