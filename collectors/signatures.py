"""The catalogue of log lines that mean something: `data/log_signatures.csv`.

A line is only ever searched for these patterns. Its text is hostile input: anybody in a container
can print anything, so patterns are bounded, lines are cut, and what a line says is one witness.
The `source` column of the table says where a pattern was read or measured.
"""

import csv
import functools
import re
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

from fleetmend.errors import BadInput

LINE_MAX = 500
"""Characters of a line that an event carries."""
SEARCHED_MAX = 2000
"""Characters of a line that are searched: prefixes of engines are long, patterns are not."""
_TEXT_FIELDS = frozenset(
    {"pci", "process", "peer", "device", "memcg", "server", "method", "worker"}
)
"""Fields that stay text even when they look like a number."""
_HEX_FIELDS = frozenset({"recovery_action"})


class Channel(StrEnum):
    """Where a line was printed."""

    KERNEL = "kernel"
    DRIVER = "driver"
    """Events of the GPU driver (NVML), written as lines by a recorder."""
    ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class Signature:
    """One pattern."""

    name: str
    adds_to: str
    """Name of the signature that this one adds fields to; empty for one that stands alone."""
    channel: Channel
    hint: str
    """A text that every matching line holds: most lines are ruled out by it alone."""
    pattern: re.Pattern[str]
    data: dict[str, str]
    """Fields that the pattern itself implies."""
    example: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Match:
    """What a line was found to be."""

    name: str
    fields: dict[str, str | int]


@functools.cache
def signatures() -> tuple[Signature, ...]:
    """The catalogue, in the order in which it is tried. Raises BadInput naming the line."""
    text = (resources.files("collectors") / "data" / "log_signatures.csv").read_text("utf-8")
    found = []
    for number, row in enumerate(csv.DictReader(text.splitlines()), 2):
        name, _, addition = row["signature"].partition("+")
        try:
            found.append(
                Signature(
                    name=row["signature"] if addition else name,
                    adds_to=name if addition else "",
                    channel=Channel(row["channel"]),
                    hint=row["hint"],
                    pattern=re.compile(row["regex"]),
                    data=dict(pair.split("=", 1) for pair in row["data"].split(";") if pair),
                    example=row["example"],
                    meaning=row["meaning"],
                )
            )
        except (ValueError, re.error) as error:
            where = f"log_signatures.csv line {number}"
            raise BadInput(str(error), where=where) from error
    return tuple(found)


_OF_A_PROCESS = re.compile(r".{1,15}\[\d+\]")
"""Name and number that the kernel begins lines about crashes with; a name has 15 bytes."""
_TOLD_OF_PROCESSES = frozenset({"nccl_segfault"})
_STAMPS = re.compile(r"(?:\[[^\]]{1,24}\]\s*)*")
"""What `dmesg` puts before a line: time, and the thread on newer kernels."""


def match_line(line: str, channel: Channel) -> Match | None:
    """What a line is: the first signature that fits, with the fields of those that add to it."""
    line = line[:SEARCHED_MAX]
    name = ""
    fields: dict[str, str | int] = {}
    for signature in signatures():
        if signature.channel is not channel or signature.hint not in line:
            continue
        if signature.adds_to != name:  # the first match decides; only its additions follow
            continue
        found = _find(signature, line)
        if found is None:
            continue
        name = name or signature.name
        fields |= signature.data
        for field, value in found.groupdict().items():
            if value is not None and value != "unknown":
                fields[field] = _typed(field, value)
    return Match(name, fields) if name else None


def _find(signature: Signature, line: str) -> re.Match[str] | None:
    """The kernel's own lines begin with what the pattern begins with. Further on the same words may
    be the name of a program, a library or a group that a tenant chose (`segfault ... in NVRM: Xid
    (...)`), and a line about a crash begins with such a name and the number of its process."""
    if signature.channel is not Channel.KERNEL or signature.adds_to:
        return signature.pattern.search(line)  # what adds follows upon a line that is the kernel's
    stamp = _STAMPS.match(line)
    start = stamp.end() if stamp else 0
    if _OF_A_PROCESS.match(line, start) and signature.name not in _TOLD_OF_PROCESSES:
        return None
    return signature.pattern.match(line, start)


def _typed(field: str, value: str) -> str | int:
    if field in _HEX_FIELDS:
        return int(value, 16)
    if field in _TEXT_FIELDS or len(value) > 18 or not value.removeprefix("-").isdecimal():
        return value
    return int(value)
