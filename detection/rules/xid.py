"""Xids: GPU errors from the kernel log, driver events and, as a last resort, the exporter's gauge.

Policy is the table `data/xid_policy.csv`. The same Xid from two channels is one finding. A sticky
Xid that names a GPU is announced on arrival (PROVISIONAL); the tick confirms it under the same id.
An Xid of a GPU is repeated while it stands (`lasting.py`).
"""

from dataclasses import replace
from typing import cast

import numpy as np
from pydantic import TypeAdapter

from detection.base import Opinion
from detection.frame import Frame
from detection.rules import NAME
from detection.rules.lasting import LastingXid, LastingXids
from detection.rules.tables import XidClass, XidPolicy, xid_policy
from detection.symptoms import present
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.ticks import tick_of
from fleetmend.streams.stage import Json, State
from fleetmend.views.topology import TopologyView

STICKY_S = 10_800.0
"""A sticky Xid stands for three hours without a word (NVSentinel) where nothing tells of a
reset."""
BURST_S = 180.0
"""Silence after which a burst is over (NVSentinel's burst window)."""
APPLICATION_S = 60.0
"""The same for programs' faults: the program is gone or has been restarted by then."""
_STANDS_S = 2.0
"""Quiet time of an Xid that is repeated each tick while it stands."""
TWIN_S = 2.0
"""Two channels tell of one Xid within this time."""

_REASON = {
    XidClass.APPLICATION: ("application_xid", 0.7),
    XidClass.SYMPATHETIC: ("sympathetic_xid", 0.4),
    XidClass.INFORMATIONAL: ("informational_xid", 0.3),
}
_HARDWARE = ("hardware_xid", 0.8)
_HEARSAY = 0.6
"""The most that an Xid is believed that neither kernel nor driver told."""
_RECOVERY_XID = 154
_RECOVERY = {
    1: XidClass.RESET,
    2: XidClass.REBOOT,
    3: XidClass.RESET,
    4: XidClass.RESET,
    5: XidClass.RESET,
    6: XidClass.RESET,
    7: XidClass.REBOOT,
}
"""What Xid 154 asks for (NVML_GPU_RECOVERY_ACTION; 5 to 7 are new in the 2026 header)."""
_SAVED = TypeAdapter(list[tuple[str, int, float]])
_SAVED_WAITING = TypeAdapter(list[tuple[str, int, float, Witness]])
_AUTHORITY = (Witness.KERNEL_LOG, Witness.DRIVER_EVENT)


def announced(event: Event, topology: TopologyView, period_s: float) -> Opinion | None:
    """What may be said at once of an event that has just arrived: only of a sticky Xid that names
    one GPU, seen by the kernel or the driver."""
    if event.type is not EventType.XID or witness_of(event) not in _AUTHORITY:
        return None
    code, entity = code_of(event), _gpu_of(event, topology)
    if code is None or entity is None or not _policy(event, code).sticky:
        return None
    return _heard(entity, event, code, tick_of(event.time_s, period_s))


class XidRule:
    """Xids of a tick as opinions."""

    name = "rules.xid"

    def __init__(self) -> None:
        self._waiting: list[tuple[str, int, float, Witness]] = []
        """(node, Xid, time) of kernel lines that name a node with several GPUs."""
        self._told: list[tuple[str, int, float]] = []
        """(node, Xid, time) that were found on a GPU."""
        self._lasting = LastingXids()

    def observe(self, frame: Frame) -> list[Opinion]:
        """One opinion for each Xid of this tick; lines that name only a node wait for a twin that
        names the GPU."""
        said: dict[tuple[EntityId, int], Opinion] = {}
        for event in frame.events:
            code = code_of(event) if event.type is EventType.XID else None
            if code is None:
                continue
            gpu = _gpu_of(event, frame.topology)
            if gpu is None:
                self._waiting.append((event.subject, code, event.time_s, witness_of(event)))
                continue
            node = frame.topology.ancestor(gpu, EntityKind.NODE)
            self._told.append((node or "", code, event.time_s))
            tick = tick_of(event.time_s, frame.period_s)
            opinion = _heard(gpu, event, code, tick)
            known = said.get((gpu, code))
            if known is None or _rank(opinion) < _rank(known):
                said[gpu, code] = opinion
            self._lasting.hear(_lasting(opinion, _policy(event, code), event.time_s))
        still = [
            _standing(stands.entity, stands.policy, stands.onset_s, stands.witness)
            for stands in self._lasting.observe(frame)
            if (stands.entity, stands.policy.xid) not in said
        ]
        return [*said.values(), *still, *self._unnamed(frame), *_from_gauge(frame)]

    def _unnamed(self, frame: Frame) -> list[Opinion]:
        """Kernel lines for which no GPU was named in time are findings of the node."""
        opinions, still = [], []
        for node, code, time_s, witness in self._waiting:
            if any(n == node and c == code and abs(t - time_s) <= TWIN_S for n, c, t in self._told):
                continue
            if frame.end_s - time_s < TWIN_S:
                still.append((node, code, time_s, witness))
            else:
                subject = EntityId(node)
                policy = xid_policy(code)
                opinions.append(_opinion(subject, policy, time_s, witness))
        self._waiting = still
        self._told = [told for told in self._told if frame.end_s - told[2] < 2 * TWIN_S]
        return opinions

    def snapshot(self) -> State:
        """Lines that wait, twins that may come, and what stands."""
        waiting: list[Json] = [[*entry] for entry in self._waiting]
        told: list[Json] = [[*entry] for entry in self._told]
        return {"waiting": waiting, "told": told, "lasting": self._lasting.snapshot()}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._waiting = _SAVED_WAITING.validate_python(state["waiting"])
        self._told = _SAVED.validate_python(state["told"])
        self._lasting.restore(cast(Json, state["lasting"]))


