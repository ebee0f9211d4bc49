"""The devnet's Bitcoin node: btcd on regtest. Its only peers are the parties' wallets, which read filters."""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from layer2.errors import InvalidRequest, NodeUnreachable
from layer2.formats import segwit_address
from layer2.formats.bitcoin_block import BitcoinBlock, decode_block
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxIn, TxOut, decode_transaction
from layer2.local import processes
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.local.network import LocalBitcoin
from layer2.local.processes import Child
from layer2.local.regtest_blocks import ANYONE, ANYONE_WITNESS

__all__ = ["FIRST_BLOCKS", "BitcoinNode"]

FIRST_BLOCKS = 130
"""Blocks mined at the start of a network, so that the first reward can be spent."""

_MOST_EMPTY = 10
"""Empty blocks that the status counts."""
_REWARD = 50 * 10**8
_FEE = 10_000


class BitcoinNode:
    """One btcd.

    Args:
        program: the btcd to run.
        directory: its data.
        ports: where it listens on loopback: RPC, peers.
        session: the HTTP session to use; the caller closes it.
    """

    def __init__(self, program: Path, directory: Path, ports: tuple[int, int], session: aiohttp.ClientSession) -> None:
        self._program = program
        self._directory = directory
        self._session = session
        self.rpc_host, self.peer_address = (f"127.0.0.1:{port}" for port in ports)
        self.user = "devnet"
        self.password = secrets.token_hex(16)
        self.certificate = directory / "rpc.cert"
        self._rpc: JsonRpc | None = None

    def start(self) -> Child:
        """Start the node and return at once. Use ``wait_until_answering`` to wait for it."""
        self._directory.mkdir()
        # The password goes to a separate file, because every user of the machine can read a command line.
        configuration = self._directory / "btcd.conf"
        configuration.touch(mode=0o600)
        rewarded = segwit_address.encode_script("bcrt", ANYONE)
        configuration.write_text(
            f"[Application Options]\nrpcuser={self.user}\nrpcpass={self.password}\nminingaddr={rewarded}\n"
        )
        return processes.start(
            "btcd",
            [
                self._program,
                "--regtest",
                f"--configfile={configuration}",
                f"--datadir={self._directory / 'data'}",
                f"--logdir={self._directory / 'logs'}",
                f"--rpccert={self.certificate}",
                f"--rpckey={self._directory / 'rpc.key'}",
                f"--rpclisten={self.rpc_host}",
                f"--listen={self.peer_address}",
                # Two parties, their command lines, the miner and the tests ask at the same time; btcd's default is 10.
                "--rpcmaxclients=64",
                "--nobanning",
                "--nostalldetect",
                "--txindex",
                "--rejectnonstd",
                "--trickleinterval=100ms",
                "--debuglevel=warn",
            ],
            self._directory / "output.log",
        )

    async def wait_until_answering(self) -> None:
        """Wait until the node accepts commands."""
        while True:
            try:
                await self.height()
            except (NodeUnreachable, FileNotFoundError, ssl.SSLError):
                # btcd creates the certificate's file before it has written the whole certificate.
                await asyncio.sleep(0.05)
            else:
                return

    def description(self) -> LocalBitcoin:
        """Its connection details."""
        return LocalBitcoin(
            rpc_url=f"https://{self.user}:{self.password}@{self.rpc_host}",
            rpc_certificate_file=str(self.certificate),
            filter_peer=self.peer_address,
        )

    async def fund(self, scripts: Sequence[bytes], satoshi: int, *, reward: int) -> None:
        """Pay to each output script from the reward of a block; the remainder is the fee.

        The reward needs 100 blocks on top of it, and the payment another block to be confirmed.

        Args:
            reward: the height of its block.
        """
        block = await self._call("getblock", await self._call("getblockhash", reward))
        source = OutPoint(bytes.fromhex(block["tx"][0])[::-1], 0)
        rest = _REWARD - satoshi * len(scripts) - _FEE
        outputs = (*[TxOut(satoshi, script) for script in scripts], TxOut(rest, ANYONE))
        inputs = (TxIn(source, 0xFFFF_FFFF, b"", ANYONE_WITNESS),)
        await self._call("sendrawtransaction", Transaction(2, inputs, outputs, 0).encode().hex())

    async def height(self) -> int:
        """The number of the latest block."""
        return int(await self._call("getblockcount"))

    async def status(self) -> dict[str, object]:
        """Height and mempool, for display, and how many of the newest blocks contain only their reward."""
        height, empty = await self.height(), 0
        while empty < _MOST_EMPTY and len(decode_block(await self.block(height - empty)).transactions) == 1:
            empty += 1
        unconfirmed = len(await self._call("getrawmempool"))
        return {"height": height, "unconfirmed": unconfirmed, "empty_blocks": empty}

    async def generate(self, blocks: int) -> int:
        """Mine that many blocks and return the new height."""
        await self._call("generate", blocks)
        return await self.height()

    async def block(self, height: int) -> bytes:
        """The bytes of the block at that height."""
        return bytes.fromhex(await self._call("getblock", await self._call("getblockhash", height), 0))

    async def mempool(self) -> list[Transaction]:
        """The transactions of the mempool, each after those whose outputs it spends."""
        ids = await self._call("getrawmempool")
        waiting = [decode_transaction(bytes.fromhex(await self._call("getrawtransaction", each, 0))) for each in ids]
        ordered: list[Transaction] = []
        while waiting:
            parents = {each.hash for each in waiting}
            ready = [each for each in waiting if not any(one.prevout.tx_hash in parents for one in each.inputs)]
            ordered += ready
            waiting = [each for each in waiting if each not in ready]
        return ordered

    async def submit(self, block: BitcoinBlock) -> None:
        """Give a block to the node.

        Raises:
            InvalidRequest: the node refuses it.
        """
        refusal = await self._call("submitblock", block.encode().hex())
        if refusal is not None:
            raise InvalidRequest(f"the node refused the block: {refusal}")

    async def _call(self, method: str, *parameters: object) -> Any:
        if self._rpc is None:
            credentials = base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")
            self._rpc = JsonRpc(
                "btcd",
                f"https://{self.rpc_host}",
                self._session,
                headers=lambda: {"Authorization": f"Basic {credentials}"},
                tls=ssl.create_default_context(cafile=self.certificate),
            )
        return await self._rpc.call(method, *parameters)
