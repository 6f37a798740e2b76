"""The words, icon and tone in which the console shows every code of the model.

Called by the view builders and templates. One place, so that a list, a page and a live patch never
say the same thing differently. A tone is never the only carrier of meaning: word and icon come
along. Names of telemetry are made readable by rule (`gpu.sm_clock` -> "GPU SM clock"); codes and
identifiers themselves are shown as they are.
"""

import re
from dataclasses import dataclass

from fleetmend.model.audit import AuditVerb
from fleetmend.model.coverage import Freshness
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.model.incidents import Abstention, CauseRole, IncidentStatus, Severity
from fleetmend.model.plans import ActionKind, Effect, SessionState, StepState


@dataclass(frozen=True, slots=True)
class Word:
    """What people read for a code: text, icon (in web/icons.txt), tone (a class in the css)."""

    text: str
    icon: str
    tone: str
    """`bad`, `warn`, `ok`, `vi` (waits for a person), `inf` or `mut`."""
    until_s: float | None = None
    """When set, the time until then follows the text and keeps counting."""


SEVERITY: dict[Severity, Word] = {
    Severity.P0: Word("P0 critical", "flame", "bad"),
    Severity.P1: Word("P1 major", "flame", "warn"),
    Severity.P2: Word("P2 minor", "triangle-alert", "inf"),
    Severity.P3: Word("P3 watch", "info", "mut"),
}

STATUS: dict[IncidentStatus, Word] = {
    IncidentStatus.OPEN: Word("Open", "circle-alert", "warn"),
    IncidentStatus.MITIGATED: Word("Mitigated", "shield-check", "inf"),
    IncidentStatus.RESOLVED: Word("Resolved", "circle-check", "ok"),
    IncidentStatus.MERGED: Word("Merged", "git-branch", "mut"),
}

FRESHNESS: dict[Freshness, Word] = {
    Freshness.FRESH: Word("Fresh", "circle-check", "ok"),
    Freshness.LATE: Word("Late", "clock", "inf"),
    Freshness.FROZEN: Word("Frozen", "pause", "warn"),
    Freshness.ABSENT: Word("Absent", "eye-off", "warn"),
    Freshness.NEVER: Word("Never heard", "circle-dashed", "mut"),
}

AUTOMATION: dict[SessionState, Word] = {
    SessionState.PROPOSED: Word("Plan proposed", "list-tree", "inf"),
    SessionState.WAITING: Word("Held by a guard", "hand", "warn"),
    SessionState.RUNNING: Word("Repair is running", "circle-play", "inf"),
    SessionState.VERIFYING: Word("Verifying", "timer", "inf"),
    SessionState.HOLDING: Word("Verified, capacity held out", "shield-check", "ok"),
    SessionState.GIVING_BACK: Word("Giving capacity back", "undo-2", "inf"),
    SessionState.COMPENSATING: Word("Undoing", "undo-2", "warn"),
    SessionState.DONE: Word("Done", "circle-check", "ok"),
    SessionState.CANCELLED: Word("Cancelled", "x", "mut"),
    SessionState.FAILED: Word("Repair failed", "circle-x", "bad"),
}
GIVEN_BACK = "capacity given back"
"""What a session says at its end when it had taken something."""
UNDONE = Word("Undone by a person", "undo-2", "mut")
WAITS_FOR_PERSON = Word("Waits for approval", "circle-pause", "vi")
NO_AUTOMATION = Word("No repair planned", "circle-dashed", "mut")
ADVICE_ONLY = Word("Advice only", "bell", "inf")
PLAN_ONLY = Word("Plan proposed", "list-tree", "inf")
BEHIND_OTHER = Word("Waits for another repair", "hand", "warn")

STEP: dict[StepState, Word] = {
    StepState.PENDING: Word("not started", "circle-dashed", "mut"),
    StepState.REFUSED: Word("not admitted", "hand", "warn"),
    StepState.INTENDED: Word("in progress", "loader-circle", "inf"),
    StepState.INTERRUPTED: Word("begun, interrupted", "hand", "warn"),
    StepState.DONE: Word("done", "check", "ok"),
    StepState.FOUND_DONE: Word("was already so", "check", "ok"),
    StepState.FAILED: Word("failed", "circle-x", "bad"),
    StepState.COMPENSATED: Word("undone", "undo-2", "warn"),
    StepState.SKIPPED: Word("skipped", "x", "mut"),
}

ROLE: dict[CauseRole, Word] = {
    CauseRole.ROOT: Word("root cause", "target", "bad"),
    CauseRole.CONTRIBUTING: Word("contributing", "git-branch", "warn"),
    CauseRole.CANDIDATE: Word("candidate", "circle-dashed", "inf"),
    CauseRole.RULED_OUT: Word("ruled out", "x", "mut"),
}

EFFECT: dict[Effect, str] = {
    Effect.OBSERVE: "changes nothing",
    Effect.REVERSIBLE: "reversible",
    Effect.DISRUPTIVE: "disruptive",
    Effect.DESTRUCTIVE: "destructive",
}

ACTION: dict[ActionKind, str] = {
    ActionKind.CORDON: "Cordon",
    ActionKind.UNCORDON: "Uncordon",
    ActionKind.DRAIN: "Drain",
    ActionKind.ENGINE_RESTART: "Restart engine",
    ActionKind.EJECT: "Eject engine",
    ActionKind.RESTORE: "Restore engine",
    ActionKind.NOTIFY: "Notify about",
}

