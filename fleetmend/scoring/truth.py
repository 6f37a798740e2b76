"""The truth of a recording, from the text of its `labels.jsonl` and `meta.json`.

Called by `fleetmend evaluate` after the replay is over; replay itself never opens the labels.
"""

import json
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleetmend.errors import BadInput
from fleetmend.scoring.records import Label, Names


class _LabelLine(BaseModel):
    model_config = ConfigDict(extra="ignore")

    cause: str = Field(max_length=200)
    entity: str = Field(max_length=200)
    start: float
    end: float
    benign: bool = False
    ambiguous: bool = False


class _Gpu(BaseModel):
    index: int
    uuid: str


class _Host(BaseModel):
    name: str
    gpus: list[_Gpu] = []


class _Link(BaseModel):
    ends: tuple[str, str]


class _Meta(BaseModel):
    start: float
    end: float
    hosts: list[_Host] = []
    links: list[_Link] = []


def parse_labels(lines: Iterable[str], *, where: str) -> tuple[Label, ...]:
    """The labels in order of start. `where` names the file; raises BadInput naming the line."""
    labels = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            read = _LabelLine.model_validate(json.loads(line))
        except (json.JSONDecodeError, ValidationError) as error:
            raise BadInput(str(error), where=f"{where} line {number}") from error
        labels.append(
            Label(read.cause, read.entity, read.start, read.end, read.benign, read.ambiguous)
        )
    return tuple(sorted(labels, key=lambda label: (label.start_s, label.end_s, label.cause)))


def parse_meta(text: str, *, where: str) -> tuple[tuple[float, float], Names]:
    """(start_s, end_s) of a recording and its names.

    `node-0/gpu:0` and the UUID always mean one GPU; the bare `gpu:0` only where one host has it.
    Raises BadInput.
    """
    try:
        meta = _Meta.model_validate_json(text)
    except ValidationError as error:
        raise BadInput(str(error), where=where) from error
    same: dict[str, str] = {}
    owners: dict[str, list[str]] = {}
    for host in meta.hosts:
        for gpu in host.gpus:
            full = f"{host.name}/gpu:{gpu.index}"
            same[gpu.uuid] = full
            owners.setdefault(f"gpu:{gpu.index}", []).append(full)
    same.update({bare: full[0] for bare, full in owners.items() if len(full) == 1})
    return (meta.start, meta.end), Names(same, tuple(link.ends for link in meta.links))
