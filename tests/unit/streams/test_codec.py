"""What goes into the log comes out of it again, and nothing that lies in it can hurt a reader."""

import json
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.errors import BadInput
from fleetmend.model.coverage import Coverage, Freshness
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    TopologyChange,
    TopologyOp,
    entity_id,
    split_entity_id,
)
from fleetmend.model.events import Event, EventType
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Cut, Mark
from fleetmend.streams.arrow_write import encode_samples
from fleetmend.streams.cloudevents import decode_event, rfc3339, unix_s
from fleetmend.streams.codec import RECORD_BYTES_MAX, decode, encode
from fleetmend.streams.columns import decode_samples
from fleetmend.streams.port import Payload
from fleetmend.streams.topics import Topic
from tests.unit.streams.payloads import (
    FIXED,
    GPU,
    batches,
    findings,
    plain_payloads,
    raw,
    same_batch,
)

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "streams"


def read_back(payload: Payload) -> Payload:
    encoded = encode(payload)
    return decode(raw(encoded.headers, encoded.value)).payload


@given(batches())
@settings(max_examples=60, deadline=None)
def test_a_batch_survives_the_wire(batch: SampleBatch) -> None:
    back = read_back(batch)
    assert isinstance(back, SampleBatch)
    assert same_batch(batch, back)


@given(plain_payloads)
@settings(max_examples=150, deadline=None)
def test_everything_else_survives_the_wire(payload: Payload) -> None:
    assert read_back(payload) == payload


@pytest.mark.parametrize("name", sorted(FIXED))
def test_what_an_earlier_version_wrote_is_still_read(name: str) -> None:
    """The golden files are bytes that lie in real logs: changing a codec must not lose them."""
    [file] = GOLDEN.glob(f"{name}.*")
    kind = type(FIXED[name]).__name__
    back = decode(raw({"kind": kind, "time_max": "0"}, file.read_bytes())).payload
    want = FIXED[name]
    if isinstance(want, SampleBatch):
        assert isinstance(back, SampleBatch)
        assert same_batch(back, want)
    else:
        assert back == want
        assert encode(want).value == file.read_bytes(), "the wire form changed: raise `schema`"


@pytest.mark.parametrize("file", sorted((GOLDEN / "earlier").iterdir()), ids=lambda file: file.stem)
def test_a_record_from_before_a_field_was_added_is_still_read(file: Path) -> None:
    """Such a field has a default, and the form from before it stays here under the same name."""
    want = FIXED[file.stem]
    back = decode(raw({"kind": type(want).__name__, "time_max": "0"}, file.read_bytes())).payload
    assert back == want


def test_a_cut_from_before_there_were_claims_is_still_read() -> None:
    encoded = encode(FIXED["cut"])
    old = encoded.value.replace(b',"runner":"detector-0-1-5f1c09aa"', b"")
    assert old != encoded.value

    back = decode(raw(encoded.headers, old)).payload

    assert isinstance(back, Cut)
    assert back.runner == ""


@given(st.binary(max_size=400), st.sampled_from(sorted({type(p).__name__ for p in FIXED.values()})))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_bad_input_and_nothing_else(value: bytes, kind: str) -> None:
    with pytest.raises(BadInput, match=r"^events/0 offset 7"):
        decode(raw({"kind": kind}, value, offset=7))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_flipped_byte_is_bad_input_or_another_valid_record(data: st.DataObject) -> None:
    payload = data.draw(st.sampled_from([FIXED[name] for name in sorted(FIXED)]))
    encoded = encode(payload)
    place = data.draw(st.integers(0, len(encoded.value) - 1))
    byte = data.draw(st.integers(0, 255))
    broken = encoded.value[:place] + bytes([byte]) + encoded.value[place + 1 :]
    with suppress(BadInput):
        assert decode(raw(encoded.headers, broken)).offset == 0


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=20), st.text(max_size=20)))
@settings(max_examples=50, deadline=None)
def test_unknown_kinds_are_bad_input(kind: str, headers: dict[str, str]) -> None:
    if kind in {type(p).__name__ for p in FIXED.values()}:
        return
    with pytest.raises(BadInput, match="unknown kind"):
        decode(raw(headers | {"kind": kind}, b"{}"))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_finding_with_a_number_that_is_not_finite_is_refused(number: float) -> None:
    finding = FIXED["finding"]
    assert isinstance(finding, Finding)
    with pytest.raises(BadInput):
        encode(replace(finding, confidence=number))
    with pytest.raises(BadInput):
        encode(replace(finding, symptoms=(replace(finding.symptoms[0], observed=number),)))


