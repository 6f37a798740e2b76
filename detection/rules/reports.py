"""What others report in words: log signatures, NVSwitch errors, node conditions, probes.

Lines are hostile text: they are cut, shown and never interpreted; only the signature's name counts.
"""

import re

from pydantic import TypeAdapter

from detection.base import Opinion
from detection.frame import Frame
from detection.rules import NAME
from detection.rules.tables import signature_policy, sxid_is_fatal
from detection.rules.xid import witness_of
from detection.symptoms import present
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.streams.stage import Json, State

_LINE_MAX = 160
_SWITCH_S = 180.0
_PROBE_S = 10.0
_GOOD_WHEN_TRUE = re.compile(r"(?<!Not)(Ready|Available|Healthy|OK|IsVoter)$")
"""Ends of condition types that are good when true: `Ready`, a distribution's `EtcdIsVoter`. All
others name a problem (node-problem-detector's, NVSentinel's) and are bad when true."""
_SAVED = TypeAdapter(list[tuple[str, str, float, str]])


class Reports:
    """Events that speak for themselves."""

    name = "rules.reports"

    def __init__(self) -> None:
        self._conditions: dict[tuple[EntityId, str], tuple[float, str]] = {}
        """(node, condition) that is bad now -> (since, detail)."""

    def observe(self, frame: Frame) -> list[Opinion]:
        """One opinion for each event of this tick, and for each bad condition that stands."""
        opinions: list[Opinion] = []
        for event in frame.events:
            match event.type:
                case EventType.LOG_SIGNATURE:
                    opinions += _signature(event)
                case EventType.SXID:
                    opinions += _sxid(event)
                case EventType.PROBE:
                    opinions += _probe(event)
                case EventType.NODE_CONDITION:
                    self._condition(event)
        return [*opinions, *self._standing()]

    def _condition(self, event: Event) -> None:
        name = str(event.data.get("condition", ""))[:64]
        status = str(event.data.get("status", ""))
        key = (event.subject, name)
        bad_status = "False" if _GOOD_WHEN_TRUE.search(name) else "True"
        if not name:
            return
        if status == bad_status or (status == "Unknown" and bad_status == "False"):
            detail = f"{name} is {status}: {event.data.get('reason', '')}"[:_LINE_MAX]
            self._conditions.setdefault(key, (event.time_s, detail))
        else:
            self._conditions.pop(key, None)

    def _standing(self) -> list[Opinion]:
        return [
            Opinion(
                detector=NAME,
                entity=node,
                key=f"node_condition.{name}",
                reason="node_condition",
                witness=Witness.CLUSTER_API,
                confidence=0.8,
                symptoms=(present(f"node_condition.{name}", since_s),),
                onset_s=since_s,
                detail=detail,
            )
            for (node, name), (since_s, detail) in sorted(self._conditions.items())
        ]

    def snapshot(self) -> State:
        """The bad conditions."""
        saved: list[Json] = [
            [str(node), name, since_s, detail]
            for (node, name), (since_s, detail) in sorted(self._conditions.items())
        ]
        return {"conditions": saved}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._conditions = {
            (EntityId(node), name): (since_s, detail)
            for node, name, since_s, detail in _SAVED.validate_python(state["conditions"])
        }


def _signature(event: Event) -> list[Opinion]:
    signature = str(event.data.get("signature", ""))[:64]
    if not signature:
        return []
    policy = signature_policy(signature)
    return [
        Opinion(
            detector=NAME,
            entity=event.subject,
            key=f"log.{signature}",
            reason="log_signature",
            witness=witness_of(event),
            confidence=policy.confidence,
            symptoms=(present(f"log.{signature}", event.time_s),),
            onset_s=event.time_s,
            detail=str(event.data.get("line", ""))[:_LINE_MAX],
            quiet_s=policy.quiet_s,
        )
    ]


def _sxid(event: Event) -> list[Opinion]:
    code = event.data.get("sxid", event.data.get("xid"))
    if not isinstance(code, int) or isinstance(code, bool):
        return []
    fatal = sxid_is_fatal(code)
    return [
        Opinion(
            detector=NAME,
            entity=event.subject,
            key=f"sxid.{code}",
            reason="fatal_sxid" if fatal else "non_fatal_sxid",
            witness=witness_of(event),
            confidence=0.9 if fatal else 0.4,
            symptoms=(present(f"sxid.{code}", event.time_s),),
            onset_s=event.time_s,
            quiet_s=_SWITCH_S,
        )
    ]


def _probe(event: Event) -> list[Opinion]:
    if event.data.get("ok", True) is not False:
        return []
    return [
        Opinion(
            detector=NAME,
            entity=event.subject,
            key="probe",
            reason="probe_failed",
            witness=Witness.PROBE,
            confidence=0.8,
            symptoms=(present("probe_failed", event.time_s),),
            onset_s=event.time_s,
            detail=str(event.data.get("what", event.data.get("asked", "")))[:_LINE_MAX],
            quiet_s=_PROBE_S,
        )
    ]