WITNESS: dict[Witness, str] = {
    Witness.KERNEL_LOG: "kernel log",
    Witness.DRIVER_EVENT: "driver event",
    Witness.APPLICATION_LOG: "application log",
    Witness.TELEMETRY: "telemetry",
    Witness.SILENCE: "silence",
    Witness.PROBE: "probe",
    Witness.CLUSTER_API: "cluster API",
    Witness.PEER: "peers",
    Witness.MODEL: "learned detector",
}

ABSTENTION: dict[Abstention, str] = {
    Abstention.NONE: "",
    Abstention.UNKNOWN_SIGNATURE: "no known fault explains enough of what is seen",
    Abstention.SMALL_MARGIN: "two causes explain it about equally well",
    Abstention.BLIND: "too much telemetry is missing",
}

VERB: dict[AuditVerb, Word] = {
    AuditVerb.INCIDENT_OPENED: Word("Incident opened", "triangle-alert", "bad"),
    AuditVerb.INCIDENT_RESOLVED: Word("Incident resolved", "circle-check", "ok"),
    AuditVerb.PLAN_PROPOSED: Word("Plan proposed", "list-tree", "inf"),
    AuditVerb.PLAN_RENEWED: Word("Planned again", "list-tree", "vi"),
    AuditVerb.VERDICT: Word("Admission", "shield-alert", "mut"),
    AuditVerb.APPROVED: Word("Approved", "check", "ok"),
    AuditVerb.DENIED: Word("Denied", "x", "bad"),
    AuditVerb.SESSION_CHANGED: Word("Session", "bot", "mut"),
    AuditVerb.INTENT: Word("About to act", "circle-play", "inf"),
    AuditVerb.OUTCOME: Word("Outcome", "zap", "inf"),
    AuditVerb.VERIFIED: Word("Verified", "shield-check", "ok"),
    AuditVerb.GAVE_BACK: Word("Capacity given back", "undo-2", "ok"),
    AuditVerb.HALTED: Word("Halted", "octagon-x", "bad"),
    AuditVerb.UNHALTED: Word("Halt lifted", "circle-play", "ok"),
    AuditVerb.NOTIFIED: Word("Notified", "bell", "mut"),
    AuditVerb.NOTE: Word("Note", "message-square", "mut"),
    AuditVerb.CAUSE_LABELLED: Word("Cause judged", "target", "vi"),
}

CHANGE: dict[str, Word] = {
    "opened": Word("Incident opened", "triangle-alert", "bad"),
    "confirmed": Word("Confirmed by the tick", "check", "inf"),
    "cause_changed": Word("Cause ranked anew", "target", "inf"),
    "evidence_added": Word("Evidence added", "activity", "mut"),
    "severity_changed": Word("Severity changed", "flame", "warn"),
    "mitigated": Word("Symptoms gone, our action still in place", "shield-check", "inf"),
    "resolved": Word("Incident resolved", "circle-check", "ok"),
    "merged": Word("Merged into a shared cause", "git-branch", "mut"),
}

UNIT_CHARS_MAX = 24
NAME_CHARS_MAX = 120
"""Characters of one name, whatever telemetry sends."""

_WHOLE = frozenset(
    {
        "api",
        "cpu",
        "cuda",
        "dbe",
        "dram",
        "ecc",
        "fp16",
        "fp32",
        "fp64",
        "gpu",
        "gsp",
        "hbm",
        "hw",
        "http",
        "ib",
        "id",
        "itl",
        "kv",
        "mig",
        "nccl",
        "nic",
        "oom",
        "pp",
        "ras",
        "rdma",
        "sbe",
        "slo",
        "sm",
        "tp",
        "tpot",
        "ttft",
    }
)
"""Words that are capitals throughout."""

_SPELT = {
    "nvlink": "NVLink",
    "nvswitch": "NVSwitch",
    "pcie": "PCIe",
    "vllm": "vLLM",
    "sglang": "SGLang",
    "xid": "Xid",
    "sxid": "SXid",
    "nan": "NaN",
}


def humanise(name: str) -> str:
    """A readable form of a canonical name, bounded: `gpu.sm_clock` -> `GPU SM clock`."""
    words = shorten(name, NAME_CHARS_MAX).replace(".", " ").replace("_", " ").split()
    spelt = [_SPELT.get(w, w.upper() if w in _WHOLE else w) for w in words]
    text = " ".join(spelt)
    # vLLM keeps its small letter; a plain word gets a capital.
    return text[:1].upper() + text[1:] if spelt[:1] == words[:1] else text


def shorten(text: str, chars_max: int) -> str:
    """`text` on one line, at most `chars_max` characters; control characters become visible."""
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "…"


_ENTITY = re.compile(
    r"\b[a-z0-9][a-z0-9-]*/(?:" + "|".join(kind.value for kind in EntityKind) + r")/(\S+)"
)
_SNAKE = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")


def prose(text: str) -> str:
    """A machine's sentence as people read it: entities by their key, codes as words."""
    return _SNAKE.sub(lambda code: humanise(code[0]).lower(), _ENTITY.sub(r"\1", text))
