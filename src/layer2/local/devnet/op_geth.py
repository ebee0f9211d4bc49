"""An EVM node of the devnet: op-geth, alone and without peers."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from layer2.errors import NodeError, NodeRefused, NodeUnreachable
from layer2.local import processes
from layer2.local.devnet.engine_api import EngineApi
from layer2.local.devnet.genesis import L1Facts, genesis
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.local.processes import Child

__all__ = ["OpGeth"]

# By default geth listens for peers on every interface. An empty address prevents this.
_CONFIGURATION = """[Node.P2P]
ListenAddr = ""
NoDiscovery = true
MaxPeers = 0
"""


class OpGeth:
    """One op-geth.

    Args:
        layer: the layer whose chain it runs, for records and errors: ``"BOB"`` or ``"ROOTSTOCK"``.
        chain_id: the EIP-155 id that the chain's transactions are signed for.
        program: the geth to run.
        directory: its data.
        ports: where it listens on loopback: the public RPC, the Engine API.
        session: the HTTP session to use; the caller closes it.
        l1: what the chain's fees beside gas are computed from.
    """

    def __init__(
        self,
        layer: str,
        chain_id: int,
        program: Path,
        directory: Path,
        ports: tuple[int, int],
        session: aiohttp.ClientSession,
        l1: L1Facts,
    ) -> None:
        self.chain_id = chain_id
        self._l1 = l1
        self._program = program
        self._directory = directory
        self._ports = ports
        self._secret = secrets.token_bytes(32)
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.name = f"op-geth of {layer}"
        self.rpc = JsonRpc(self.name, self.url, session)
        self.engine = EngineApi(f"http://127.0.0.1:{ports[1]}", self._secret, session)

    async def start(self, timestamp: int, balances: Mapping[bytes, int]) -> Child:
        """Create the first block and start the node. Use ``wait_until_answering`` to wait for it.

        Args:
            timestamp: unix seconds of the first block.
            balances: wei by address (20 bytes).

        Raises:
            NodeError: op-geth did not create the first block.
        """
        self._directory.mkdir()
        first_block = self._directory / "genesis.json"
        first_block.write_text(json.dumps(genesis(self.chain_id, timestamp, balances, self._l1), indent=1))
        secret = self._directory / "jwt.hex"
        secret.touch(mode=0o600)
        secret.write_text(self._secret.hex())
        configuration = self._directory / "geth.toml"
        configuration.write_text(_CONFIGURATION)
        log = self._directory / "output.log"
        # An archive node needs the hash-based state scheme, from the first block on.
        # A small cache, because geth preallocates disk space in proportion to it.
        data = [f"--datadir={self._directory / 'data'}", "--state.scheme=hash", "--cache=64"]
        making = processes.start(self.name, [self._program, *data, "init", first_block], log)
        try:
            if await making.ended() != 0:
                raise NodeError(f"{self.name} did not create the first block; see {log}")
        finally:
            making.kill()
        return processes.start(
            self.name,
            [
                self._program,
                f"--config={configuration}",
                *data,
                "--gcmode=archive",
                "--syncmode=full",
                "--http",
                "--http.addr=127.0.0.1",
                f"--http.port={self._ports[0]}",
                "--http.api=eth,net,web3,debug,txpool",
                "--ws",  # With the same port for both, op-geth serves HTTP and websocket on it.
                "--ws.addr=127.0.0.1",
                f"--ws.port={self._ports[0]}",
                "--ws.api=eth",
                "--authrpc.addr=127.0.0.1",
                f"--authrpc.port={self._ports[1]}",
                f"--authrpc.jwtsecret={secret}",
                "--nodiscover",
                "--maxpeers=0",
                "--nat=none",
                "--ipcdisable",
                "--rollup.disabletxpoolgossip",
                # In tests one account sends many transactions at once, and they may arrive out of order.
                "--txpool.accountqueue=4096",
                "--txpool.globalqueue=8192",
                "--verbosity=2",
            ],
            log,
        )

    async def wait_until_answering(self) -> None:
        """Wait until the node answers calls."""
        while True:
            try:
                await self.rpc.call("eth_chainId")
            except (NodeUnreachable, NodeRefused):
                await asyncio.sleep(0.05)
            else:
                return
