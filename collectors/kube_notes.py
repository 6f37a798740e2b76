"""Reports of the cluster's components as events: each once, whatever is repeated, and bounded.

Used by `kube_fold`. The server counts repetitions in one object and forgets it after an hour.
"""

from collections import OrderedDict
from collections.abc import Callable

from collectors.follow import RateCap
from collectors.kube_reports import Report, moment_s
from collectors.kube_tell import Data, News, Subject, made
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Event, EventType, Witness

LOOK_BACK_S = 300.0
"""Age up to which reports are told that were there before the collector: longer than its restart,
and detection knows events again for ten minutes."""
_REPORTS_MAX = 20_000
_REASONS_MAX = 256
_PER_MINUTE_MAX = 600
"""Most reports of one reason a minute."""

Find = Callable[[Report], Subject | None]
"""Whom a report is about; None where that is nobody's business here."""


class KubeNotes:
    """What has been reported."""

    def __init__(self, *, cluster: str, find: Find) -> None:
        self._cluster = cluster
        self._find = find
        self._told: OrderedDict[str, tuple[int, str]] = OrderedDict()
        """Count and time that were told last, by uid."""
        self._cap = RateCap(per_minute_max=_PER_MINUTE_MAX)
        self._reasons: set[str] = set()
        self._listed = False

    @property
    def dropped(self) -> int:
        """Reports of a storm that were not told."""
        return self._cap.dropped

    def listed(self) -> None:
        """All that was there at the start has been taken in."""
        self._listed = True

    def uids(self) -> set[str]:
        """Those that are known now."""
        return set(self._told)

    def forget(self, uid: str) -> None:
        """The server has forgotten it."""
        self._told.pop(uid, None)

    def take(self, report: Report, at_s: float, news: News) -> None:
        """Take in a report, or one more of it."""
        state = report.count, report.since
        if self._told.get(report.uid) == state:
            return
        subject = self._find(report)
        if subject is None:
            return
        self._told[report.uid] = state
        self._told.move_to_end(report.uid)
        if len(self._told) > _REPORTS_MAX:
            self._told.popitem(last=False)
        if not self._listed and self._is_old(report, at_s):
            return
        if self._cap.admit(self._kind(report.reason), at_s):
            news.events.append(self._event(report, subject, at_s))

    def _event(self, report: Report, subject: Subject, at_s: float) -> Event:
        data: Data = {
            "reason": report.reason,
            "message": report.message,
            "type": report.type,
            "component": report.component,
            "object": report.object,
            "count": report.count,
            "since": report.since,
            "witness": Witness.CLUSTER_API.value,
        }
        parts = (report.uid, str(report.count), report.since)
        return made(EventType.CLUSTER_EVENT, subject, at_s, data, self._cluster, *parts)

    def _is_old(self, report: Report, at_s: float) -> bool:
        happened_s = moment_s(report.since)
        return happened_s is None or at_s - happened_s > LOOK_BACK_S

    def _kind(self, reason: str) -> str:
        """Reasons are words of strangers: what goes beyond so many of them counts as one."""
        if reason not in self._reasons and len(self._reasons) >= _REASONS_MAX:
            return ""
        self._reasons.add(reason)
        return reason


class About:
    """Whom the reports of a cluster are about."""

    def __init__(
        self,
        *,
        cluster: str,
        believed: frozenset[str],
        pod: Callable[[str], Subject | None],
        workload: Callable[[str], Subject | None],
    ) -> None:
        """`believed`: namespaces whose objects count even when nothing is known of them; `pod`
        finds one that is followed by uid, `workload` by key."""
        self._cluster = cluster
        self._believed = believed
        self._pod = pod
        self._workload = workload

    def __call__(self, report: Report) -> Subject | None:
        """A node, a followed pod, the pool of a workload; else, where the namespace is believed,
        the cluster: a pod's first trouble comes before it is known as anybody's."""
        if report.kind == "Node":
            return Subject(entity_id(self._cluster, EntityKind.NODE, report.name), report.name)
        found = self._pod(report.about) if report.kind == "Pod" else self._workload(report.object)
        if found is None and report.namespace in self._believed:
            return Subject(entity_id(self._cluster, EntityKind.CLUSTER, self._cluster))
        return found
