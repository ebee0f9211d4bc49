"""The embedded Lightning network of a simnet: two nodes with channels, each behind its own REST server.

It holds no money and connects to no other network. The nodes are one state machine in this process; their state is
lost when it ends.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from layer2.errors import InvalidRequest
from layer2.local.network import LightningNode
from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.faults import FaultKind
from layer2.local.simnet.lightning.channel import Side
from layer2.local.simnet.lightning.identity import LightningIdentity
from layer2.local.simnet.lightning.ledger import Ledger
from layer2.local.simnet.lightning.node import SimulatedNode
from layer2.local.simnet.lightning.rest import LightningRestServer
from layer2.local.simnet.lightning.streams import StateFeed

__all__ = ["LightningSimulation"]

START_HEIGHT = 800
CHANNEL_HEIGHT = START_HEIGHT - 100
_EXPIRY_CHECK_SECONDS = 0.1


class LightningSimulation:
    """Two Lightning nodes that behave like lnd 0.21, with channels of 10,000,000 sat, half on each side.

    Args:
        seed: the source of all secrets and random values. Use it only with test money.
        clock: the time in invoices and answers; it also determines when invoices expire.
        directory: for certificates, keys and macaroons.
        channels: the number of channels. Each carries 483 payments at once from each side.
    """

    def __init__(self, seed: bytes, clock: SimClock, directory: Path, channels: int = 1) -> None:
        self._seed = seed
        self._clock = clock
        self._directory = directory
        self._channels = channels
        self._ledger = Ledger(START_HEIGHT, channels)
        self._feed = StateFeed(self._ledger)
        self._nodes: dict[Side, SimulatedNode] = {}
        self._servers: dict[Side, LightningRestServer] = {}
        self._ports: dict[Side, int] = {}
        self._watcher: asyncio.Task[None] | None = None

    @property
    def height(self) -> int:
        """The Bitcoin height that both nodes report."""
        return self._ledger.height

    async def start(self) -> tuple[LightningNode, LightningNode]:
        """Serve both nodes on loopback and return the connection details of the taker's and the provider's."""
        self._directory.mkdir(parents=True, exist_ok=True)
        taker, provider = [await self._start_node(side) for side in (Side.TAKER, Side.PROVIDER)]
        self._watcher = asyncio.create_task(self._watch_expiries())
        return taker, provider

    async def _start_node(self, side: Side) -> LightningNode:
        identity = LightningIdentity(self._seed, side, CHANNEL_HEIGHT, self._channels)
        directory = self._directory_of(side)
        directory.mkdir(exist_ok=True)
        macaroon = b"".join(identity.secret(f"macaroon {part}") for part in range(4))
        _write_secret(directory / "admin.macaroon", macaroon)
        node = SimulatedNode(identity, self._ledger, self._clock)
        server = LightningRestServer(node, self._ledger, self._feed, self._clock, macaroon=macaroon)
        self._nodes[side], self._servers[side] = node, server
        _write_certificate(directory, name=f"simnet {side.value}")
        self._ports[side] = await server.start(_tls_context(directory))
        return LightningNode(
            rest_url=f"https://127.0.0.1:{self._ports[side]}",
            certificate_file=str(directory / "tls.cert"),
            macaroon_file=str(directory / "admin.macaroon"),
            node_key=identity.public_key.hex(),
        )

    async def stop(self) -> None:
        """End every stream and stop serving."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None
        for server in self._servers.values():
            await server.stop()

    async def stop_node(self, party: str) -> None:
        """Close all of one node's connections and stop serving it. Its peer's channels are inactive until it restarts.

        Raises:
            InvalidRequest: the node is not running.
        """
        server = self._servers[Side(party)]
        if not server.is_running:
            raise InvalidRequest(f"the Lightning node of the {party} is not running")
        self._ledger.channels.is_active = False
        await server.stop()

    async def start_node(self, party: str, *, new_certificate: bool) -> None:
        """Serve a stopped node again, at its address and with its state.

        Raises:
            InvalidRequest: the node is already running.
        """
        side = Side(party)
        server, directory = self._servers[side], self._directory_of(side)
        if server.is_running:
            raise InvalidRequest(f"the Lightning node of the {party} is already running")
        if new_certificate:
            _write_certificate(directory, name=f"simnet {party}")
        await server.start(_tls_context(directory), self._ports[side])
        self._ledger.channels.is_active = all(each.is_running for each in self._servers.values())

    def _directory_of(self, side: Side) -> Path:
        return self._directory / f"{side.value}-lightning"

    def reach(self, height: int) -> None:
        """Let both nodes see the Bitcoin chain at this height, and apply all expiries."""
        self._ledger.mine(max(0, height - self._ledger.height), self._clock.now())
        self._feed.wake()

    def set_fault(self, target: str, kind: str, **arguments: object) -> None:
        """Turn on a fault switch of one node; ``none`` clears all of its switches.

        Args:
            target: ``"taker_lightning"`` or ``"provider_lightning"``.
            kind: a value of ``FaultKind``.
            arguments: the kind's arguments, such as ``path`` (a prefix), ``count``, ``seconds``, ``status``.

        Raises:
            InvalidRequest: the target or kind is unknown, or the kind does not take one of the arguments.
        """
        side = {"taker_lightning": Side.TAKER, "provider_lightning": Side.PROVIDER}.get(target)
        if side is None:
            raise InvalidRequest(
                f"unknown target {target!r}: it is bob, rootstock, taker_lightning or provider_lightning"
            )
        payments, server = self._nodes[side].payments, self._servers[side]
        fault = server.faults.set(kind, **arguments)
        match fault.kind:
            case FaultKind.DOWN:
                server.reset_connections()
            case FaultKind.HOLD_PAYMENTS:
                self._ledger.hold_payments(side)
            case FaultKind.FAIL_PAYMENTS:
                payments.failing = fault.reason
            case FaultKind.SPLIT_PAYMENTS:
                payments.parts = fault.parts
            case FaultKind.NONE:
                payments.failing, payments.parts = None, 1
                self._ledger.release_payments(side, self._clock.now())
            case _:
                pass  # The server applies the others itself.
        self._feed.wake()

    def status(self) -> dict[str, dict[str, object]]:
        """Each node's balances, HTLCs in flight and active faults, for display."""
        channels = self._ledger.channels
        return {
            side.value: {
                "balance_msat": channels.balance_msat(side),
                "sending_msat": channels.pending_msat(side),
                "invoices": len(self._ledger.books[side].invoices),
                "payments": len(self._ledger.books[side].payments),
                "open_requests": server.open_requests,
                "faults": server.faults.active(),
            }
            for side, server in self._servers.items()
        }

    async def _watch_expiries(self) -> None:
        # Each call applies the passage of time itself. This task does so for clients that only read a stream.
        while True:
            await asyncio.sleep(_EXPIRY_CHECK_SECONDS)
            self._ledger.pass_time(self._clock.now())
            self._feed.wake()


def _write_secret(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _tls_context(directory: Path) -> ssl.SSLContext:
    """Create a server's TLS context with the certificate in the directory."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(directory / "tls.cert", directory / "tls.key")
    return tls


def _write_certificate(directory: Path, *, name: str) -> None:
    """Create a self-signed certificate for loopback, as lnd does at its first start.

    Its key comes from the operating system's random source, not from the seed. Its validity follows the machine's
    clock, not the simulated one.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_secret(
        directory / "tls.key",
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    (directory / "tls.cert").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