def test_nan_is_refused_when_it_lies_in_the_log_already() -> None:
    value = encode(FIXED["finding"]).value.replace(b'"confidence":0.9', b'"confidence":NaN')
    with pytest.raises(BadInput):
        decode(raw({"kind": "Finding"}, value))


@pytest.mark.parametrize("name", ["finding", "incident", "topology", "cut", "mark"])
def test_unknown_keys_are_refused(name: str) -> None:
    encoded = encode(FIXED[name])
    document = json.loads(encoded.value)
    document["body"]["surprise"] = 1
    with pytest.raises(BadInput, match="surprise"):
        decode(raw(encoded.headers, json.dumps(document).encode()))


def test_a_newer_schema_is_refused() -> None:
    encoded = encode(FIXED["mark"])
    with pytest.raises(BadInput, match="schema"):
        decode(raw(encoded.headers, encoded.value.replace(b'"schema":1', b'"schema":2')))


def test_the_headers_say_what_a_record_is_and_how_new() -> None:
    assert encode(FIXED["samples"]).headers == {
        "kind": "SampleBatch",
        "time_max": "1800000001.25",
    }
    assert encode(FIXED["event"]).headers["content-type"] == "application/cloudevents+json"


@pytest.mark.parametrize("at_s", [math.nan, math.inf, 1.8e12])
def test_times_that_no_tick_can_hold_are_refused(at_s: float) -> None:
    """1.8e12 is a time in milliseconds: the commonest unit error of all."""
    with pytest.raises(BadInput):
        encode(Mark("collector", at_s))
    with pytest.raises(BadInput):
        encode(SampleBatch.from_rows([(at_s, GPU, "x", 1.0)]))


def test_a_record_that_no_topic_takes_is_refused_before_it_is_sent() -> None:
    incident = FIXED["incident"]
    assert isinstance(incident, Incident)
    with pytest.raises(BadInput, match="At most"):
        encode(replace(incident, title="x" * (RECORD_BYTES_MAX + 1)))


class TestCloudEvents:
    def test_the_wire_form_is_a_cloud_event(self) -> None:
        body = json.loads(encode(FIXED["event"]).value)
        assert body["specversion"] == "1.0"
        assert body["type"] == "io.fleetmend.gpu.xid"
        assert body["time"] == "2027-01-15T08:00:00.123456Z"
        assert body["partitionkey"] == "node-3"
        assert body["subject"] == GPU
        assert body["data"]["xid"] == 79

    def test_unknown_extensions_are_tolerated(self) -> None:
        encoded = encode(FIXED["event"])
        body = json.loads(encoded.value) | {"traceparent": "00-ab", "sequence": 3}
        assert decode(raw(encoded.headers, json.dumps(body).encode())).payload == FIXED["event"]

    def test_an_event_of_another_producer_is_known_by_its_content_type(self) -> None:
        headers = {"content-type": "application/cloudevents+json; charset=UTF-8"}
        record = decode(raw(headers, encode(FIXED["event"]).value))
        assert record.payload == FIXED["event"]

    @pytest.mark.parametrize(
        "change",
        [
            {"specversion": "0.3"},
            {"type": "com.example.other"},
            {"time": "yesterday"},
            {"time": "2027-01-15"},
            {"time": "2027-01-15T08:00:00"},
            {"id": ""},
            {"subject": None},
            {"subject": "x"},
            {"subject": "c/zzz/k"},
            {"subject": "c/gpu/"},
            {"data": {"nested": {"a": 1}}},
            {"data": [1]},
            {"data": {"line": "x" * 5000}},
            {"data": {f"k{i}": 1 for i in range(65)}},
            {"data_base64": "AAAA"},
            {"datacontenttype": "application/xml"},
        ],
        ids=str,
    )
    def test_what_is_no_event_of_ours_is_refused(self, change: dict[str, object]) -> None:
        body = json.loads(encode(FIXED["event"]).value) | change
        with pytest.raises(BadInput):
            decode(raw({"kind": "Event"}, json.dumps(body).encode()))

    @pytest.mark.parametrize("text", ["2027-01-15T10:00:00.5+02:00", "2027-01-15t08:00:00.500z"])
    def test_any_offset_is_the_same_moment(self, text: str) -> None:
        assert unix_s(text) == 1_800_000_000.5

    @given(st.floats(0, 4e9))
    @settings(max_examples=100, deadline=None)
    def test_a_time_moves_by_half_a_microsecond_at_most_and_only_once(self, time_s: float) -> None:
        once = unix_s(rfc3339(time_s))
        assert abs(once - time_s) <= 0.6e-6
        assert unix_s(rfc3339(once)) == once

    def test_an_event_that_could_not_be_read_back_is_not_written(self) -> None:
        event = Event("1", "s", EventType.CHANGE, 1.0, GPU, data={"what": "x" * 5000})
        with pytest.raises(BadInput):
            encode(event)


