"""The devnet's Bitcoin node: btcd on regtest, without peers."""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp

from layer2.devnet import processes
from layer2.devnet.json_rpc import JsonRpc
from layer2.devnet.processes import Child
from layer2.errors import NodeUnreachable

__all__ = ["BitcoinNode"]


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

    async def start(self, mining_address: str | None = None) -> Child:
        """Start the node; blocks pay to the address. Returns when it answers."""
        self._directory.mkdir(exist_ok=True)
        # The password is in a file of its own: a command line can be read by every user of the machine.
        configuration = self._directory / "btcd.conf"
        configuration.touch(mode=0o600)
        lines = ["[Application Options]", f"rpcuser={self.user}", f"rpcpass={self.password}"]
        if mining_address is not None:
            lines.append(f"miningaddr={mining_address}")
        configuration.write_text("\n".join(lines) + "\n")
        child = processes.start(
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
        while True:
            try:
                await self._call("getblockcount")
            except (NodeUnreachable, FileNotFoundError):
                await asyncio.sleep(0.05)
            else:
                return child

    async def height(self) -> int:
        """The number of the latest block."""
        return int(await self._call("getblockcount"))

    async def generate(self, blocks: int) -> int:
        """Make that many blocks and return the new height."""
        await self._call("generate", blocks)
        return await self.height()

    async def _call(self, method: str, *parameters: int) -> int:
        if self._rpc is None:
            self._rpc = JsonRpc(
                "btcd",
                f"https://{self.rpc_host}",
                self._session,
                headers=self._headers(),
                tls=ssl.create_default_context(cafile=self.certificate),
            )
        answer: int = await self._rpc.call(method, *parameters)
        return answer

    def _headers(self) -> Callable[[], dict[str, str]]:
        credentials = base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")
        return lambda: {"Authorization": f"Basic {credentials}"}
