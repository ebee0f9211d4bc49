"""The sequencer of a devnet chain. It decides when a block is made, its timestamp, and which branch is the chain.

op-geth executes the blocks. This module takes the place of op-node, through the Engine API. Heads are real:
``safe`` and ``finalized`` are the node's own, and a reorganisation is a branch that the node switches to.

Block times: a transaction triggers a block at once if the chain's clock has advanced since the last block, so at
most one block a second. Without transactions, a block is made every two seconds. A requested block is made at
once, and advances the chain's clock if necessary.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from layer2.errors import InvalidRequest
from layer2.local.devnet import genesis
from layer2.local.devnet.engine_api import EngineApi, Forkchoice
from layer2.local.devnet.json_rpc import JsonRpc

__all__ = ["FINALIZED_LAG", "SAFE_LAG", "Block", "Sequencer"]

SAFE_LAG = 2
"""Blocks by which ``safe`` lags behind the head, unless it is held."""
FINALIZED_LAG = 4
"""Blocks by which ``finalized`` lags behind the head, unless it is held."""

_IDLE_BLOCK_SECONDS = 2
_BUILDING_PAUSE = 0.05
# The node keeps building until the block is requested, and needs about 0.1 ms for each transaction.
_BUILDING_PAUSE_PER_TRANSACTION = 0.0005
_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class Block:
    """The facts about a block that the sequencer keeps."""

    number: int
    hash: str
    timestamp: int


class Sequencer:
    """Drives one op-geth. It runs one operation at a time; each returns when its effect is visible at the node.

    Args:
        rpc: the node's public endpoint.
        engine: the node's authenticated endpoint.
        l1: what the chain's fees beside gas are computed from.
    """

    def __init__(self, rpc: JsonRpc, engine: EngineApi, l1: genesis.L1Facts) -> None:
        self._rpc = rpc
        self._l1 = l1
        self._engine = engine
        self._chain: list[Block] = []
        self._built = 0
        self._offset = 0
        self._safe: int | None = None
        self._finalized: int | None = None
        self._automatic = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def head(self) -> Block:
        """The latest block."""
        return self._chain[-1]

    @property
    def automatic(self) -> bool:
        """Whether blocks are made by timer and by arriving transactions."""
        return self._automatic.is_set()

    @property
    def safe(self) -> int:
        """The height of the safe head."""
        wanted = self.head.number - SAFE_LAG if self._safe is None else self._safe
        return max(self.finalized, wanted)

    @property
    def finalized(self) -> int:
        """The height of the finalized head."""
        return max(0, self.head.number - FINALIZED_LAG if self._finalized is None else self._finalized)

    def now(self) -> int:
        """The chain's clock, in unix seconds."""
        return int(time.time()) + self._offset

    async def start(self) -> None:
        """Start from the node's first block."""
        first = await self._rpc.call("eth_getBlockByNumber", "0x0", False)
        self._chain = [Block(0, first["hash"], int(first["timestamp"], 16))]
        await self._engine.choose(self._heads())

    async def run(self) -> None:
        """Make blocks by timer and for arriving transactions while this is enabled. Runs until cancelled."""
        while True:
            await self._automatic.wait()
            async with self._turn:
                if self.automatic and await self._is_due():
                    await self._extend(self.now())
            await asyncio.sleep(_LOOK)

    async def mine(self, blocks: int) -> int:
        """Make that many blocks now and return the height. The first contains the pending transactions.

        Raises:
            InvalidRequest: the number is less than one.
        """
        _at_least_one("blocks", blocks)
        async with self._turn:
            for _ in range(blocks):
                await self._extend(self.now())
            return self.head.number

    async def set_automatic(self, enabled: bool) -> None:
        """Enable or disable automatic blocks, by timer and for arriving transactions."""
        async with self._turn:
            if enabled:
                self._automatic.set()
            else:
                self._automatic.clear()

    async def advance_time(self, seconds: int) -> int:
        """Move the chain's clock forward, make a block there and return its timestamp.

        Raises:
            InvalidRequest: less than one second. A chain's clock cannot go back.
        """
        _at_least_one("seconds", seconds)
        async with self._turn:
            self._offset += seconds
            await self._extend(self.now())
            return self.head.timestamp

    async def set_finality(self, safe: int | None, finalized: int | None) -> None:
        """Hold the safe and finalized heads at these heights; None lets them follow the head.

        Raises:
            InvalidRequest: the heights do not satisfy 0 <= finalized <= safe <= head.
        """
        async with self._turn:
            top = self.head.number
            for name, height in (("safe", safe), ("finalized", finalized)):
                if height is not None and not 0 <= height <= top:
                    raise InvalidRequest(f"{name} cannot be held at {height}: the head is at {top}")
            if safe is not None and finalized is not None and finalized > safe:
                raise InvalidRequest(f"finalized ({finalized}) cannot be above safe ({safe})")
            if safe is not None and finalized is None and top - FINALIZED_LAG > safe:
                raise InvalidRequest(
                    f"finalized follows the head at {top - FINALIZED_LAG} and would pass safe ({safe}): hold both"
                )
            self._safe, self._finalized = safe, finalized
            await self._engine.choose(self._heads())

    async def reorganise(
        self, depth: int, *, keep_transactions: bool = True, transactions: Sequence[bytes] = ()
    ) -> int:
        """Replace the last ``depth`` blocks by a branch of ``depth + 1`` and return the height.

        Its first block has these transactions.

        The head first moves to the branch's first block and then advances within a fraction of a second, as in a
        real reorganisation. The transactions of the removed blocks return to the pool. If the safe head is held
        above the ancestor, it is then held at the ancestor.

        Raises:
            InvalidRequest: ``depth`` is less than one, a finalized block would be removed, or ``keep_transactions`` is
                false.
        """
        if not keep_transactions:
            raise InvalidRequest(
                "op-geth puts the transactions of removed blocks back into its pool; only the simnet can forget them"
            )
        _at_least_one("depth", depth)
        async with self._turn:
            top = self.head
            ancestor = top.number - depth
            if ancestor < self.finalized:
                raise InvalidRequest(
                    f"{depth} blocks back from {top.number} is below the finalized head at {self.finalized}: "
                    "hold finalized lower first"
                )
            held = self._safe, self._finalized
            # While the branch is shorter than the removed blocks, none of it can be safe.
            self._safe, self._finalized = min(self.safe, ancestor), self.finalized
            try:
                await self._branch(ancestor, depth + 1, top.timestamp + 1, transactions)
            finally:
                self._safe = None if held[0] is None else min(held[0], ancestor)
                self._finalized = held[1]
            await self._engine.choose(self._heads())
            return self.head.number

    async def _branch(self, ancestor: int, length: int, last_timestamp: int, transactions: Sequence[bytes]) -> None:
        removed = self._chain[ancestor + 1 :]
        del self._chain[ancestor + 1 :]
        try:
            for place in range(length - 1):
                chosen = () if place else transactions
                await self._append(self.head.timestamp + 1, empty=True, transactions=chosen)
            await self._append(max(last_timestamp, self.now()), empty=True)
        except BaseException:
            if self.head.number == ancestor:
                self._chain.extend(removed)  # The node still follows the old branch.
            raise

    async def _is_due(self) -> bool:
        waited = self.now() - self.head.timestamp
        return waited >= _IDLE_BLOCK_SECONDS or (waited >= 1 and await self._pending() > 0)

    async def _pending(self) -> int:
        status = await self._rpc.call("txpool_status")
        return int(status["pending"], 16)

    async def _extend(self, timestamp: int) -> None:
        await self._append(max(timestamp, self.head.timestamp + 1), empty=False)

    async def _append(self, timestamp: int, *, empty: bool, transactions: Sequence[bytes] = ()) -> None:
        self._built += 1
        parent = self._heads()
        payload_id = await self._engine.start_payload(parent, self._attributes(timestamp, empty, transactions))
        if not empty and (pending := await self._pending()):
            await asyncio.sleep(_BUILDING_PAUSE + pending * _BUILDING_PAUSE_PER_TRANSACTION)
        block = Block(*await self._engine.finish_payload(payload_id), timestamp)
        self._chain.append(block)
        try:
            await self._engine.choose(self._heads())
        except BaseException:
            self._chain.pop()
            raise
        # A block requested within the same second is ahead of the clock, so the clock is advanced to it.
        self._offset = max(self._offset, timestamp - int(time.time()))

    def _attributes(self, timestamp: int, empty: bool, transactions: Sequence[bytes]) -> dict[str, object]:
        return {
            "timestamp": hex(timestamp),
            # Random, so that a branch always differs from the blocks that it replaces.
            "prevRandao": "0x" + secrets.token_hex(32),
            "suggestedFeeRecipient": genesis.FEE_VAULT,
            "withdrawals": [],
            "parentBeaconBlockRoot": f"0x{self._built:064x}",
            "gasLimit": hex(genesis.BLOCK_GAS_LIMIT),
            "noTxPool": empty,
            "eip1559Params": genesis.EIP1559_PARAMETERS,
            "transactions": [
                "0x" + raw.hex() for raw in (genesis.l1_attributes(self._built, timestamp, self._l1), *transactions)
            ],
        }

    def _heads(self) -> Forkchoice:
        return Forkchoice(
            head=self.head.hash,
            safe=self._chain[self.safe].hash,
            finalized=self._chain[self.finalized].hash,
        )


def _at_least_one(what: str, number: int) -> None:
    if number < 1:
        raise InvalidRequest(f"{what}: expected at least 1, not {number}")