def arrow_stream(*batches: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def arrow_batch(**changes: pa.Array) -> pa.RecordBatch:
    columns = {
        "ts": pa.array([1.0, 2.0, 3.0]),
        "entity": pa.array(["a", "b", "a"]).dictionary_encode(),
        "signal": pa.array(["x", "x", "y"]).dictionary_encode(),
        "value": pa.array([10.0, 20.0, 30.0]),
    }
    return pa.record_batch({name: changes.get(name, column) for name, column in columns.items()})


class TestForeignBatches:
    """Another producer may write the same columns in other Arrow types."""

    @pytest.mark.parametrize("width", [pa.int8(), pa.int16(), pa.int64(), pa.uint32()], ids=str)
    def test_any_width_of_codes_is_read(self, width: pa.DataType) -> None:
        codes = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], width), pa.array(["a", "b"]))
        batch = decode_samples(arrow_stream(arrow_batch(entity=codes)))
        assert [batch.entities[code] for code in batch.entity] == ["a", "b", "a"]
        assert batch.entity.dtype == np.int32

    def test_plain_strings_are_read(self) -> None:
        batch = decode_samples(arrow_stream(arrow_batch(signal=pa.array(["x", "y", "x"]))))
        assert [batch.signals[code] for code in batch.signal] == ["x", "y", "x"]

    def test_a_slice_is_read_as_what_it_shows(self) -> None:
        batch = decode_samples(arrow_stream(arrow_batch().slice(1, 2)))
        assert batch.time_s.tolist() == [2.0, 3.0]
        assert [batch.entities[code] for code in batch.entity] == ["b", "a"]

    def test_a_null_value_becomes_nan(self) -> None:
        batch = decode_samples(arrow_stream(arrow_batch(value=pa.array([1.0, None, 3.0]))))
        assert math.isnan(batch.value[1])
        assert batch.value[2] == 3.0

    def test_narrow_and_whole_numbers_become_float64(self) -> None:
        for column in (pa.array([1, 2, 3]), pa.array([1, 2, 3], pa.float32())):
            batch = decode_samples(arrow_stream(arrow_batch(value=column)))
            assert batch.value.tolist() == [1.0, 2.0, 3.0]
            assert batch.value.dtype == np.float64

    @pytest.mark.parametrize(
        "change",
        [
            {"ts": pa.array([1.0, None, 3.0])},
            {"ts": pa.array(["1", "2", "3"])},
            {"ts": pa.array([1.0, math.nan, 3.0])},
            {"entity": pa.array(["a", None, "b"]).dictionary_encode()},
            {"entity": pa.array([1, 2, 3])},
            {"entity": pa.array(["", "b", "c"])},
            {"signal": pa.array(["x" * 513, "y", "z"])},
            {"value": pa.array(["1", "2", "3"])},
        ],
        ids=str,
    )
    def test_what_is_no_sample_is_refused(self, change: dict[str, pa.Array]) -> None:
        with pytest.raises(BadInput):
            decode_samples(arrow_stream(arrow_batch(**change)))

    def test_other_columns_and_more_batches_are_refused(self) -> None:
        extra = arrow_batch().append_column("host", pa.array(["a", "b", "c"]))
        for value in (arrow_stream(extra), arrow_stream(arrow_batch(), arrow_batch())):
            with pytest.raises(BadInput):
                decode_samples(value)

    def test_codes_outside_the_dictionary_are_refused(self) -> None:
        """They would be read as whatever lies in memory behind it."""
        codes = pa.DictionaryArray.from_arrays(
            pa.array([0, 9, 0], pa.int32()), pa.array(["a"]), safe=False
        )
        with pytest.raises(BadInput):
            decode_samples(arrow_stream(arrow_batch(entity=codes)))


