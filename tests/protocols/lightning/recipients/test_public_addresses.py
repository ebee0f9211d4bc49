"""Public addresses. Cases: IANA's special-purpose registries, and IPv6 addresses that contain an IPv4 address."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.protocols.lightning.recipients.public_addresses import PublicSockets, is_public


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.9.9.9",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00::1",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
    ],
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::101:101",
        "100::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:101:101::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_inside_of_ipv6(address: ipaddress.IPv4Address) -> None:
    assert is_public(f"::ffff:{address}") == is_public(f"64:ff9b::{address}") == is_public(str(address))


@settings(deadline=None)
@given(st.ip_addresses())
def test_nothing_is_public_that_the_standard_library_calls_private(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    mapped = address.version == 6 and int(address) >> 32 in {0xFFFF, 0x64FF9B << 64}
    if not mapped and (address.is_private or address.is_multicast or address.is_reserved or address.is_link_local):
        assert not is_public(str(address))


def info(address: str) -> tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.SOCK_STREAM, 0, "", (address, 443)


def test_sockets_are_made_for_public_addresses_alone() -> None:
    sockets = PublicSockets(this_machine_too=False)
    with sockets(info("1.1.1.1")):
        assert not sockets.has_refused
    for address in ("127.0.0.1", "::1", "10.0.0.1"):
        with pytest.raises(PermissionError):
            sockets(info(address))
    assert sockets.has_refused


def test_for_tests_this_machine_is_allowed_and_nothing_else() -> None:
    sockets = PublicSockets(this_machine_too=True)
    with sockets(info("127.0.0.1")), sockets(info("127.9.9.9")), sockets(info("1.1.1.1")):
        assert not sockets.has_refused
    for address in ("0.0.0.0", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254"):
        with pytest.raises(PermissionError):
            sockets(info(address))
