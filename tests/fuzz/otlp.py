"""The OTLP decoder must say what protobuf's parser and a walk say, and refuse what they refuse."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from unittest import mock

from collectors.otlp.decoder import Decoder
from collectors.otlp.log_lines import lines_of
from collectors.otlp.plain import walk
from collectors.otlp.points import Points
from fleetmend.errors import BadInput

Row = tuple[object, ...]

EAGER = {
    "collectors.otlp.draft._SPOT_BYTES": 2,
    "collectors.otlp.blocks._FEW": 1,
    "collectors.otlp.blocks._SLOT_BITS": 2,
    "collectors.otlp.blocks._CHUNK_BYTES": 64,
    "collectors.otlp.templates._CHUNK_BYTES": 64,
}
"""With these, what is meant for long lists is done with the shortest."""


def rows_of(points: Points) -> list[Row]:
    """Everything that points say, in order; numbers as text, so that NaN equals itself."""
    tables = points.tables

    def place(head: int, attributes: int) -> Row:
        of = tables.heads[head]
        resource = sorted(tables.resources[of.resource].items())
        labels = sorted(tables.attributes[attributes].items())
        return of.name, of.unit, of.kind, of.temporality, of.monotonic, str(resource), str(labels)

    columns = (points.head, points.attributes, points.start_ns, points.time_ns, points.value)
    rows: list[Row] = [
        (*place(head, attributes), start, time, repr(value), flags)
        for head, attributes, start, time, value, flags in zip(
            *(column.tolist() for column in columns), points.flags.tolist(), strict=True
        )
    ]
    for each in points.histograms:
        numbers = each.start_ns, each.time_ns, each.flags, each.count, repr(each.sum)
        more = repr(each.bounds), repr(each.counts), each.scale, each.offset, each.below
        rows.append((*place(each.head, each.attributes), *numbers, *more))
    return rows


def outcome(read: Callable[[], Points]) -> list[Row] | str:
    """The rows, or that it was refused."""
    try:
        return rows_of(read())
    except BadInput:
        return "refused"


def one_input(body: bytes) -> None:
    """Both ways on one message, ours three times: the third time a template answers; and the log
    reader, which may only refuse."""
    wanted = outcome(partial(walk, body))
    for eager in (False, True):
        with ExitStack() as sizes:
            for name, value in EAGER.items() if eager else ():
                sizes.enter_context(mock.patch(name, value))
            decoder = Decoder()
            for _ in range(3):
                found = outcome(partial(decoder.decode, body))
                assert found == wanted, (body, eager, found, wanted)
    try:
        for _ in lines_of(body):
            pass
    except BadInput:
        return
