"""The log file of an engine: only lines of the catalogue become events (`collectors.signatures`).

The composition root runs one for each engine log of the settings.
"""

from pathlib import Path

from collectors.follow import LogFollower
from collectors.logs import LogEvents, LogLine
from collectors.naming import Resolve
from collectors.signatures import Channel
from collectors.sink import Sink
from collectors.tail import FileTail, Tail
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Witness
from fleetmend.settings.collectors import EngineLogSettings


def engine_log(
    settings: EngineLogSettings,
    *,
    cluster: str,
    sink: Sink,
    clock: Clock,
    resolve: Resolve,
    per_minute_max: int,
    from_start: bool = False,
    tail: Tail | None = None,
) -> LogFollower:
    """A follower of an engine's log: a plain file and nothing else, since the engine's owner says
    what is there. What cannot be read is told when it is followed."""
    engine = entity_id(cluster, EntityKind.ENGINE, settings.engine)

    def to_line(text: str, now_s: float) -> LogLine:
        # The time of reading: an engine prints local times of many forms, mostly without a year.
        witness = Witness.APPLICATION_LOG
        return LogLine(now_s, settings.node, Channel.ENGINE, text, witness, engine)

    return LogFollower(
        name=f"log-{settings.engine}",
        cluster=cluster,
        node=settings.node,
        observes=engine,
        sink=sink,
        clock=clock,
        tail=tail or FileTail(Path(settings.path), from_start=from_start),
        to_line=to_line,
        events=LogEvents(cluster=cluster, resolve=resolve),
        per_minute_max=per_minute_max,
    )
