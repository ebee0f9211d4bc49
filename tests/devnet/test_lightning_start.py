"""The start of a real lnd without a wallet, blocks or channels: the client's errors at each step."""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from layer2.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConfigurationError,
    InsufficientFunds,
    Layer2Error,
    NodeRefused,
    NodeUnreachable,
    WrongNetwork,
)
from layer2.local import processes
from layer2.local.devnet.bitcoin import BitcoinNode
from layer2.local.devnet.install import Binaries, installed
from layer2.local.network import LocalNetwork
from layer2.local.processes import Child
from layer2.model.money import BTC
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning import LightningNetwork, LightningSettings
from memory_sends import MemorySends
from networks.parties import lightning_settings

PASSWORD = b64encode(b"a password for tests").decode()
SECONDS = 60.0


class NodeWithWallet:
    """An lnd without a wallet, on a btcd without blocks."""

    def __init__(self, binaries: Binaries, directory: Path, session: aiohttp.ClientSession) -> None:
        with ExitStack() as opened:
            sockets = [opened.enter_context(socket.socket()) for _ in range(5)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            ports = [each.getsockname()[1] for each in sockets]
        self._directory = directory
        self._session = session
        self._program = binaries.lnd
        self._rest, self._grpc, self._peers = (f"127.0.0.1:{port}" for port in ports[2:])
        self.bitcoin = BitcoinNode(binaries.btcd, directory / "btcd", (ports[0], ports[1]), session)
        self._children: list[Child] = []

    @property
    def settings(self) -> LightningSettings:
        return LightningSettings(
            rest_url=f"https://{self._rest}",
            certificate_file=str(self._directory / "tls.cert"),
            macaroon_file=str(self._directory / "admin.macaroon"),
            network="regtest",
        )

    async def start_bitcoin(self) -> None:
        self._children.append(self.bitcoin.start())
        await self.bitcoin.wait_until_answering()

    def start(self) -> Child:
        configuration = self._directory / "lnd.conf"
        configuration.write_text(f"[Btcd]\nbtcd.rpcuser={self.bitcoin.user}\nbtcd.rpcpass={self.bitcoin.password}\n")
        child = processes.start(
            "lnd with a wallet",
            [
                self._program,
                f"--configfile={configuration}",
                f"--lnddir={self._directory}",
                f"--adminmacaroonpath={self._directory / 'admin.macaroon'}",
                f"--tlscertpath={self._directory / 'tls.cert'}",
                f"--tlskeypath={self._directory / 'tls.key'}",
                "--bitcoin.regtest",
                "--bitcoin.node=btcd",
                f"--btcd.rpchost={self.bitcoin.rpc_host}",
                f"--btcd.rpccert={self.bitcoin.certificate}",
                f"--restlisten={self._rest}",
                f"--rpclisten={self._grpc}",
                f"--listen={self._peers}",
                "--nobootstrap",
                "--debuglevel=off",
            ],
            self._directory / "output.log",
        )
        self._children.append(child)
        return child

    async def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Calls without a macaroon: they create and unlock the wallet."""
        tls = ssl.create_default_context(cafile=self._directory / "tls.cert")
        url = f"https://{self._rest}{path}"
        async with self._session.request(method, url, json=body or None, ssl=tls) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer

    def kill_lnd(self) -> None:
        self._children.pop().kill()

    def kill(self) -> None:
        for child in self._children:
            child.kill()


@pytest.fixture
async def node(built_nodes: None, tmp_path: Path, session: aiohttp.ClientSession) -> AsyncIterator[NodeWithWallet]:
    binaries = installed()
    assert binaries is not None
    node = NodeWithWallet(binaries, tmp_path, session)
    try:
        await node.start_bitcoin()
        yield node
    finally:
        node.kill()


async def outcome(node: NodeWithWallet) -> Layer2Error | None:
    """The error of a client that starts now; None if it succeeds."""
    async with LightningNetwork(node.settings, MemorySends(), SystemClock()) as client:
        try:
            await client.initialize_async()
        except Layer2Error as error:
            return error
    return None


async def outcomes_until(node: NodeWithWallet, code: str | None) -> tuple[list[str], Layer2Error | None]:
    """The codes of all errors until that one, each once, and its error."""
    codes: list[str] = []
    async with asyncio.timeout(SECONDS):
        while True:
            error = await outcome(node)
            if (None if error is None else error.code) == code:
                return codes, error
            if error is not None and error.code not in codes:
                codes.append(error.code)
            await asyncio.sleep(0.02)


async def test_a_new_node_is_reported_at_each_step_of_its_start(node: NodeWithWallet, network: LocalNetwork) -> None:
    # First the certificate is missing. Then the node has no wallet, and therefore no macaroon.
    node.start()
    before, error = await outcomes_until(node, "wallet_not_created")
    assert isinstance(error, NodeRefused)
    assert error.retryable
    assert error.remedy == "create the node's wallet: lncli create"
    assert set(before) <= {ConfigurationError.code, NodeUnreachable.code, "node_starting"}

    # A wallet is created. The chain has only its first block, of 2011, so the node is not synced.
    seed = (await node.ask("GET", "/v1/genseed"))["cipher_seed_mnemonic"]
    await node.ask("POST", "/v1/initwallet", wallet_password=PASSWORD, cipher_seed_mnemonic=seed)
    before, error = await outcomes_until(node, "not_synced")
    assert isinstance(error, BadAnswer)
    assert error.retryable
    assert error.message == "lnd is not synced to the chain (height 0)"
    # Until the macaroon is written, its file cannot be read. At that time the node does not serve macaroons either.
    assert set(before) <= {"wallet_not_created", "node_starting", ConfigurationError.code, NodeUnreachable.code}

    # A restarted node waits for its owner.
    node.kill_lnd()
    assert isinstance(await outcome(node), NodeUnreachable)
    node.start()
    _, error = await outcomes_until(node, "wallet_locked")
    assert isinstance(error, NodeRefused)
    assert error.remedy == "unlock the node's wallet: lncli unlock"

    await node.bitcoin.generate(1)
    await node.ask("POST", "/v1/unlockwallet", wallet_password=PASSWORD)
    await outcomes_until(node, None)
    await no_channel(node, network)


async def no_channel(node: NodeWithWallet, network: LocalNetwork) -> None:
    """The node is usable, and its balance shows that it cannot send or receive."""
    settings = lightning_settings(network.provider)
    async with (
        LightningNetwork(node.settings, MemorySends(), SystemClock()) as client,
        LightningNetwork(settings, MemorySends(), SystemClock()) as payee,
    ):
        balance = (await client.balances_async())[BTC]
        assert (balance.spendable, balance.reserved, balance.receivable) == (0, 0, 0)
        invoice = await payee.create_invoice_async(1_000)
        for payment in (client.submit_transaction_async(invoice.text), client.transfer_asset_async(BTC, 1, "a@b.c")):
            with pytest.raises(InsufficientFunds) as caught:
                await payment
            assert (caught.value.code, caught.value.message) == (
                "no_channel",
                "none of the 0 open channels is active",
            )


async def test_a_node_is_refused_for_what_it_is_and_not_for_what_it_is_not(network: LocalNetwork) -> None:
    """Check each expectation that the real node does not meet, one at a time."""
    provider = network.provider.lightning
    right = lightning_settings(network.taker)
    cases: list[tuple[LightningSettings, type[Layer2Error], str]] = []

    def case(kind: type[Layer2Error], code: str, **changes: Any) -> None:
        cases.append((replace(right, **changes), kind, code))

    case(WrongNetwork, "wrong_network", network="signet")
    case(ConfigurationError, "node_version", minimum_version="99.0.0")
    case(AuthenticationFailed, "certificate", certificate_file=provider.certificate_file)
    case(AuthenticationFailed, "macaroon", macaroon_file=provider.macaroon_file)
    case(NodeUnreachable, "node_unreachable", rest_url="https://127.0.0.1:1")
    for settings, kind, code in cases:
        async with LightningNetwork(settings, MemorySends(), SystemClock()) as client:
            with pytest.raises(kind) as caught:
                await client.initialize_async()
            assert (caught.value.code, caught.value.protocol) == (code, "LIGHTNING")
    async with LightningNetwork(right, MemorySends(), ClockAhead()) as client:
        with pytest.raises(BadAnswer) as ahead:
            await client.initialize_async()
    assert ahead.value.code == "clock"


class ClockAhead(SystemClock):
    """A machine whose clock is two minutes ahead."""

    def now(self) -> float:
        return super().now() + 120