def code_of(event: Event) -> int | None:
    """The Xid in an event, None when it is no sensible number."""
    code = event.data.get("xid")
    return code if isinstance(code, int) and not isinstance(code, bool) and code > 0 else None


def witness_of(event: Event) -> Witness:
    """The channel that an event names; an application's log when it names none that exists."""
    try:
        return Witness(str(event.data.get("witness", "")))
    except ValueError:
        return Witness.APPLICATION_LOG


def _gpu_of(event: Event, topology: TopologyView) -> EntityId | None:
    """The GPU an event is about: its subject, or the only GPU of the node it names."""
    if kind_of(event.subject) is EntityKind.GPU:
        return event.subject
    children = topology.sources(event.subject, RelationKind.PART_OF)
    gpus = [child for child in children if kind_of(child) is EntityKind.GPU]
    return gpus[0] if len(gpus) == 1 else None


def _rank(opinion: Opinion) -> tuple[int, float]:
    """Earliest first, and of one time the kernel before the driver."""
    order = _AUTHORITY.index(opinion.witness) if opinion.witness in _AUTHORITY else len(_AUTHORITY)
    return order, opinion.onset_s


def _policy(event: Event, code: int) -> XidPolicy:
    """The table's policy, except that Xid 154 says itself what the driver wants."""
    action = event.data.get("recovery_action")
    if code == _RECOVERY_XID and isinstance(action, int) and not isinstance(action, bool):
        kind = _RECOVERY.get(action, XidClass.INFORMATIONAL)
        title = str(event.data.get("recovery", "recovery action changed"))[:40]
        return XidPolicy(code, title, kind, kind is not XidClass.INFORMATIONAL)
    return xid_policy(code)


def _lasting(opinion: Opinion, policy: XidPolicy, time_s: float) -> LastingXid:
    return LastingXid(
        opinion.entity,
        policy,
        opinion.witness,
        onset_s=opinion.onset_s,
        heard_s=time_s,
        stands_s=_stands_s(policy),
    )


def _stands_s(policy: XidPolicy) -> float:
    if policy.sticky:
        return STICKY_S
    return APPLICATION_S if policy.kind is XidClass.APPLICATION else BURST_S


def _heard(entity: EntityId, event: Event, code: int, tick: int) -> Opinion:
    policy, witness = _policy(event, code), witness_of(event)
    opinion = _standing(entity, policy, event.time_s, witness)
    return replace(opinion, opening_tick=tick) if policy.sticky else opinion


def _standing(entity: EntityId, policy: XidPolicy, time_s: float, witness: Witness) -> Opinion:
    """An opinion that is repeated each tick while the Xid stands."""
    return replace(_opinion(entity, policy, time_s, witness), quiet_s=_STANDS_S)


def _opinion(entity: EntityId, policy: XidPolicy, time_s: float, witness: Witness) -> Opinion:
    reason, confidence = _judgement(policy)
    name = f"xid.{policy.xid}"
    return Opinion(
        detector=NAME,
        entity=entity,
        key=name,
        reason=reason,
        witness=witness,
        confidence=confidence if witness in _AUTHORITY else min(confidence, _HEARSAY),
        symptoms=(present(name, time_s),),
        onset_s=time_s,
        detail=f"Xid {policy.xid}, {policy.title} ({policy.kind.value})",
        quiet_s=_STANDS_S if policy.sticky else _stands_s(policy),
    )


def _judgement(policy: XidPolicy) -> tuple[str, float]:
    return ("sticky_xid", 0.95) if policy.sticky else _REASON.get(policy.kind, _HARDWARE)


def _from_gauge(frame: Frame) -> list[Opinion]:
    """The exporter's last-Xid gauge, when it changes while it is watched: it may be the only
    channel, and it misses bursts."""
    block = frame.blocks.get(EntityKind.GPU)
    if block is None or "gpu.xid_last" not in block.column:
        return []
    now, before = block.now("gpu.xid_last"), block.before("gpu.xid_last")
    changed = np.isfinite(now) & np.isfinite(before) & (now != before) & (now > 0)
    return [
        _opinion(block.entities[row], xid_policy(int(now[row])), frame.start_s, Witness.TELEMETRY)
        for row in np.flatnonzero(changed)
    ]
