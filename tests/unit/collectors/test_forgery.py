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
