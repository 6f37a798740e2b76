"""Where a fold goes on after a restart: its snapshot, the cuts since, what is published already.

Called by `fleetmend.streams.runner` when it starts and when offsets were lost. Reads, never writes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import TypeAdapter, ValidationError

from fleetmend.errors import BadInput, StreamError
from fleetmend.model.ticks import Claim, Cut, Mark
from fleetmend.ports.snapshots import SnapshotStore
from fleetmend.streams.codec import decode
from fleetmend.streams.lane import LaneState
from fleetmend.streams.port import Log, RawRecord, TopicPartition
from fleetmend.streams.snapshot import unpack
from fleetmend.streams.stage import Json, State
from fleetmend.streams.topics import Topic

_READ_RECORDS = 1000
_READ_WAIT_S = 1.0
_EMPTY_READS_MAX = 30
"""Reads that may bring nothing although the log has more, before we give up."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fold stands; kept beside the state in a snapshot."""

    cut: Cut
    """The last one folded."""
    cut_s: float
    """When that was, Unix seconds of the clock."""
    lanes: dict[str, LaneState]
    """By `topic/partition`."""
    cuts_from: int
    """Offset in `ticks` from which later cuts lie. Up to there the fold was held by the runner of
    `cut`."""
    outputs_from: dict[str, int]
    """Offsets in the output topic from which later marks lie."""
    lost_tick: int | None = None
    """The tick at which offsets were lost, while the fold has not caught up since."""


_PLACE = TypeAdapter(Place)


def place_json(place: Place) -> Json:
    """For `snapshot.pack`."""
    return cast(Json, _PLACE.dump_python(place, mode="json"))


@dataclass(frozen=True, slots=True)
class LoggedCut:
    """A cut and where it lies in `ticks`."""

    cut: Cut
    offset: int
    append_s: float
    """When the log took it."""


@dataclass(frozen=True, slots=True)
class Start:
    """How to go on."""

    place: Place | None
    """Of the snapshot; None to begin with an empty state."""
    state: State | None
    lanes: dict[TopicPartition, int | LaneState]
    cuts: tuple[LoggedCut, ...]
    """To be repeated, in order."""
    last: Cut | None
    """The newest cut, repeated or not."""
    last_s: float
    """When it was made, Unix seconds."""
    published: int
    """The newest tick whose outputs are all in the log; -1 when none is."""
    lost_tick: int | None
    """Set when records that the fold needs are gone: the tick at which that was noticed."""
    targets: dict[TopicPartition, int]
    """The ends of the inputs now: the fold has caught up when a cut has passed them."""


@dataclass(frozen=True, slots=True)
class FoldTopics:
    """The partitions of one fold."""

    fold: str
    inputs: tuple[TopicPartition, ...]
    ticks: TopicPartition
    outputs: tuple[TopicPartition, ...]


def fold_topics(log: Log, fold: str, inputs: Sequence[Topic], output: Topic) -> FoldTopics:
    """The partitions as the log has them now."""
    return FoldTopics(
        fold=fold,
        inputs=tuple(place for topic in inputs for place in log.partitions(topic)),
        ticks=log.partitions(Topic.TICKS)[0],
        outputs=log.partitions(output),
    )


def find_start(log: Log, snapshots: SnapshotStore, topics: FoldTopics, *, rebuild: bool) -> Start:
    """How to go on. With `rebuild`, or when the log lacks what the snapshot needs, from the oldest
    record that can be read and an empty state. Raises StreamError."""
    targets = {place: log.end(place) for place in topics.inputs}
    began = {place: log.begin(place) for place in topics.inputs}
    place, state = _saved(snapshots, topics.fold)
    if place is not None and not rebuild and _readable(place, began, targets):
        cuts = _cuts(log, topics, first=place.cuts_from, after=place.cut)
        if all(_reachable(logged.cut, targets) for logged in cuts):
            return Start(
                place=place,
                state=state,
                lanes={p: place.lanes.get(str(p), began[p]) for p in topics.inputs},
                cuts=tuple(cuts),
                last=cuts[-1].cut if cuts else place.cut,
                last_s=cuts[-1].append_s if cuts else place.cut_s,
                published=max(place.cut.tick, _published(log, topics, place.outputs_from)),
                lost_tick=place.lost_tick,
                targets=targets,
            )
        rebuild = True
    cuts = _cuts(log, topics, first=0, after=None)
    # Cuts of records that are gone cannot be repeated as they were.
    lost = rebuild or place is not None or (bool(cuts) and any(began.values()))
    return Start(
        place=None,
        state=None,
        lanes=dict(began),
        cuts=tuple(c for c in cuts if _reachable(c.cut, targets) and _useful(c.cut, began)),
        last=cuts[-1].cut if cuts else None,
        last_s=cuts[-1].append_s if cuts else 0.0,
        published=-1 if lost else _published(log, topics, {}),
        lost_tick=_lost_tick(place, cuts) if lost else None,
        targets=targets,
    )