class TestSampleBatches:
    def test_an_inconsistent_batch_is_refused_before_it_is_sent(self) -> None:
        good = SampleBatch.from_rows([(1.0, "a", "x", 1.0), (2.0, "a", "x", 1.0)])
        for broken in (
            replace(good, value=good.value[:1]),
            replace(good, entity=np.array([0, 5], np.int32)),
            replace(good, entities=("\ud800",)),
            replace(good, entities=("",)),
            good.select(np.zeros(2, np.bool_)),
        ):
            with pytest.raises(BadInput):
                encode_samples(broken)

    def test_numbers_are_not_copied_when_they_need_not_be(self) -> None:
        """A copy per column would halve the rate at which samples are taken in."""
        batch = decode_samples(encode_samples(SampleBatch.from_rows([(1.0, "a", "x", 2.0)] * 99)))
        assert not batch.time_s.flags.owndata
        assert not batch.value.flags.owndata
        assert not batch.entity.flags.owndata


@given(findings)
@settings(max_examples=40, deadline=None)
def test_encoding_is_stable(finding: Finding) -> None:
    """Byte-identical replays start here."""
    assert encode(finding) == encode(finding)


def test_the_error_names_topic_partition_and_offset() -> None:
    with pytest.raises(BadInput) as caught:
        decode(raw({"kind": "Mark"}, b"{", topic=Topic.SAMPLES, offset=41))
    assert caught.value.where == "samples/0 offset 41"


@pytest.mark.parametrize(
    ("number", "fits"),
    [(2**63 - 1, True), (-(2**63), True), (2**63, False), (-(2**63) - 1, False), (10**400, False)],
)
def test_an_integer_in_an_events_data_has_64_bits(number: int, fits: bool) -> None:
    body = {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": "io.fleetmend.gpu.xid",
        "time": "2026-11-23T00:00:00Z",
        "subject": "c/gpu/g",
        "data": {"xid": number},
    }
    value = json.dumps(body).encode()
    if fits:
        assert decode_event(value).data == {"xid": number}
    else:
        with pytest.raises(BadInput, match="too large"):
            decode_event(value)


class TestIds:
    """A fold splits every id that it is given: one that is none would stop it at that record for
    good, so it must never come out of the log."""

    @pytest.mark.parametrize(
        ("name", "places"),
        [
            ("topology", [("entity",), ("target",)]),
            ("finding", [("entity",)]),
            (
                "incident",
                [
                    ("entity",),
                    ("affected", 0),
                    ("evidence", 0, "entity"),
                    ("causes", 0, "entity"),
                    ("causes", 0, "path", 0),
                ],
            ),
        ],
    )
    @pytest.mark.parametrize(
        "bad", ["x", "", "c/zzz/k", "c/gpu/", "/gpu/k", "c/gpu/\x1b[2K", "c/gpu/a\nb"]
    )
    def test_a_record_about_what_is_no_entity_is_refused(
        self, name: str, places: list[tuple[str | int, ...]], bad: str
    ) -> None:
        encoded = encode(FIXED[name])
        for place in places:
            document = json.loads(encoded.value)
            inner = document["body"]
            for step in place[:-1]:
                inner = inner[step]
            inner[place[-1]] = bad
            with pytest.raises(BadInput, match="is no entity id"):
                decode(raw(encoded.headers, json.dumps(document).encode()))

    def test_an_alias_may_be_any_name(self) -> None:
        alias = TopologyChange(1e9, TopologyOp.ALIAS, GPU, "pod:llm/llama-0")
        assert read_back(alias) == alias

    def test_a_ledger_entry_about_nothing_is_refused(self) -> None:
        entry = Coverage(GPU, 1e9, Freshness.FRESH, 1e9)
        assert read_back(entry) == entry
        for bad in (replace(entry, entity=EntityId("x")), replace(entry, node="x")):
            with pytest.raises(BadInput, match="is no entity id"):
                encode(bad)

    def test_samples_of_what_is_no_entity_are_refused_when_read_and_when_written(self) -> None:
        stray = SampleBatch.from_rows([(1e9, GPU, "x", 1.0), (1e9, "c/zzz/k", "x", 1.0)])
        with pytest.raises(BadInput, match="is no entity id"):
            encode(stray)
        with pytest.raises(BadInput, match="is no entity id"):
            decode(raw({"kind": "SampleBatch"}, encode_samples(stray), topic=Topic.SAMPLES))

    @given(st.text(min_size=1, max_size=30))
    @settings(max_examples=50, deadline=None)
    def test_an_id_made_of_any_name_can_be_printed_and_read(self, key: str) -> None:
        made = entity_id("c", EntityKind.MODEL, key)
        assert made.isprintable()
        assert split_entity_id(made)[:2] == ("c", EntityKind.MODEL)
