"""What a witness is worth: which channels count as one, which carry an act, and which lie outside
every engine. Used by `remediation.guards` and `remediation.gather`.
"""

from fleetmend.model.entities import EntityKind, kind_of
from fleetmend.model.events import Witness
from fleetmend.model.incidents import Evidence
from fleetmend.model.plans import Effect

AUTHORITATIVE = frozenset(
    {
        Witness.KERNEL_LOG,
        Witness.DRIVER_EVENT,
        Witness.CLUSTER_API,
        Witness.PROBE,
        Witness.TELEMETRY,
    }
)
"""Witnesses that carry a reversible act alone. A silence, a peer comparison, an application's own
line or a learned model do not."""

CONFIRMS_SILENCE = frozenset(
    {
        Witness.KERNEL_LOG,
        Witness.DRIVER_EVENT,
        Witness.CLUSTER_API,
        Witness.PEER,
        Witness.PROBE,
        Witness.TELEMETRY,
    }
)
"""Witnesses that can come by another path than the one that fell silent. Numbers count because
`remediation.gather` keeps only those of entities that are still heard."""

WITNESS_KIND = {
    Witness.KERNEL_LOG: "driver",
    Witness.DRIVER_EVENT: "driver",
    Witness.APPLICATION_LOG: "application",
    Witness.TELEMETRY: "numbers",
    Witness.PEER: "numbers",
    Witness.SILENCE: "silence",
    Witness.PROBE: "probe",
    Witness.CLUSTER_API: "cluster",
}
"""Two witnesses of one kind tell the same tale twice: the kernel line and the driver's event are
one message of one driver. A learned model is of no kind: it proposes and never counts."""

WITNESSES_FOR = {
    Effect.OBSERVE: 0,
    Effect.REVERSIBLE: 1,
    Effect.DISRUPTIVE: 2,
    Effect.DESTRUCTIVE: 2,
}

OF_ENGINES = frozenset({EntityKind.ENGINE, EntityKind.MODEL, EntityKind.POD, EntityKind.TENANT})
"""What is known of these is in the hands of whoever runs them: they write their page and their log,
and they can fall silent, refuse a canary or end themselves at will."""

XID_SYMPTOM = "xid."
"""How the symptoms of Xids begin: told by numbers, it is the gauge of the last one."""

FROM_ENGINE_NUMBERS = frozenset({"gpu.work_per_token", "gpu.nvlink_per_step"})
"""Signals of a GPU that are reckoned from what an engine says of itself."""


def counts(item: Evidence) -> bool:
    """Whether a piece of evidence is a witness at all for an act.

    Evidence does not say who sent it, and whoever may send a node's numbers may send its log lines
    too. So two things only propose, by whomever they were sent: an exporter's last Xid, a number
    that anybody on the node can write, and a log line of no kernel about what is no engine.
    """
    if item.witness is Witness.TELEMETRY:
        return not item.symptom.startswith(XID_SYMPTOM)
    if item.witness is Witness.APPLICATION_LOG:
        return kind_of(item.entity) in OF_ENGINES
    return True


def outside_every_engine(item: Evidence) -> bool:
    """Whether nobody who only runs an engine could have made this piece of evidence."""
    if item.witness in (Witness.KERNEL_LOG, Witness.DRIVER_EVENT):
        return True
    if item.witness in (Witness.APPLICATION_LOG, Witness.MODEL):
        return False
    return kind_of(item.entity) not in OF_ENGINES and item.symptom not in FROM_ENGINE_NUMBERS
