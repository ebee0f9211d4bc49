"""Connections to public addresses only, checked when a socket is made.

A URL from an untrusted text is requested from inside the operator's network. A check of the name, or of one DNS answer,
would not be safe, so every address is checked when a socket is about to connect to it.
"""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from aiohttp import AddrInfoType

__all__ = ["PublicSockets", "is_public"]

_NOT_PUBLIC_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
_UNICAST_6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(
    IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet.

    ``ipaddress.is_global`` is not enough: it accepts translated addresses (NAT64), and in some versions 6to4. Both lead
    to the IPv4 address inside. Here a mapped or translated IPv4 address is checked as IPv4 (RFC 4291, 2.5.5.2;
    RFC 6052), and of IPv6 only allocated unicast is public, without tunnels.

    Sources: IANA's special-purpose address registries (RFC 6890), RFC 3056, RFC 7526, RFC 9637.
    """
    read = ipaddress.ip_address(address)
    if isinstance(read, IPv6Address) and read.ipv4_mapped is not None:
        read = read.ipv4_mapped
    elif isinstance(read, IPv6Address) and read in _NAT64:
        read = IPv4Address(read.packed[-4:])
    if isinstance(read, IPv4Address):
        return not any(read in network for network in _NOT_PUBLIC_4)
    return read in _UNICAST_6 and not any(read in network for network in _NOT_PUBLIC_6)


class PublicSockets:
    """A socket factory for aiohttp's connector that refuses addresses that are not public.

    Args:
        this_machine_too: whether loopback addresses are allowed, for tests.
    """

    def __init__(self, *, this_machine_too: bool) -> None:
        self._this_machine_too = this_machine_too
        self.has_refused = False
        """Whether an address was refused."""

    def __call__(self, info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, (address, *_) = info
        if not (is_public(str(address)) or (self._this_machine_too and _is_loopback(str(address)))):
            self.has_refused = True
            raise PermissionError("not a public address")
        return socket.socket(family, kind, protocol)


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
