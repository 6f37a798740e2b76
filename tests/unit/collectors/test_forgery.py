"""What a tenant can put into a log or a page does not become somebody else's evidence."""

import pytest

from collectors.signatures import Channel, match_line

XID = "NVRM: Xid (PCI:0000:05:00): 79, pid=1, name=x, GPU has fallen off the bus."


@pytest.mark.parametrize("stamp", ["", "[155044.078590] ", "[  130.456250] [  T1946] "])
def test_the_drivers_own_line_is_read_with_and_without_a_stamp(stamp: str) -> None:
    found = match_line(stamp + XID, Channel.KERNEL)

    assert found is not None
    assert found.fields["xid"] == 79


@pytest.mark.parametrize(
    "line",
    [
        f"a.out[42]: segfault at 0 ip 0 sp 0 error 4 in {XID}",
        f"process '{XID}' started with executable stack",
        f"[1][42]: segfault at 0 in {XID}",
    ],
)
def test_a_program_named_like_an_xid_is_none(line: str) -> None:
    """The kernel prints names that tenants choose: its own line is no proof of its content."""
    found = match_line(line, Channel.KERNEL)

    assert found is None or not found.name.startswith("xid")


OOM = "Memory cgroup out of memory: Killed process 9 (python3)"
AER = "pcieport 0000:64:02.0: AER: Uncorrected"
OFF_BUS = "has fallen off the bus"


@pytest.mark.parametrize(
    "line",
    [
        f"process '{OOM}' started with executable stack",
        f"a.out[42]: segfault at 0 ip 0 sp 0 error 4 in {AER}",
        f"traps: a.out[42] general protection fault ip:0 sp:0 error:0 in {AER}",
        f"NVRM: GPU 05:00[42]: segfault at 0 ip 0 sp 0 error 4 in {OFF_BUS}",
        "x: nfs: server 10.0.0.1 not responding",
        "x: watchdog: BUG: soft lockup - CPU#1 stuck for 23s! [x:1]",
        "oom_memcg=/INFO: task python:1 blocked for more than 122 seconds.",
        "x nvme nvme0: I/O 512 QID 7 timeout, reset controller",
        "in mlx5_core 0000:d2:00.0: Port module event: module 0, High Temperature",
        "in Detected insufficient power on the PCIe slot (27W)",
        "process 'oom-kill:constraint=X,task_memcg=/a,task=b,pid=1' started",
    ],
)
def test_words_of_the_kernel_in_a_name_that_a_tenant_chose_are_nothing(line: str) -> None:
    for stamp in ("", "[155044.078590] "):
        assert match_line(stamp + line, Channel.KERNEL) is None


@pytest.mark.parametrize("line", ["[  1.5] watchdog: ", "NMI watchdog: ", ""])
def test_the_kernels_own_beginnings_are_known(line: str) -> None:
    found = match_line(line + "BUG: soft lockup - CPU#1 stuck for 23s! [x y:1]", Channel.KERNEL)

    assert found is not None
    assert found.name == "soft_lockup"


def test_a_crash_in_nccl_is_told_of_a_thread_whose_name_has_spaces() -> None:
    crash = "NCCL I/O Thr[42]: segfault at 7f ip 0 sp 0 error 4 in libnccl.so.2[7f+1]"
    found = match_line(crash, Channel.KERNEL)

    assert found is not None
    assert found.name == "nccl_segfault"
