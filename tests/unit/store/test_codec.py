"""Whatever goes into a JSON column comes out again."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.model.plans import Reason, Refusal, StepRecord, StepState, Verdict
from fleetmend.store.codec import Codec, Json, clean, plain

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
anything: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@settings(max_examples=150)
@given(anything)
def test_cleaned_json_is_json_everywhere_and_stays_as_it_is(value: Json) -> None:
    cleaned = clean(value)
    text = json.dumps(cleaned, allow_nan=False, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text
    assert clean(cleaned) == cleaned
    assert json.loads(text) == cleaned


@given(texts)
def test_decent_text_is_kept_letter_for_letter(text: str) -> None:
    assert plain(text) == text


@given(st.text(st.characters()), st.integers(0, 20))
def test_text_is_cut_and_every_letter_of_the_rest_keeps_its_place(text: str, most: int) -> None:
    kept = plain(text, most)
    assert len(kept) <= most
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert kept == text[:most].replace("\x00", "\ufffd")


steps = st.builds(
    StepRecord,
    index=st.integers(0, 50),
    state=st.sampled_from(StepState),
    updated_at_s=st.floats(allow_nan=False),
    attempt=st.integers(0, 50),
    detail=texts,
)
verdicts = st.builds(
    Verdict,
    plan=texts,
    plan_version=st.integers(1, 50),
    step=st.integers(0, 50),
    at_s=st.floats(allow_nan=False),
    reasons=st.lists(st.builds(Reason, st.sampled_from(Refusal), texts), max_size=3).map(tuple),
    waivers=st.lists(texts, max_size=3).map(tuple),
)


@settings(max_examples=60)
@given(st.lists(steps, max_size=4).map(tuple), verdicts)
def test_records_come_back_equal(records: tuple[StepRecord, ...], verdict: Verdict) -> None:
    step_codec, verdict_codec = Codec(tuple[StepRecord, ...]), Codec(Verdict)

    assert step_codec.decode(json.loads(json.dumps(step_codec.encode(records)))) == records
    assert verdict_codec.decode(json.loads(json.dumps(verdict_codec.encode(verdict)))) == verdict
