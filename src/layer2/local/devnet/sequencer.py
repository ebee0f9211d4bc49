"""The sequencer of a chain of the devnet: when a block comes, what time it shows, which branch is the chain.

op-geth executes; everything that op-node would decide is decided here, through the Engine API. Heads are real:
``safe`` and ``finalized`` are the node's own, and a reorganisation is a branch that the node switches to.

Block times: a transaction makes a block at once when the chain's clock has moved on since the last block, so at
most one block a second; without transactions a block comes every two seconds. A block that is asked for comes at
once, and takes the chain's clock with it where it must.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layer2.errors import InvalidRequest
from layer2.local.devnet import genesis
from layer2.local.devnet.engine_api import EngineApi, Forkchoice
from layer2.local.devnet.json_rpc import JsonRpc

__all__ = ["FINALIZED_LAG", "SAFE_LAG", "Block", "Sequencer"]

SAFE_LAG = 2
"""Blocks by which ``safe`` follows the head, unless it is held."""
FINALIZED_LAG = 4
"""Blocks by which ``finalized`` follows the head, unless it is held."""

_IDLE_BLOCK_SECONDS = 2
_BUILDING_PAUSE = 0.05
# The node builds on until it is asked for the block, and takes about 0.1 ms for each transaction.
_BUILDING_PAUSE_PER_TRANSACTION = 0.0005
_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the chain, as far as its sequencer remembers it."""

    number: int
    hash: str
    timestamp: int


class Sequencer:
    """Drives one op-geth. One operation at a time; each returns when the node shows its effect.

    Args:
        rpc: the node's public endpoint.
        engine: its authenticated one.
    """

    def __init__(self, rpc: JsonRpc, engine: EngineApi) -> None:
        self._rpc = rpc
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
        """Begin at the node's first block."""
        first = await self._rpc.call("eth_getBlockByNumber", "0x0", False)
        self._chain = [Block(0, first["hash"], int(first["timestamp"], 16))]
        await self._engine.choose(self._heads())

    async def run(self) -> None:
        """Make blocks by timer and by arriving transactions while that is switched on. Runs until cancelled."""
        while True:
            await self._automatic.wait()
            async with self._turn:
                if self.automatic and await self._is_due():
                    await self._extend(self.now())
            await asyncio.sleep(_LOOK)

    async def mine(self, blocks: int) -> Block:
        """Make that many blocks now, the first with what waits in the pool.

        Raises:
            InvalidRequest: less than one block.
        """
        _at_least_one("blocks", blocks)
        async with self._turn:
            for _ in range(blocks):
                await self._extend(self.now())
            return self.head

    async def set_automatic(self, enabled: bool) -> None:
        """Switch the making of blocks by timer and by arriving transactions."""
        async with self._turn:
            if enabled:
                self._automatic.set()
            else:
                self._automatic.clear()

    async def advance_time(self, seconds: int) -> Block:
        """Move the chain's clock forward and make a block there.

        Raises:
            InvalidRequest: less than one second. The clock of a chain cannot come back.
        """
        _at_least_one("seconds", seconds)
        async with self._turn:
            self._offset += seconds
            return await self._extend(self.now())

    async def set_finality(self, safe: int | None, finalized: int | None) -> None:
        """Hold the safe and finalized heads at these heights; None lets them follow the head.

        Raises:
            InvalidRequest: not 0 <= finalized <= safe <= head.
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

    async def reorganise(self, depth: int, transactions: Sequence[str] = ()) -> Block:
        """Replace the last ``depth`` blocks by a branch of ``depth + 1``, the first with these transactions.

        The head first goes back to the branch's first block and then grows, within a fraction of a second, as a
        node's head does in a real reorganisation. The transactions of the removed blocks are in the pool again.
        A safe head that is held above the ancestor is held at the ancestor from then on.

        Raises:
            InvalidRequest: less than one block, or a finalized block would be removed.
        """
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
            # While the branch is shorter than what it replaces nothing of it can be safe.
            self._safe, self._finalized = min(self.safe, ancestor), self.finalized
            try:
                await self._branch(ancestor, depth + 1, top.timestamp + 1, transactions)
            finally:
                self._safe = None if held[0] is None else min(held[0], ancestor)
                self._finalized = held[1]
            await self._engine.choose(self._heads())
            return self.head

    async def _branch(self, ancestor: int, length: int, last_timestamp: int, transactions: Sequence[str]) -> None:
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

    async def _extend(self, timestamp: int) -> Block:
        return await self._append(max(timestamp, self.head.timestamp + 1), empty=False)

    async def _append(self, timestamp: int, *, empty: bool, transactions: Sequence[str] = ()) -> Block:
        self._built += 1
        parent = self._heads()
        payload_id = await self._engine.start_payload(parent, self._attributes(timestamp, empty, transactions))
        if not empty and (pending := await self._pending()):
            await asyncio.sleep(_BUILDING_PAUSE + pending * _BUILDING_PAUSE_PER_TRANSACTION)
        envelope = await self._engine.finish_payload(payload_id)
        payload: dict[str, Any] = envelope["executionPayload"]
        await self._engine.execute(envelope)
        block = Block(int(payload["blockNumber"], 16), payload["blockHash"], timestamp)
        self._chain.append(block)
        try:
            await self._engine.choose(self._heads())
        except BaseException:
            self._chain.pop()
            raise
        # A block asked for within the same second runs ahead of the clock; the clock follows it.
        self._offset = max(self._offset, timestamp - int(time.time()))
        return block

    def _attributes(self, timestamp: int, empty: bool, transactions: Sequence[str]) -> dict[str, Any]:
        return {
            "timestamp": hex(timestamp),
            # Random, so that a branch never comes out equal to the blocks that it replaces.
            "prevRandao": "0x" + secrets.token_hex(32),
            "suggestedFeeRecipient": genesis.FEE_VAULT,
            "withdrawals": [],
            "parentBeaconBlockRoot": f"0x{self._built:064x}",
            "gasLimit": hex(genesis.BLOCK_GAS_LIMIT),
            "noTxPool": empty,
            "eip1559Params": genesis.EIP1559_PARAMETERS,
            "transactions": ["0x" + genesis.l1_attributes(self._built, timestamp).hex(), *transactions],
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
