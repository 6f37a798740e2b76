"""The policy tables under `detection/data`, read once. Where their rows come from stands in
detection/README.md.
"""

import csv
import functools
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import TypeVar

from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityKind

Row = TypeVar("Row")


class XidClass(StrEnum):
    """What an Xid asks for."""

    APPLICATION = "application"
    """The program's fault: it has ended or must be restarted."""
    SYMPATHETIC = "sympathetic"
    """Follows another fault."""
    INFORMATIONAL = "informational"
    HARDWARE = "hardware"
    """Hardware or firmware; a reset or diagnosis at convenience."""
    RESET = "reset"
    REBOOT = "reboot"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class XidPolicy:
    """What to think of one Xid."""

    xid: int
    title: str
    kind: XidClass
    sticky: bool
    """It does not go away by itself, and names one GPU."""


@dataclass(frozen=True, slots=True)
class SignaturePolicy:
    """What to think of one log signature."""

    signature: str
    confidence: float
    quiet_s: float
    death: bool
    """It says that an engine or one of its processes has died, or may have."""


@dataclass(frozen=True, slots=True)
class CounterPolicy:
    """How much growth of a counter is worth a finding."""

    signal: str
    kind: EntityKind
    least: float
    """Growth within about a minute."""
    confidence: float


UNKNOWN_SIGNATURE = SignaturePolicy("", 0.3, 30.0, False)


def xid_policy(xid: int) -> XidPolicy:
    """The policy of an Xid; one that no catalogue knows is taken for hardware, not sticky."""
    return _xids().get(xid) or XidPolicy(xid, "not in the catalogue", XidClass.HARDWARE, False)


def sxid_is_fatal(sxid: int) -> bool:
    """Whether an NVSwitch error stops traffic; unknown ones count as not fatal."""
    return _sxids().get(sxid, False)


def signature_policy(signature: str) -> SignaturePolicy:
    """The policy of a log signature."""
    return _signatures().get(signature, UNKNOWN_SIGNATURE)


@functools.cache
def counter_policies() -> tuple[CounterPolicy, ...]:
    """The counters whose growth is worth a finding."""
    return tuple(
        _read(
            "counters.csv",
            lambda row: CounterPolicy(
                row["signal"],
                EntityKind(row["signal"].partition(".")[0]),
                float(row["least"]),
                float(row["confidence"]),
            ),
        )
    )


@functools.cache
def _xids() -> dict[int, XidPolicy]:
    rows = _read(
        "xid_policy.csv",
        lambda row: XidPolicy(
            int(row["xid"]), row["name"], XidClass(row["class"]), row["sticky"] == "yes"
        ),
    )
    return {row.xid: row for row in rows}


@functools.cache
def _sxids() -> dict[int, bool]:
    rows = _read("sxid_policy.csv", lambda row: (int(row["sxid"]), row["fatal"] == "yes"))
    return dict(rows)


@functools.cache
def _signatures() -> dict[str, SignaturePolicy]:
    rows = _read(
        "signatures.csv",
        lambda row: SignaturePolicy(
            row["signature"],
            float(row["confidence"]),
            float(row["quiet_s"]),
            row["death"] == "yes",
        ),
    )
    return {row.signature: row for row in rows}


def _read(file: str, make: Callable[[dict[str, str]], Row]) -> list[Row]:
    text = (resources.files("detection") / "data" / file).read_text("utf-8")
    made = []
    for line, row in enumerate(csv.DictReader(text.splitlines()), 2):
        try:
            made.append(make(row))
        except (KeyError, ValueError) as error:
            raise BadInput(str(error), where=f"{file} line {line}") from error
    return made
