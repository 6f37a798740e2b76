"""The kernel log of a node: Xids, SXids, OOM kills and bus errors as events, as they are printed.

The composition root runs one for each kernel log of the settings. The sender of a line decides what
it is worth: only facility 0 is the kernel (see `collectors.kernel_lines`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from collectors.follow import LogFollower
from collectors.kernel_lines import parse_kernel_line
from collectors.logs import LogEvents, LogLine
from collectors.naming import Resolve
from collectors.signatures import Channel
from collectors.sink import Sink
from collectors.tail import KmsgTail, Tail, held_lines, open_tail
from fleetmend.clock import Clock
from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Witness
from fleetmend.settings.collectors import KernelLogSettings

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_UPTIME = Path("/proc/uptime")
_DISORDER_S = 1.0
"""Processors print with clocks of their own: a record may look a little older than the last."""


@dataclass(frozen=True, slots=True)
class Boot:
    """The boot that the times and numbers of kernel records count from."""

    id: str
    """Makes the sequence numbers of two boots differ."""
    at_s: float
    """Unix time of the machine's start."""


def this_boot(clock: Clock, *, boot_id: Path = _BOOT_ID, uptime: Path = _UPTIME) -> Boot:
    """The running boot. Raises BadInput when the kernel does not say."""
    try:
        started_s = clock.now_s() - float(uptime.read_text().split()[0])
        return Boot(boot_id.read_text().strip(), started_s)
    except (OSError, ValueError, IndexError) as error:
        raise BadInput(str(error), where=f"{boot_id}, {uptime}") from error


def missed(lines: Iterable[str], *, boot: Boot, now_s: float, look_back_s: float) -> list[str]:
    """Of the lines that the log holds already, those of this boot and of the last `look_back_s`
    seconds: what was printed while nobody followed. Lines without a time cannot be told apart from
    what was read long ago, and are left."""
    found: list[str] = []
    last_s = float("-inf")
    for line in lines:
        since_s = parse_kernel_line(line).since_boot_s
        if since_s is None:
            continue
        if since_s < last_s - _DISORDER_S:  # what came before was printed by an earlier boot
            found = []
        last_s = since_s
        if now_s - look_back_s <= boot.at_s + since_s <= now_s + _DISORDER_S:
            found.append(line)
    return found


def kernel_log(
    settings: KernelLogSettings,
    *,
    cluster: str,
    sink: Sink,
    clock: Clock,
    resolve: Resolve,
    boot: Boot,
    per_minute_max: int,
    from_start: bool = False,
    tail: Tail | None = None,
    may_be_named: Callable[[], bool] = lambda: True,
) -> LogFollower:
    """A follower of a kernel log. `resolve`: from `<node>/pci:<address>` to the GPU; `from_start`:
    also all that the log holds already, instead of the newest of it; `may_be_named`: see
    `LogFollower`. Raises BadInput when the log cannot be opened."""
    ahead_s = clock.now_s() - clock.monotonic_s()

    def to_line(text: str, now_s: float) -> LogLine:
        kernel = parse_kernel_line(text)
        at_s, identity = now_s, ""
        if kernel.since_boot_s is not None:
            # Number and age, not the time, make the record itself: the time of the boot is worked
            # out anew at each start. A clock that was set moves the boot with it: other witnesses
            # of the same moment tell it by the new time.
            set_s = clock.now_s() - clock.monotonic_s() - ahead_s
            at_s = min(now_s, boot.at_s + kernel.since_boot_s + set_s)
            identity = f"{boot.id} {kernel.sequence} {kernel.since_boot_s}"
        witness = kernel.witness(untold=Witness(settings.untold))
        return LogLine(at_s, settings.node, Channel.KERNEL, kernel.text, witness, identity=identity)

    path, backlog = Path(settings.path), list[str]()
    if tail is None:
        # Opened first: what is printed in between is read twice and told once.
        tail = open_tail(path, from_start=from_start)
        if not from_start:
            now_s, back_s = clock.now_s(), settings.look_back_s
            backlog = missed(held_lines(path), boot=boot, now_s=now_s, look_back_s=back_s)
    return LogFollower(
        name=f"kmsg-{settings.node}",
        cluster=cluster,
        node=settings.node,
        observes=entity_id(cluster, EntityKind.NODE, settings.node),
        sink=sink,
        clock=clock,
        tail=tail,
        backlog=backlog,
        to_line=to_line,
        events=LogEvents(cluster=cluster, resolve=resolve),
        per_minute_max=per_minute_max,
        may_be_named=may_be_named,
        overwritten=partial(_overwritten, tail),
    )


def _overwritten(tail: Tail) -> int:
    return tail.overwritten if isinstance(tail, KmsgTail) else 0
