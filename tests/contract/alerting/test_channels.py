"""The notifiers against a receiver that enforces the formats, over real HTTP on loopback."""

import logging
import subprocess
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

from alerting.channels.build import build_notifiers
from alerting.guard import resolve
from alerting.transport import HttpPoster
from fleetmend.clock import Clock, ManualClock, SystemClock
from fleetmend.errors import SettingsError
from fleetmend.model.incidents import Severity
from fleetmend.model.notifications import Delivery, DeliveryState, Notification
from fleetmend.ports.notifier import Notifier
from fleetmend.settings.alerting import AlertingSettings, ReceiverSettings
from tests.real.receiver import BEARER, ROUTING_KEY, WEBHOOK_SECRET, Misbehaviour, Receiver
from tests.unit.alerting.samples import hostile, notification, resolved

KINDS = ("alertmanager", "pagerduty", "webhook")
LOOPBACK = ip_network("127.0.0.0/8")
SECRETS = {"alertmanager": BEARER, "pagerduty": ROUTING_KEY, "webhook": WEBHOOK_SECRET}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of the test's own."""
    with Receiver() as receiver:
        yield receiver


class Bench:
    """Makes notifiers that post to one receiver."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for kind, secret in SECRETS.items():
            (folder / kind).write_text(secret + "\n")

    def settings(self, kind: str, url: str, **changes: object) -> ReceiverSettings:
        """A receiver of that kind, loopback allowed."""
        values = {
            "name": "r",
            "kind": kind,
            "severities": tuple(Severity),
            "url": url,
            "secret_file": str(self._folder / kind),
            "networks": (LOOPBACK,),
        }
        return ReceiverSettings.model_validate(values | changes)

    def notifier(
        self,
        kind: str,
        url: str,
        *,
        timeout_s: float = 10.0,
        addresses: Sequence[str] = (),
        **changes: object,
    ) -> Notifier:
        """One; with `addresses` every name has these."""
        settings = AlertingSettings(
            receivers=(self.settings(kind, url, **changes),), timeout_s=timeout_s
        )
        names = (lambda host, port: addresses) if addresses else resolve
        return build_notifiers(settings, SystemClock(), names)["r"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """With secrets in files."""
    return Bench(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("message", [notification(), resolved(), hostile()])
def test_every_format_is_accepted(
    receiver: Receiver, bench: Bench, kind: str, message: Notification
) -> None:
    delivery = bench.notifier(kind, f"{receiver.url}/{kind}").deliver(message)

    assert receiver.faults == []
    assert delivery.state is DeliveryState.ACCEPTED
    assert len(receiver.received) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("order", "state"),
    [
        (Misbehaviour(status=500), DeliveryState.RETRY),
        (Misbehaviour(status=429, headers={"Retry-After": "17"}), DeliveryState.RETRY),
        (Misbehaviour(status=404), DeliveryState.REJECTED),
        (Misbehaviour(status=410), DeliveryState.GONE),
        (Misbehaviour(garbage=b"\x15\x03\x01 no HTTP\r\n\r\n"), DeliveryState.RETRY),
        (Misbehaviour(garbage=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), None),
    ],
)
def test_every_misbehaviour_has_its_outcome(
    receiver: Receiver, bench: Bench, kind: str, order: Misbehaviour, state: DeliveryState | None
) -> None:
    receiver.answer_next(order)
    delivery = bench.notifier(kind, f"{receiver.url}/{kind}").deliver(notification())

    # An answer that breaks off is no answer, whatever its first line said.
    assert delivery.state is (state or DeliveryState.RETRY)
    assert delivery.retry_after_s == (17.0 if order.status == 429 else None)
    assert bool(delivery.answer) == bool(order.garbage)


def test_a_receiver_that_never_answers_is_left_after_the_timeout(
    receiver: Receiver, bench: Bench
) -> None:
    receiver.answer_next(Misbehaviour(silent=True))
    notifier = bench.notifier("webhook", f"{receiver.url}/webhook", timeout_s=0.2)

    delivery = notifier.deliver(notification())

    assert delivery == Delivery(DeliveryState.RETRY, "127.0.0.1: no answer within 0.2 s")


def test_nobody_there_is_tried_again(bench: Bench) -> None:
    with Receiver() as gone:
        url = f"{gone.url}/webhook"
    assert bench.notifier("webhook", url).deliver(notification()).state is DeliveryState.RETRY


def test_a_redirect_is_not_followed(receiver: Receiver, bench: Bench) -> None:
    with Receiver() as elsewhere:
        to = {"Location": f"{elsewhere.url}/any"}
        receiver.answer_always(Misbehaviour(status=307, headers=to))
        delivery = bench.notifier("webhook", f"{receiver.url}/webhook").deliver(notification())

        assert delivery.state is DeliveryState.REJECTED
        assert elsewhere.received == []


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("::1",), ("169.254.169.254",)])
def test_without_leave_nothing_is_posted_inwards(
    receiver: Receiver, bench: Bench, addresses: Sequence[str]
) -> None:
    url = f"http://hooks.example:{receiver.port}/webhook"
    notifier = bench.notifier("webhook", url, addresses=addresses, networks=())

    delivery = notifier.deliver(notification())

    assert delivery.state is DeliveryState.REJECTED
    assert "not a public address" in delivery.detail
    assert receiver.received == []


def test_the_address_that_was_checked_is_the_one_that_is_posted_to(
    receiver: Receiver, bench: Bench
) -> None:
    """A name that answers differently the second time gains nothing: there is no second time."""
    url = f"http://hooks.example:{receiver.port}/webhook"
    notifier = bench.notifier("webhook", url, addresses=("127.0.0.1",))

    assert notifier.deliver(notification()).state is DeliveryState.ACCEPTED
    assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"


def test_a_proxy_of_the_environment_is_not_used(
    receiver: Receiver, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        notifier = bench.notifier("webhook", f"{receiver.url}/webhook")

        assert notifier.deliver(notification()).state is DeliveryState.ACCEPTED
        assert proxy.received == []


@pytest.mark.parametrize("body", [b"<html>login</html>", b"", b"[]", b"[" * 60_000])
def test_a_success_that_is_not_pagerdutys_own_is_tried_again(
    receiver: Receiver, bench: Bench, body: bytes
) -> None:
    receiver.answer_next(Misbehaviour(status=200, body=body))
    notifier = bench.notifier("pagerduty", f"{receiver.url}/pagerduty")

    delivery = notifier.deliver(notification())

    assert delivery.state is DeliveryState.RETRY
    assert delivery.answer == (body or b"?")


class HurryingClock(ManualClock):
    """Six seconds pass between two looks."""

    def monotonic_s(self) -> float:
        """Later each time."""
        self.sleep(6.0)
        return super().monotonic_s()


@pytest.mark.parametrize(
    ("clock", "answer_bytes_max"), [(ManualClock(), 65_536), (HurryingClock(), 2**30)]
)
def test_of_a_flood_only_the_beginning_is_read(
    receiver: Receiver, clock: Clock, answer_bytes_max: int
) -> None:
    """Bounded in size, and in time though every piece comes quickly."""
    receiver.answer_next(Misbehaviour(flood=True))
    poster = HttpPoster(
        clock=clock,
        resolve=resolve,
        networks=(LOOPBACK,),
        timeout_s=10.0,
        answer_bytes_max=answer_bytes_max,
    )

    answer = poster.post(f"{receiver.url}/any", body=b"", headers={})

    assert answer.status == 200
    assert set(answer.body) == {ord("x")}
    assert len(answer.body) <= answer_bytes_max
    assert receiver.flood_ended.wait(60)
    assert receiver.flooded_bytes < 32 * 2**20


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_secret_is_refused_by_the_receiver(
    receiver: Receiver, bench: Bench, tmp_path: Path, kind: str
) -> None:
    (tmp_path / kind).write_text("whsec_d3Jvbmc=")
    delivery = bench.notifier(kind, f"{receiver.url}/{kind}").deliver(notification())

    assert len(receiver.faults) == 1
    assert delivery.state is DeliveryState.REJECTED


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_secret_sends_nothing_and_is_tried_again(
    receiver: Receiver, bench: Bench, kind: str
) -> None:
    notifier = bench.notifier(
        kind, f"{receiver.url}/{kind}", secret_file=f"{receiver.port}/nowhere"
    )

    assert notifier.deliver(notification()).state is DeliveryState.RETRY
    assert receiver.received == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "order", [None, Misbehaviour(status=401), Misbehaviour(garbage=b"?"), Misbehaviour(status=500)]
)
def test_no_secret_shows_in_logs_or_outcomes(
    receiver: Receiver,
    bench: Bench,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    order: Misbehaviour | None,
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answer_always(order)
    delivery = bench.notifier(kind, f"{receiver.url}/{kind}").deliver(notification())

    secret = SECRETS[kind].removeprefix("whsec_")
    assert receiver.received  # the secret was used
    assert secret not in caplog.text
    assert secret not in repr(delivery)


class TestTls:
    """https by the receiver's name, over the checked address."""

    @pytest.fixture
    def certificate(self, tmp_path: Path) -> tuple[Path, Path]:
        """For `hooks.example`, signed by itself."""
        certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
        subject = ["-subj", "/CN=hooks.example", "-addext", "subjectAltName=DNS:hooks.example"]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
        subprocess.run(
            ["openssl", "req", "-x509", *curve, *subject, *files], check=True, capture_output=True
        )
        return certificate, key

    @pytest.mark.parametrize(
        ("name", "trusted", "state"),
        [
            ("hooks.example", True, DeliveryState.ACCEPTED),
            ("other.example", True, DeliveryState.RETRY),
            ("hooks.example", False, DeliveryState.RETRY),
        ],
    )
    def test_the_certificate_must_be_for_the_name_and_from_a_trusted_authority(
        self,
        bench: Bench,
        certificate: tuple[Path, Path],
        name: str,
        trusted: bool,
        state: DeliveryState,
    ) -> None:
        with Receiver(certificate) as receiver:
            notifier = bench.notifier(
                "webhook",
                f"https://{name}:{receiver.port}/webhook",
                addresses=("127.0.0.1",),
                ca_file=str(certificate[0]) if trusted else "",
            )
            assert notifier.deliver(notification()).state is state
            assert len(receiver.received) == (state is DeliveryState.ACCEPTED)

    def test_certificates_that_cannot_be_read_stop_the_start(self, bench: Bench) -> None:
        with pytest.raises(SettingsError, match="certificates"):
            bench.notifier("webhook", "https://hooks.example", ca_file="/nowhere/ca.pem")
