"""Where a notification may be posted to: never inwards, unless settings name the network.

A receiver's address is set by an operator, but its name is resolved by somebody else: without this
check it could be made to point at the metadata service of the cloud or at a database next door
(server-side request forgery). The address that was checked is the one that is connected to.
"""

import socket
from collections.abc import Callable, Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from fleetmend.errors import PortError, PortRefused

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]
Resolve = Callable[[str, int], Sequence[str]]
"""Host and port to addresses. Raises PortError."""

_METADATA = frozenset(
    ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200")
)
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 behind NAT64 (RFC 6052): the last 32 bits are the address that is reached."""


class AddressKind(StrEnum):
    """What kind of place an address is."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    LINK_LOCAL = "link_local"
    METADATA = "metadata"
    OTHER = "other"
    """Multicast, unspecified, reserved, shared."""


def kind_of_address(address: Address) -> AddressKind:
    """What an address is, after taking IPv4 out of IPv6."""
    address = _unwrapped(address)
    if address in _METADATA:
        return AddressKind.METADATA
    if address.is_loopback:
        return AddressKind.LOOPBACK
    if address.is_link_local:
        return AddressKind.LINK_LOCAL
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return AddressKind.OTHER
    if address.is_global:
        return AddressKind.PUBLIC
    return AddressKind.PRIVATE if address.is_private else AddressKind.OTHER


def choose_address(addresses: Sequence[str], *, scheme: str, networks: Networks) -> str:
    """The address to connect to. Raises PortRefused when any of them is a place that must not be
    posted to, or when `http` would carry the message over a public network."""
    if not addresses:
        raise PortError("the receiver's name has no address")
    for text in addresses:
        address = _unwrapped(ip_address(text.partition("%")[0]))
        kind = kind_of_address(address)
        if any(address.version == net.version and address in net for net in networks):
            continue
        if kind is not AddressKind.PUBLIC:
            raise PortRefused(
                f"{address} is not a public address ({kind.value})",
                fix="If it is meant, add its network to `networks` of the receiver.",
            )
        if scheme != "https":
            raise PortRefused(
                "plain http to a public address", fix="Use https, or name its network."
            )
    return addresses[0]


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a name, by the system. Raises PortError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise PortError("the receiver's name cannot be resolved", where=host[:100]) from error
    return [str(entry[4][0]) for entry in found]


def _unwrapped(address: Address) -> Address:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _TRANSLATED:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
