"""Fuzz the OTLP decoder by coverage: it must say what protobuf's parser and a walk say, every time.

`python -m tests.fuzz.otlp tests/data/otlp/fuzzed -max_total_time=60` goes on from the kept corpus
and adds what it finds; libFuzzer's other flags work too. A difference ends it and leaves the
message in a `crash-` file, which belongs into the corpus. Files that are kept end in `.bin`.
"""

import sys

import atheris

with atheris.instrument_imports(include=["collectors.otlp"]):
    from collectors.otlp.decoder import Decoder
    from collectors.otlp.plain import walk

from collectors.otlp.points import Points
from fleetmend.errors import BadInput

Row = tuple[object, ...]


def rows_of(points: Points) -> list[Row]:
    """Everything that points say, with NaN as text."""
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


def one_input(body: bytes) -> None:
    """Both ways on one message, ours three times: the third time a template answers."""
    try:
        wanted = rows_of(walk(body))
    except BadInput:
        wanted = None
    decoder = Decoder()
    for _ in range(3):
        try:
            found = rows_of(decoder.decode(body))
        except BadInput:
            found = None
        if found != wanted:
            raise AssertionError(f"{body!r}: {found!r} is not {wanted!r}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
