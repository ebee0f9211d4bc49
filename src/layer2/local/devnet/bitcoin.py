"""The devnet's Bitcoin node: btcd on regtest, without peers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from layer2.errors import NodeUnreachable
from layer2.formats import bech32
from layer2.local import processes
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.local.processes import Child

__all__ = ["FIRST_BLOCKS", "BitcoinNode"]

FIRST_BLOCKS = 130
"""Blocks mined at the start of a network, so that the first reward can be spent."""

_ANYBODY_WITNESS = b"\x51"
_ANYBODY_SCRIPT = b"\x00\x20" + hashlib.sha256(_ANYBODY_WITNESS).digest()
_ANYBODY = bech32.encode("bcrt", b"\x00" + bech32.groups_from_bytes(_ANYBODY_SCRIPT[2:]))
"""The P2WSH address of the script OP_TRUE. Rewards go there, so they can be spent without a key or a signature."""
_REWARD = 50 * 10**8
_FEE = 10_000


class BitcoinNode:
    """One btcd.

    Args:
        program: the btcd to run.
        directory: its data.
        port: where its RPC listens on loopback; it has no port for peers.
        session: the HTTP session to use; the caller closes it.
    """

    def __init__(self, program: Path, directory: Path, port: int, session: aiohttp.ClientSession) -> None:
        self._program = program
        self._directory = directory
        self._session = session
        self.rpc_host = f"127.0.0.1:{port}"
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
        configuration.write_text(
            f"[Application Options]\nrpcuser={self.user}\nrpcpass={self.password}\nminingaddr={_ANYBODY}\n"
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
                "--nolisten",
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

    async def fund(self, addresses: Sequence[str], satoshi: int) -> None:
        """Pay to each address (P2WPKH) from the reward of the first block; the remainder is the fee.

        The reward needs 100 blocks on top of it, and the payment another block to be confirmed.
        """
        block = await self._call("getblock", await self._call("getblockhash", 1))
        reward = bytes.fromhex(block["tx"][0])[::-1] + (0).to_bytes(4, "little")
        scripts = [*map(_script_of, addresses), _ANYBODY_SCRIPT]
        amounts = [satoshi] * len(addresses)
        amounts.append(_REWARD - sum(amounts) - _FEE)
        outputs = b"".join(
            amount.to_bytes(8, "little") + bytes((len(script),)) + script
            for amount, script in zip(amounts, scripts, strict=True)
        )
        # BIP 144: version, marker and flag, one input without a script, outputs, its witness, lock time.
        transaction = (
            (2).to_bytes(4, "little")
            + b"\x00\x01"
            + (b"\x01" + reward + b"\x00" + b"\xff" * 4)
            + (bytes((len(scripts),)) + outputs)
            + (b"\x01" + bytes((len(_ANYBODY_WITNESS),)) + _ANYBODY_WITNESS)
            + bytes(4)
        )
        await self._call("sendrawtransaction", transaction.hex())

    async def height(self) -> int:
        """The number of the latest block."""
        return int(await self._call("getblockcount"))

    async def generate(self, blocks: int) -> int:
        """Mine that many blocks and return the new height."""
        await self._call("generate", blocks)
        return await self.height()

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


def _script_of(address: str) -> bytes:
    """The output script of a P2WPKH address (BIP 141, BIP 173)."""
    _, groups = bech32.decode(address)
    program = bech32.groups_to_bytes(groups[1:], name="address")
    return b"\x00" + bytes((len(program),)) + program
