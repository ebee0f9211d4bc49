"""Which addresses belong to the public internet, judged at the moment of connecting.

What a stranger's URL leads to is asked from inside the operator's own network. So it is not the name that is judged,
nor the first answer about it, but each address that a socket is about to be connected to.
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
    """Whether an address is one of the public internet.

    ``ipaddress.is_global`` is not enough: some versions of it take 6to4, and all take translated addresses (NAT64), for
    global, which lead to whatever IPv4 address is inside. Here a mapped or translated IPv4 address is judged as itself
    (RFC 4291, 2.5.5.2; RFC 6052), and of IPv6 only allocated unicast counts, without tunnels.

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
    """Makes sockets (for aiohttp's connector) for public addresses alone.

    Args:
        this_machine_too: whether loopback addresses are allowed, for tests.
    """

    def __init__(self, *, this_machine_too: bool) -> None:
        self._this_machine_too = this_machine_too
        self.has_refused = False
        """Whether some address was not allowed."""

    def __call__(self, info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, (address, *_) = info
        if not (is_public(str(address)) or (self._this_machine_too and _is_loopback(str(address)))):
            self.has_refused = True
            raise PermissionError("not a public address")
        return socket.socket(family, kind, protocol)


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
