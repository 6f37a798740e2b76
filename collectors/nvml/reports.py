"""What is told about the reading itself: a GPU that does not answer, calls that it does not have.

`collectors.nvml.collector` asks after each round; an event comes when something is new, and now and
then while it lasts.
"""

from collections.abc import Mapping

from collectors.nvml.port import NvmlFailure
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Event, EventType, Witness, event_id

_NAMED_MAX = 20
"""Failed calls that one event names; all are counted."""
_UNKNOWN_MAX = 100
"""Calls and parts that a GPU does not have and one event names: more than there are."""
_TEXT_MAX = 200


class NvmlReports:
    """The events of one node."""

    def __init__(self, *, cluster: str, node: str, report_s: float) -> None:
        self._cluster = cluster
        self._node = node
        self._report_s = report_s
        self._last: dict[str, tuple[str, float]] = {}
        """What was told last of a target, and when."""
        self._lost: set[str] = set()

    def driver(self, failure: NvmlFailure | None, text: str, gpus: int, at_s: float) -> list[Event]:
        """After GPUs were counted: that there are none, or how many."""
        outcome = "ok" if failure is None else failure.value
        data: dict[str, str | int | float | bool] = {"gpus": gpus, "reason": text[:_TEXT_MAX]}
        return self._told("nvml", outcome, f"{outcome} {gpus}", data, at_s)

    def gpu(
        self,
        uuid: str,
        failure: NvmlFailure | None,
        failed: Mapping[str, NvmlFailure],
        unknown: tuple[str, ...],
        at_s: float,
    ) -> list[Event]:
        """After a round of a GPU. `unknown`: all that it does not have, as far as it was asked:
        each event repeats it, since what is not told would read as known."""
        outcome = "ok" if failure is None else failure.value
        if failure is None and failed:
            outcome = "partial"
        lacking = " ".join(sorted(unknown)[:_UNKNOWN_MAX])
        names = " ".join(f"{call}={why.value}" for call, why in [*failed.items()][:_NAMED_MAX])
        data: dict[str, str | int | float | bool] = {
            "calls_failed": len(failed),
            "calls": names,
            "calls_unknown": lacking,
        }
        word = f"{outcome} {names} {lacking}"
        events = self._told(f"nvml/{uuid}", outcome, word, data, at_s)
        if failure is not NvmlFailure.GPU_IS_LOST:
            self._lost.discard(uuid)
        elif uuid not in self._lost:
            self._lost.add(uuid)
            events.append(self._gone(uuid, at_s))
        return events

    def _told(
        self,
        target: str,
        outcome: str,
        word: str,
        data: Mapping[str, str | int | float | bool],
        at_s: float,
    ) -> list[Event]:
        last, last_s = self._last.get(target, ("", float("-inf")))
        if word == last and at_s - last_s < self._report_s:
            return []
        self._last[target] = (word, at_s)
        source = f"collector/nvml/{self._node}"
        return [
            Event(
                id=event_id(source, target, outcome, repr(at_s)),
                source=source,
                type=EventType.SCRAPE,
                time_s=at_s,
                subject=entity_id(self._cluster, EntityKind.NODE, self._node),
                node=self._node,
                data={"target": target, "kind": "nvml", "outcome": outcome, **data},
            )
        ]

    def _gone(self, uuid: str, at_s: float) -> Event:
        """The driver itself says that the GPU is lost."""
        source = f"collector/nvml/{self._node}"
        return Event(
            id=event_id(source, "gpu_lost", uuid, repr(at_s)),
            source=source,
            type=EventType.LOG_SIGNATURE,
            time_s=at_s,
            subject=entity_id(self._cluster, EntityKind.GPU, uuid),
            node=self._node,
            data={
                "signature": "gpu_lost",
                "witness": Witness.DRIVER_EVENT.value,
                "line": "NVML: GPU is lost",
            },
        )
