"""No raw values in prose, and a halt that says what it is."""

import pytest

from console.context import halted_words
from console.present.summary import claim
from console.present.timeline import audit_text
from console.words import prose
from fleetmend.model.audit import AuditRecord, AuditVerb
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import Evidence
from fleetmend.ports.halt import HaltState
from tests.unit.console.builder import MADE, NOW_S, gpu
from tests.unit.console.client import Bench


def record(verb: AuditVerb, **detail: str | float) -> AuditRecord:
    return AuditRecord(1, 0.0, "a", verb, "i-1", {**detail}, "", "")


def test_moments_and_spans_are_no_raw_seconds() -> None:
    told = record(AuditVerb.APPROVED, version=2, expires_at_s=1795423424.0002623, waits_s=90.5)
    assert audit_text(told) == "version 2, expires 08:43:44 UTC, waits 1m 30s"


@pytest.mark.parametrize(
    ("outcome", "said", "text"),
    [
        ("accepted", "logged", "log, accepted"),
        ("rejected", "HTTP 404", "log, rejected, HTTP 404"),
    ],
)
def test_a_notification_says_whom_it_told_and_only_the_trouble(
    outcome: str, said: str, text: str
) -> None:
    told = record(AuditVerb.NOTIFIED, receiver="log", outcome=outcome, said=said, message="n-1")
    assert audit_text(told) == text


@pytest.mark.parametrize(
    ("machine", "people"),
    [
        (
            "telemetry_absent on sim/engine/chat-7 is unexplained",
            "telemetry absent on chat-7 is unexplained",
        ),
        ("rack r12: number 2 within 600 s, 1 is allowed",) * 2,
        ("file /var/log/syslog",) * 2,
    ],
)
def test_entities_and_codes_are_words_in_prose(machine: str, people: str) -> None:
    assert prose(machine) == people


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (HaltState(True, "ana", "smoke"), " by ana: smoke"),
        (HaltState(True, "unknown", "var/halt.json is not there"), ", because it was never set up"),
        (HaltState(True, "unknown", "x cannot be read"), ", because its switch does not say"),
        (HaltState(False, "ana"), ""),
        (None, ""),
    ],
)
def test_a_halt_names_who_made_it_or_what_is_the_matter(
    state: HaltState | None, words: str
) -> None:
    assert halted_words(state).startswith(words)
    assert bool(halted_words(state)) == bool(words)


@pytest.mark.parametrize("path", ["/fleet", "/incidents", f"/incidents/{MADE.hot}", "/audit"])
def test_whoever_may_halt_can_do_so_from_every_page(fresh: Bench, path: str) -> None:
    assert 'id="dlg-halt"' not in fresh.client.get(path).text
    fresh.login()
    assert 'commandfor="dlg-halt"' in fresh.client.get(path).text
    fresh.decisions.halt("Ana", "smoke")
    html = fresh.client.get(path).text
    assert 'id="dlg-halt"' not in html
    assert "by Ana: smoke" in html


def test_a_waived_guard_is_explained_and_not_named(filled: Bench) -> None:
    html = filled.client.get(f"/incidents/{MADE.hot}").text
    assert "its silence is explained by the diagnosis" in html
    assert "explained_silence" not in html.partition('id="timeline"')[0]


def test_a_silence_says_what_is_known_of_its_reason() -> None:
    silence = Evidence(
        "E1",
        "f-1",
        gpu(1, 1),
        "telemetry_absent",
        Direction.PRESENT,
        Witness.SILENCE,
        NOW_S,
        1.0,
        detail="the page is unreadable",
    )
    told = "".join(part.text for part in claim(silence))
    assert "stopped sending telemetry (the page is unreadable)" in told
