"""Where messages are never posted to."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.guard import AddressKind, choose_address, kind_of_address, resolve
from fleetmend.errors import PortError, PortRefused

PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (PUBLIC, AddressKind.PUBLIC),
        ("2606:2800:220:1::1", AddressKind.PUBLIC),
        ("127.0.0.1", AddressKind.LOOPBACK),
        ("127.8.9.1", AddressKind.LOOPBACK),
        ("::1", AddressKind.LOOPBACK),
        ("10.0.0.1", AddressKind.PRIVATE),
        ("172.31.255.255", AddressKind.PRIVATE),
        ("192.168.1.1", AddressKind.PRIVATE),
        ("fd12::1", AddressKind.PRIVATE),
        ("169.254.0.7", AddressKind.LINK_LOCAL),
        ("fe80::1", AddressKind.LINK_LOCAL),
        ("169.254.169.254", AddressKind.METADATA),
        ("fd00:ec2::254", AddressKind.METADATA),
        ("100.100.100.200", AddressKind.METADATA),
        ("100.64.0.1", AddressKind.OTHER),
        ("::", AddressKind.OTHER),
        ("224.0.0.1", AddressKind.OTHER),
        ("255.255.255.255", AddressKind.OTHER),
        ("::ffff:169.254.169.254", AddressKind.METADATA),
        ("::ffff:10.0.0.1", AddressKind.PRIVATE),
        ("2002:a9fe:a9fe::1", AddressKind.METADATA),
        ("64:ff9b::7f00:1", AddressKind.LOOPBACK),
    ],
)
def test_addresses_are_told_apart(address: str, kind: AddressKind) -> None:
    assert kind_of_address(ip_address(address)) is kind


def test_one_bad_address_among_good_ones_is_enough_to_refuse() -> None:
    """A name that resolves to both would reach the bad one sooner or later."""
    with pytest.raises(PortRefused, match="metadata"):
        choose_address([PUBLIC, "169.254.169.254"], scheme="https", networks=())


def test_plain_http_is_for_named_networks_only() -> None:
    with pytest.raises(PortRefused, match="http"):
        choose_address([PUBLIC], scheme="http", networks=())

    network = ip_network("10.1.0.0/16")
    assert choose_address(["10.1.2.3"], scheme="http", networks=[network]) == "10.1.2.3"
    with pytest.raises(PortRefused, match="private"):
        choose_address(["10.2.2.3"], scheme="https", networks=[network])


def test_a_name_without_address_is_tried_again() -> None:
    with pytest.raises(PortError):
        choose_address([], scheme="https", networks=())
    with pytest.raises(PortError, match="cannot be resolved"):
        resolve("a" * 70 + ".invalid", 443)  # a label of more than 63 characters asks nobody


@given(st.ip_addresses(), st.lists(st.ip_addresses(), max_size=3))
def test_without_named_networks_only_public_addresses_pass(
    first: object, rest: list[object]
) -> None:
    addresses = [str(address) for address in (first, *rest)]
    public = all(
        kind_of_address(ip_address(address)) is AddressKind.PUBLIC for address in addresses
    )
    if public:
        assert choose_address(addresses, scheme="https", networks=()) == addresses[0]
    else:
        with pytest.raises(PortRefused):
            choose_address(addresses, scheme="https", networks=())
