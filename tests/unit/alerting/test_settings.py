"""A mistake in the receivers' settings is refused by name, before anything is sent."""

import pytest
from pydantic import ValidationError

from fleetmend.settings.alerting import AlertingSettings, ReceiverSettings

GOOD = {
    "name": "ops",
    "kind": "webhook",
    "severities": ["P0"],
    "url": "https://hooks.example/fleet",
    "secret_file": "var/hook.secret",
}


def test_a_whole_receiver_is_taken() -> None:
    receiver = ReceiverSettings.model_validate({**GOOD, "networks": ["10.1.0.0/16"]})
    assert [str(network) for network in receiver.networks] == ["10.1.0.0/16"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"severities": []}, "at least 1"),
        ({"severities": ["P9"]}, "P0"),
        ({"secret_file": ""}, "needs secret_file"),
        ({"kind": "pagerduty", "secret_file": ""}, "needs secret_file"),
        ({"url": ""}, "needs url"),
        ({"kind": "alertmanager", "url": ""}, "needs url"),
        ({"url": "ftp://hooks.example"}, "must be https"),
        ({"url": "https:///path"}, "must be https"),
        ({"url": "https://me:secret@hooks.example"}, "secret_file"),
        ({"kind": "log"}, "neither"),
        ({"kind": "slack"}, "alertmanager"),
        ({"name": "Ops Team"}, "pattern"),
        ({"networks": ["10.1.0.5/16"]}, "valid IPv4 network"),
        ({"secret": "whsec_x"}, "Extra inputs"),
    ],
)
def test_each_mistake_is_named(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ReceiverSettings.model_validate({**GOOD, **change})


def test_severities_have_no_default() -> None:
    with pytest.raises(ValidationError, match="severities"):
        ReceiverSettings.model_validate({"name": "log", "kind": "log"})


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"receivers": [GOOD, GOOD]}, "two receivers are named 'ops'"),
        ({"retry_s": []}, "at least 1"),
        ({"retry_s": [5, 0]}, "more than 0"),
        ({"console_url": "https://fleet.example/"}, "pattern"),
    ],
)
def test_mistakes_of_the_whole_are_named(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        AlertingSettings.model_validate(values)


def test_by_default_nothing_leaves_the_machine() -> None:
    assert [receiver.kind for receiver in AlertingSettings().receivers] == ["log"]
