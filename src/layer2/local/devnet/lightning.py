"""The devnet's Lightning nodes: lnd, controlled through its REST interface with TLS and macaroons."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from layer2.errors import NodeRefused, NodeUnreachable, Outcome
from layer2.local import processes
from layer2.local.devnet.bitcoin import BitcoinNode
from layer2.local.network import LightningNode
from layer2.local.processes import Child

__all__ = ["Lnd"]


class Lnd:
    """One lnd.

    Args:
        name: the party that owns it, for errors and records.
        program: the lnd to run.
        directory: its data.
        ports: where it listens on loopback: REST, gRPC, peers.
        session: the HTTP session to use; the caller closes it.
    """

    def __init__(
        self,
        name: str,
        program: Path,
        directory: Path,
        ports: tuple[int, int, int],
        session: aiohttp.ClientSession,
    ) -> None:
        self.name = name
        self._program = program
        self._directory = directory
        self._rest, self._grpc, self.peer_address = (f"127.0.0.1:{port}" for port in ports)
        self._session = session
        self._certificate = directory / "tls.cert"
        self._macaroon = directory / "admin.macaroon"
        self._client_macaroon = directory / "layer2.macaroon"
        self._tls: ssl.SSLContext | None = None
        self.child: Child | None = None
        """Its process, from ``start`` until it is ended."""
        self.node_key = ""

    def description(self) -> LightningNode:
        """The address and credentials for clients."""
        return LightningNode(
            rest_url=f"https://{self._rest}",
            certificate_file=str(self._certificate),
            macaroon_file=str(self._client_macaroon),
            node_key=self.node_key,
        )

    def start(self, bitcoin: BitcoinNode) -> Child:
        """Start the node with its existing data, if any. Use ``wait_until_answering`` to wait for it."""
        self._directory.mkdir(exist_ok=True)
        # The password goes to a separate file, because every user of the machine can read a command line.
        configuration = self._directory / "lnd.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(f"[Btcd]\nbtcd.rpcuser={bitcoin.user}\nbtcd.rpcpass={bitcoin.password}\n")
        self.child = processes.start(
            f"lnd of the {self.name}",
            [
                self._program,
                f"--configfile={configuration}",
                f"--lnddir={self._directory}",
                f"--adminmacaroonpath={self._macaroon}",
                f"--tlscertpath={self._certificate}",
                f"--alias={self.name}",
                "--bitcoin.regtest",
                "--bitcoin.node=btcd",
                f"--btcd.rpchost={bitcoin.rpc_host}",
                f"--btcd.rpccert={bitcoin.certificate}",
                f"--restlisten={self._rest}",
                f"--rpclisten={self._grpc}",
                f"--listen={self.peer_address}",
                "--noseedbackup",
                "--nobootstrap",
                "--bitcoin.defaultchanconfs=1",
                # The delay after a force-close. lnd's default would be up to two weeks of blocks.
                "--bitcoin.defaultremotedelay=144",
                "--trickledelay=50",
                "--accept-keysend",
                "--debuglevel=off",
            ],
            self._directory / "output.log",
        )
        return self.child

    def kill(self) -> None:
        """Kill the process with ``SIGKILL``. Its data stays."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    def forget_certificate(self) -> None:
        """Delete the certificate, so that the next start makes a new one."""
        for name in ("tls.cert", "tls.key"):
            (self._directory / name).unlink()
        self._tls = None

    async def wait_until_answering(self) -> None:
        """Wait until the node accepts all commands, and read its public key."""
        while True:
            try:
                if (await self._get("/v1/state"))["state"] == "SERVER_ACTIVE":
                    break
            except (NodeUnreachable, NodeRefused, FileNotFoundError, ssl.SSLError):
                # lnd creates its files, then writes them, then opens its interface, and only then accepts commands.
                pass
            await asyncio.sleep(0.05)
        self.node_key = (await self._get("/v1/getinfo"))["identity_pubkey"]

    async def wait_until_synced(self, height: int) -> None:
        """Wait until the node and its wallet have processed that Bitcoin block."""
        while True:
            information = await self._get("/v1/getinfo")
            if information["synced_to_chain"] and information["block_height"] >= height:
                return
            await asyncio.sleep(0.05)

    async def new_address(self) -> str:
        """Return an unused address of the node's wallet (P2WPKH)."""
        return str((await self._get("/v1/newaddress?type=0"))["address"])

    async def confirmed_balance(self) -> int:
        """Spendable on-chain balance, in satoshi."""
        return int((await self._get("/v1/balance/blockchain"))["confirmed_balance"])

    async def wait_until_funded(self, satoshi: int) -> None:
        """Wait until the wallet's confirmed balance reaches that amount."""
        while True:
            if await self.confirmed_balance() >= satoshi:
                return
            await asyncio.sleep(0.05)

    async def channel_balances(self) -> tuple[int, int]:
        """Local and remote balance of all open channels, in satoshi."""
        balance = await self._get("/v1/balance/channels")
        return int(balance["local_balance"]["sat"]), int(balance["remote_balance"]["sat"])

    async def bake_macaroon(self, permissions: Iterable[str]) -> None:
        """Create a macaroon with only these permissions, and write it to the path in the network's description.

        Args:
            permissions: ``ENTITY:ACTION``, as lncli takes them.
        """
        asked = [dict(zip(("entity", "action"), permission.split(":", 1), strict=True)) for permission in permissions]
        macaroon = bytes.fromhex((await self._post("/v1/macaroon", permissions=asked))["macaroon"])
        self._client_macaroon.touch(mode=0o600)
        self._client_macaroon.write_bytes(macaroon)

    async def is_connected_to(self, other: Lnd) -> bool:
        """Whether the other node is a connected peer."""
        peers = (await self._get("/v1/peers"))["peers"]
        return any(peer["pub_key"] == other.node_key for peer in peers)

    async def wait_until_lost(self, other: Lnd) -> None:
        """Wait until the other node is not a connected peer."""
        while True:
            if not await self.is_connected_to(other):
                return
            await asyncio.sleep(0.02)

    async def has_inactive_channel(self) -> bool:
        """Whether one of its open channels is inactive."""
        return bool((await self._get("/v1/channels?inactive_only=true"))["channels"])

    async def wait_until_active(self, channels: int) -> None:
        """Wait until that many channels are active."""
        while True:
            if len((await self._get("/v1/channels?active_only=true"))["channels"]) >= channels:
                return
            await asyncio.sleep(0.05)

    async def connect(self, other: Lnd) -> None:
        """Connect to another node."""
        await self._post("/v1/peers", addr={"pubkey": other.node_key, "host": other.peer_address}, timeout="10")

    async def open_channel(self, other: Lnd, satoshi: int, pushed: int) -> None:
        """Open a channel to a connected node and push a part to it. Returns when the funding is in the mempool."""
        await self._post(
            "/v1/channels",
            node_pubkey_string=other.node_key,
            local_funding_amount=str(satoshi),
            push_sat=str(pushed),
            sat_per_vbyte="2",
        )

    async def create_invoice(self, satoshi: int, memo: str) -> str:
        """Create a plain invoice and return it as a BOLT 11 string."""
        return str((await self._post("/v1/invoices", value=str(satoshi), memo=memo))["payment_request"])

    async def pay(self, invoice: str) -> str:
        """Try to pay an invoice once; returns ``SUCCEEDED`` or the node's reason for the failure."""
        body = {"payment_request": invoice, "timeout_seconds": 10, "fee_limit_sat": "0", "no_inflight_updates": True}
        result = (await self._post("/v2/router/send", **body))["result"]
        return str(result["status"] if result["status"] == "SUCCEEDED" else result["failure_reason"])

    async def _get(self, path: str) -> Any:
        return await self._call("GET", path, None)

    async def _post(self, path: str, **body: object) -> Any:
        return await self._call("POST", path, body)

    async def _call(self, method: str, path: str, body: dict[str, object] | None) -> Any:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._certificate)
        headers = {"Grpc-Metadata-macaroon": self._macaroon.read_bytes().hex()}
        try:
            async with self._session.request(
                method,
                f"https://{self._rest}{path}",
                data=None if body is None else orjson.dumps(body),
                headers=headers,
                ssl=self._tls,
                timeout=aiohttp.ClientTimeout(total=30),
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NodeUnreachable(
                f"lnd of the {self.name} does not answer: {type(error).__name__}",
                operation=path,
                outcome=Outcome.UNKNOWN,
            ) from error
        if response.status != 200:
            raise NodeRefused(
                f"lnd of the {self.name} refused {path}: {content.decode(errors='replace').strip()}",
                node_code=response.status,
                operation=path,
            )
        return orjson.loads(content)
