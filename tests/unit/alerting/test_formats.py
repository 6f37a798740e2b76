"""The bytes that leave. Golden files lie in `tests/data/golden/alerting`.

A change of format is a change of what other people's systems receive: it shows here first.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alerting.channels import alertmanager, log, pagerduty, webhook
from alerting.wording import rfc3339
from fleetmend.errors import PortError
from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import Severity
from fleetmend.model.notifications import NotifyReason
from tests.real.receiver import (
    ROUTING_KEY,
    WEBHOOK_SECRET,
    check_alertmanager,
    check_pagerduty,
    check_webhook,
)
from tests.unit.alerting.samples import AT_S, hostile, incident, notification, resolved

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "alerting"
CONSOLE = "https://fleetmend.example"
JSON = {"content-type": "application/json"}

BODIES = {
    "alertmanager-firing.json": alertmanager.message(
        notification(), receiver="r", console_url=CONSOLE
    ),
    "alertmanager-resolved.json": alertmanager.message(
        resolved(), receiver="r", console_url=CONSOLE
    ),
    "pagerduty-trigger.json": pagerduty.event(notification(), routing_key=ROUTING_KEY),
    "pagerduty-resolve.json": pagerduty.event(resolved(), routing_key=ROUTING_KEY),
    "webhook-opened.json": webhook.payload(notification()),
    "webhook-approval.json": webhook.payload(notification(reason=NotifyReason.APPROVAL_NEEDED)),
    "webhook-resolved.json": webhook.payload(resolved()),
    "log-opened.json": log.line(notification()),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_bytes_are_the_golden_ones(name: str) -> None:
    assert BODIES[name] == (GOLDEN / name).read_bytes()


def test_every_golden_file_is_tested() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(BODIES)


def test_alertmanager_takes_whatever_telemetry_says() -> None:
    body = alertmanager.message(hostile(), receiver="r", console_url=CONSOLE)
    check_alertmanager(JSON, body)


def test_an_alert_keeps_its_identity_when_its_severity_changes() -> None:
    def alert(severity: Severity) -> tuple[str, str, str]:
        raised = notification(incident(severity=severity))
        (one,) = json.loads(alertmanager.message(raised, receiver="r", console_url=""))["alerts"]
        return one["fingerprint"], one["startsAt"], one["labels"]["severity"]

    before, after = alert(Severity.P2), alert(Severity.P0)
    assert before[:2] == after[:2]
    assert (before[2], after[2]) == ("warning", "critical")


def test_the_fingerprint_is_prometheus_own() -> None:
    """Both values stand in prometheus/common, model/signature_test.go."""
    named = {"name": "garland, briggs", "fear": "love is not enough"}

    assert int(alertmanager.fingerprint({}), 16) == 14695981039346656037
    assert int(alertmanager.fingerprint(named), 16) == 5799056148416392346


def test_pagerduty_takes_whatever_telemetry_says() -> None:
    body = pagerduty.event(hostile(), routing_key=ROUTING_KEY)
    check_pagerduty(JSON, body)
    assert len(json.loads(body)["payload"]["summary"]) == pagerduty.SUMMARY_CHARS_MAX


def test_details_are_dropped_before_an_event_is_too_large() -> None:
    small = json.loads(pagerduty.event(notification(), routing_key=ROUTING_KEY))
    assert small["payload"]["custom_details"]["evidence_count"] == 1

    huge = replace(incident(), affected=(EntityId("demo/gpu/" + "x" * 600_000),))
    body = pagerduty.event(notification(huge), routing_key=ROUTING_KEY)

    assert len(body) < pagerduty.EVENT_BYTES_MAX
    event = json.loads(body)
    assert "custom_details" not in event["payload"]
    assert {**event["payload"], "custom_details": 0} == {**small["payload"], "custom_details": 0}


def test_trigger_and_resolve_share_the_incidents_key() -> None:
    keys = {
        json.loads(pagerduty.event(one, routing_key=ROUTING_KEY))["dedup_key"]
        for one in (notification(), resolved())
    }
    assert keys == {"fleetmend:i-1"}


def test_a_key_too_long_for_pagerduty_is_a_digest_and_stays_distinct() -> None:
    long = [pagerduty.dedup_key("i" * 300), pagerduty.dedup_key("i" * 301)]

    assert all(len(key) <= pagerduty.DEDUP_KEY_CHARS_MAX for key in long)
    assert long[0] != long[1]
    assert pagerduty.dedup_key("i" * 245) == "fleetmend:" + "i" * 245


def test_the_signature_is_that_of_the_specifications_example() -> None:
    """Made with the reference library `standardwebhooks` 1.1.0."""
    headers = webhook.signed_headers(
        (WEBHOOK_SECRET,),
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp_s=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_every_secret_signs_so_that_keys_can_be_changed_over() -> None:
    secrets = ("whsec_bmV3ZXIga2V5", WEBHOOK_SECRET)
    body = webhook.payload(hostile())
    headers = webhook.signed_headers(secrets, id="n-1", timestamp_s=7, body=body)

    assert len(headers["webhook-signature"].split(" ")) == 2
    check_webhook({**JSON, **headers}, body)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "whsec_\u00e9"])
def test_a_secret_that_is_none_is_not_repeated_in_the_error(secret: str) -> None:
    with pytest.raises(PortError) as error:
        webhook.signed_headers((secret,), id="n-1", timestamp_s=7, body=b"")
    assert secret.removeprefix("whsec_") == "" or secret not in repr(error.value)
    assert error.value.__cause__ is None


def test_a_line_of_the_log_is_one_line_of_json() -> None:
    line = log.line(hostile())
    assert b"\n" not in line
    assert json.loads(line)["incident"]["evidence_count"] == 200


@pytest.mark.parametrize(
    ("at_s", "stamp"),
    [
        (AT_S, "2026-11-23T04:03:02.500Z"),
        (0.0, "1970-01-01T00:00:00.000Z"),
        (-5.0, "1970-01-01T00:00:00.000Z"),
        (float("nan"), "1970-01-01T00:00:00.000Z"),
        (float("inf"), "9999-12-31T23:59:59.000Z"),
    ],
)
def test_every_moment_has_a_stamp(at_s: float, stamp: str) -> None:
    assert rfc3339(at_s) == stamp


def test_people_read_the_names_that_were_known_and_machines_the_ids() -> None:
    named = replace(notification(), title="GPU fell off", place="node-003/gpu:5, pool chat")
    body = json.loads(webhook.payload(named))
    assert body["data"]["summary"] == "[P1] GPU fell off (node-003/gpu:5, pool chat)"
    assert body["data"]["incident"]["entity"] == "demo/gpu/GPU-1"
