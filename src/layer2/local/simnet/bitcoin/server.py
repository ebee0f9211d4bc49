"""simnet's Bitcoin chain as a running part of the network: its server, its controls and the parties' wallets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from layer2.errors import InvalidRequest
from layer2.formats.bitcoin_transaction import REPLACEABLE, OutPoint, Transaction, TxIn, TxOut, decode_transaction
from layer2.local.network import LocalBitcoin
from layer2.local.simnet.bitcoin.chain import ANYONE, ANYONE_WITNESS, MATURITY
from layer2.local.simnet.bitcoin.esplora import esplora_application
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.local.simnet.clock import SimClock

__all__ = ["BitcoinSimulation"]

_BLOCK_SECONDS: Final = 600


class BitcoinSimulation:
    """The chain on whose height the Lightning nodes run.

    Args:
        clock: block times follow it.
        height: blocks at the start.
        on_height: called with the new height after every change.
    """

    def __init__(self, clock: SimClock, height: int, on_height: Callable[[int], None]) -> None:
        self.node = BitcoinNode(clock, on_height)
        self.node.mine_history(height, _BLOCK_SECONDS)
        self._runner = web.AppRunner(esplora_application(self.node), access_log=None, shutdown_timeout=0.1)
        self._rewards = 0

    async def start(self) -> LocalBitcoin:
        """Serve Esplora on a free port of 127.0.0.1."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return LocalBitcoin(esplora_url=f"http://{host}:{port}")

    async def stop(self) -> None:
        """Close the port and every connection."""
        await self._runner.cleanup()

    def pay(self, scripts: Sequence[bytes], amount: int) -> None:
        """Pay to each script from a reward, in one new block.

        Args:
            amount: satoshi for each.
        """
        self._rewards += 1
        assert self.node.chain.height - self._rewards >= MATURITY
        reward = self.node.chain.blocks[self._rewards].block.transactions[0]
        outputs = [TxOut(amount, script) for script in scripts]
        rest = reward.outputs[0].amount - amount * len(outputs) - 10_000
        inputs = (TxIn(OutPoint(reward.hash, 0), REPLACEABLE, b"", ANYONE_WITNESS),)
        self.node.mine(1, [Transaction(2, inputs, (*outputs, TxOut(rest, ANYONE)), 0)])

    async def mine(self, blocks: int) -> int:
        """Make blocks of what the mempool contains, and return the height."""
        return self.node.mine(blocks)

    async def set_automatic(self, enabled: bool) -> None:
        """Refuse: blocks are made on demand.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest("simnet makes Bitcoin blocks on demand only")

    async def advance_time(self, seconds: int) -> int:
        """Make a block whose time, and that of those before it, is later, and return the median time past."""
        return self.node.advance_time(seconds)

    async def set_finality(self, safe: int | None, finalized: int | None) -> None:
        """Refuse: Bitcoin has no finalized heads.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest("Bitcoin has no safe and finalized heads")

    async def reorganise(self, depth: int, *, keep_transactions: bool, transactions: Sequence[bytes]) -> int:
        """Replace the last blocks by a branch that is one block longer, and return the height."""
        return self.node.reorganise(depth, keep_transactions, [decode_transaction(raw) for raw in transactions])

    def status(self) -> dict[str, object]:
        """Height, tip and mempool, for display, and how many of the newest blocks contain only their reward."""
        return {
            "height": self.node.chain.height,
            "tip": self.node.chain.tip.block.header.id,
            "unconfirmed": len(self.node.mempool.entries),
            "empty_blocks": self.node.empty_blocks,
            "min_fee_rate": self.node.least_rate,
        }
