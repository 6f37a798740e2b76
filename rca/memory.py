"""What the stage remembers besides its cases: findings, changes, our own acts, what can be heard.

Fed by `rca.stage` record by record; saved in its snapshots.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType
from fleetmend.model.findings import Finding, FindingState
from fleetmend.model.plans import ActionKind
from rca.acts import SHOWING, OwnAct, after, still
from rca.case import Held
from rca.evidence import Key, Observation, SignIndex, merge
from rca.scene import Change

_IN_PLACE = frozenset({ActionKind.CORDON, ActionKind.DRAIN, ActionKind.EJECT})


@dataclass(slots=True)
class Memory:
    """Plain data, changed only through its methods."""

    findings: dict[str, Held] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    acts: tuple[OwnAct, ...] = ()
    """Our own acts that are in place or still show, oldest first."""
    closed: dict[str, int] = field(default_factory=dict)
    """Findings that have closed lately, with the tick: a record sent again must not open them."""

    def take_finding(self, finding: Finding) -> None:
        """Keep the newest record of a finding; older and repeated ones change nothing."""
        held = self.findings.get(finding.id)
        if self.closed.get(finding.id, -1) >= finding.tick:
            return
        if held is not None and _order(finding) < _order(held.finding):
            return
        if finding.state is FindingState.CLOSED:
            self.findings.pop(finding.id, None)
            self.closed[finding.id] = finding.tick
            return
        announced = finding.at_s if finding.state is FindingState.PROVISIONAL else None
        self.findings[finding.id] = Held(
            finding=finding,
            first_tick=finding.tick if held is None else held.first_tick,
            announced_at_s=announced if held is None else held.announced_at_s,
        )

    def take_event(self, event: Event) -> None:
        """Note changes and our own acts; other events are for detection."""
        if event.type is EventType.CHANGE:
            change = Change(str(event.data.get("change", ""))[:60], event.subject, event.time_s)
            if change not in self.changes:
                self.changes.append(change)
        elif event.type is EventType.ACTION:
            action = str(event.data.get("action", ""))
            if action in SHOWING:
                act = OwnAct(ActionKind(action), event.subject, event.time_s)
                self.acts = after(self.acts, act)

    @property
    def acting(self) -> frozenset[EntityId]:
        """Entities on which an action of ours is in place."""
        return frozenset(act.target for act in self.acts if act.action in _IN_PLACE)

    def forget(
        self, *, now_s: float, tick: int, changes_s: float, confirm_s: float, closed_ticks: int
    ) -> None:
        """Drop old changes, acts, closings, and provisional findings that no tick confirmed."""
        self.acts = still(self.acts, now_s)
        self.changes = [c for c in self.changes if now_s - c.at_s <= changes_s]
        self.closed = {name: at for name, at in self.closed.items() if tick - at <= closed_ticks}
        self.findings = {
            name: held
            for name, held in self.findings.items()
            if held.finding.state is FindingState.OPEN or now_s - held.finding.at_s <= confirm_s
        }

    def observed(self, signs: SignIndex) -> dict[Key, Observation]:
        """Every sign that the held findings show."""
        return merge(self._observations(signs))

    def _observations(self, signs: SignIndex) -> Iterator[Observation]:
        for held in self.findings.values():
            yield from signs.observations(held.finding)


def _order(finding: Finding) -> tuple[int, bool]:
    """A provisional record never replaces a confirmed one of its tick or later."""
    return finding.tick, finding.state is not FindingState.PROVISIONAL
