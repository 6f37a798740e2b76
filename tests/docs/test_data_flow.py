"""Every example record in docs/data-flow.md is one that the platform would read."""

import json
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from fleetmend.model.audit import AuditRecord
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.codec import decode, encode
from fleetmend.streams.port import RawRecord
from fleetmend.streams.topics import Topic

PAGE = Path(__file__).parents[2] / "docs" / "data-flow.md"
EXAMPLES = re.findall(r"```json (\w+)\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
WANTED = {
    *("TopologyChange", "Event", "SampleBatch", "Mark", "Cut", "Claim"),
    *("Finding", "Coverage", "Incident"),
}


@pytest.mark.parametrize(("kind", "text"), EXAMPLES, ids=[kind for kind, _ in EXAMPLES])
def test_the_example_is_read_and_written_as_it_stands(kind: str, text: str) -> None:
    match kind:
        case "AuditRecord":
            assert TypeAdapter(AuditRecord).validate_json(text, strict=False).seq > 0
        case "SampleBatch":
            batch = SampleBatch.from_rows(tuple(row) for row in json.loads(text))
            encoded = encode(batch)
            raw = RawRecord(Topic.SAMPLES, 0, 0, "", encoded.headers, encoded.value, 0.0)
            assert len(decode(raw).payload) == len(batch)  # type: ignore[arg-type]
        case _:
            raw = RawRecord(Topic.EVENTS, 0, 0, "", {"kind": kind}, text.encode(), 0.0)
            payload = decode(raw).payload
            assert type(payload).__name__ == kind
            assert json.loads(encode(payload).value) == json.loads(text)


def test_every_kind_of_record_has_its_example() -> None:
    assert {kind for kind, _ in EXAMPLES} >= WANTED
