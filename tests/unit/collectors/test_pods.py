"""Control groups name pods; a hostile answer of the kubelet is refused, never a crash."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.pod_resources import PodRef, parse_holders
from collectors.pods import pod_uid
from fleetmend.errors import BadInput
from tests.contract.agent.kubelet import pod

UID = "0f3c1f0e-5a52-4f0c-9d39-2f1c0c6a5a11"
CGROUPS = {
    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
    + UID.replace("-", "_")
    + ".slice/cri-containerd-ab.scope": UID,
    f"11:memory:/kubepods/besteffort/pod{UID}/ab12": UID,
    "0::/kubepods.slice/kubepods-podd41d8cd98f00b204e9800998ecf8427e.slice/x.scope": (
        "d41d8cd98f00b204e9800998ecf8427e"
    ),
    "0::/user.slice/user-1000.slice/session-2.scope": "",
    "0::/system.slice/docker-ab.scope": "",
}


@pytest.mark.parametrize(("text", "uid"), CGROUPS.items())
def test_a_control_group_names_its_pod(tmp_path: Path, text: str, uid: str) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "cgroup").write_text(text + "\n")

    assert pod_uid(42, proc=tmp_path) == uid


def test_a_process_that_is_gone_belongs_to_nobody(tmp_path: Path) -> None:
    assert pod_uid(42, proc=tmp_path) == ""


@given(message=st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_holders_or_bad_input(message: bytes) -> None:
    with contextlib.suppress(BadInput):
        assert isinstance(parse_holders(message), dict)


def test_who_shares_a_gpu_is_named_once_and_in_the_order_told() -> None:
    told = [pod("lab", name, ["GPU-1::0", "GPU-1::1"]) for name in ("b", "a", "b")]
    message = b"".join(told)

    assert [ref.pod for ref in parse_holders(message)["GPU-1"]] == ["b", "a"]


def test_a_device_shared_by_ten_thousand_is_read_without_comparing_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared, equal = 0, PodRef.__eq__

    def counted(self: PodRef, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(self, other)

    monkeypatch.setattr(PodRef, "__eq__", counted)
    message = b"".join(pod("n", f"p{number}", ["GPU-1"]) for number in range(10_000))

    assert len(parse_holders(message)["GPU-1"]) == 10_000
    assert compared < 1000


def test_an_answer_that_names_devices_without_end_is_refused() -> None:
    with pytest.raises(BadInput, match="shares"):
        parse_holders(pod("n", "p", ["GPU-1"] * 70_000))