def _saved(snapshots: SnapshotStore, fold: str) -> tuple[Place | None, State | None]:
    """The newest snapshot; one that cannot be read counts as none, since the log has it all."""
    snapshot = snapshots.latest(fold)
    if snapshot is None:
        return None, None
    try:
        place, state = unpack(snapshot.blob)
        return _PLACE.validate_python(place), state
    except (BadInput, ValidationError):
        return None, None


def _readable(
    place: Place, began: dict[TopicPartition, int], ends: dict[TopicPartition, int]
) -> bool:
    """True when everything from the first unfolded records on is still there. An end before the
    snapshot's position means another log than the one that the snapshot knew."""
    known = {str(where): where for where in began}
    return all(
        began[known[name]] <= lane.unfolded and lane.position <= ends[known[name]]
        for name, lane in place.lanes.items()
        if name in known
    )


def _reachable(cut: Cut, ends: dict[TopicPartition, int]) -> bool:
    """False for a cut that has read more than the log holds."""
    return all(cut.positions.get(str(where), 0) <= end for where, end in ends.items())


def _useful(cut: Cut, began: dict[TopicPartition, int]) -> bool:
    """False for a cut wholly before the oldest records: there is nothing left to fold in it."""
    return any(cut.positions.get(str(where), 0) > first for where, first in began.items())


def _lost_tick(place: Place | None, cuts: Sequence[LoggedCut]) -> int:
    if place is not None and place.lost_tick is not None:
        return place.lost_tick
    ticks = [cut.cut.tick for cut in cuts[-1:]] + ([] if place is None else [place.cut.tick])
    return max(ticks, default=0)


def _cuts(log: Log, topics: FoldTopics, *, first: int, after: Cut | None) -> list[LoggedCut]:
    """The fold's cuts after `after`, without those of runners that had been replaced. A tick that
    was cut twice (an append that was tried again) counts as it was cut first."""
    found: list[LoggedCut] = []
    newest = -math.inf if after is None else after.tick
    holder = "" if after is None else after.runner
    for raw in _records(log, topics.ticks, first=first, kinds=("Cut", "Claim")):
        try:
            payload = decode(raw).payload
        except BadInput:
            continue
        match payload:
            case Claim() if payload.fold == topics.fold:
                holder = payload.runner
            case Cut() if payload.fold == topics.fold and payload.tick > newest:
                if not holder or payload.runner == holder:
                    newest = payload.tick
                    found.append(LoggedCut(payload, raw.offset, raw.append_s))
    return found


def _published(log: Log, topics: FoldTopics, outputs_from: dict[str, int]) -> int:
    """The newest tick that the fold's own marks call complete in every partition."""
    newest = []
    for place in topics.outputs:
        tick = -1
        first = outputs_from.get(str(place), 0)
        for raw in _records(log, place, first=first, kinds=("Mark",)):
            try:
                mark = decode(raw).payload
            except BadInput:
                continue
            if isinstance(mark, Mark) and mark.producer == topics.fold:
                tick = max(tick, mark.tick)
        newest.append(tick)
    return min(newest, default=-1)


def _records(
    log: Log, place: TopicPartition, *, first: int, kinds: Sequence[str]
) -> Iterator[RawRecord]:
    """All records of these kinds from `first` (or the oldest there is) to the end as it is now."""
    position, end = max(first, log.begin(place)), log.end(place)
    empty = 0
    while position < end:
        found = log.read({place: position}, limit=_READ_RECORDS, wait_s=_READ_WAIT_S)
        empty = 0 if found else empty + 1
        if empty > _EMPTY_READS_MAX:
            raise StreamError(f"stays silent before offset {end}", where=str(place))
        for raw in found:
            position = raw.offset + 1
            if raw.headers.get("kind") in kinds:
                yield raw
