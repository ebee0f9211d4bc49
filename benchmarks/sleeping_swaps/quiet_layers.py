"""Layers of locks at a node in memory: the library's own reading, following and reserving, without HTTP.

Every lock exists and is old. Blocks arrive, and none has an event.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, cast

from layer2.contracts.htlc import LockStatus, status_call
from layer2.formats.evm_header import EvmHeader
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc, LegOffer
from layer2.legs.views import ActStatus, ClockReading, LegView, OfferRequest, Side, Verb
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Preimage
from layer2.ports.journal import Json
from layer2.ports.legs import HtlcLayer, LegListener
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.locks.events import LockEvents
from layer2.protocols.evm.locks.gas_reserves import GasReserves
from layer2.protocols.evm.locks.observation import Locks
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["QuietLocks"]

_STATUS: Final = status_call(bytes(32))[:4]
_BLOCK_SECONDS: Final = 2.0
_KEPT_BLOCKS: Final = 100
_FIRST: Final = 1_000_000
"""Its height leaves old blocks to be older than the search for events."""


class _QuietNode:
    """A node whose chain has only locks from before its first block."""

    format = None

    def __init__(self) -> None:
        self._blocks = [self._block(_FIRST, bytes(32))]
        self.heads = _Heads(self)

    def newest(self) -> NodeBlock:
        """The newest block, after a new one if it is time for one."""
        newest = self._blocks[-1]
        if time.time() - newest.timestamp >= _BLOCK_SECONDS:
            self._blocks.append(self._block(newest.number + 1, newest.hash))
            del self._blocks[:-_KEPT_BLOCKS]
        return self._blocks[-1]

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"no swap that sleeps asks for {name}")

    async def expect_chain(self, _: int) -> None:
        return

    async def block(self, which: int | bytes) -> NodeBlock:
        number = which if isinstance(which, int) else self._blocks[-1].number
        return self._blocks[max(0, min(number - self._blocks[0].number, len(self._blocks) - 1))]

    async def call(self, _: bytes, data: bytes, *, at: bytes) -> bytes:
        await asyncio.sleep(0)
        return (LockStatus.LOCKED.value if data[:4] == _STATUS else 0).to_bytes(32)

    async def logs(self, *_: object) -> list[object]:
        return []

    @staticmethod
    def _block(number: int, parent: bytes) -> NodeBlock:
        header = EvmHeader(
            parent, bytes(32), bytes(20), bytes(32), bytes(32), bytes(32), bytes(256), 0, number, 1, 0,
            int(time.time()), b"", bytes(32), bytes(8),
        )  # fmt: skip
        return NodeBlock(header, header.hash)


class _Heads:
    """The three heads are one."""

    def __init__(self, node: _QuietNode) -> None:
        self._node = node

    async def heads(self, _: object) -> tuple[list[NodeBlock], None]:
        return [self._node.newest()] * 3, None


class QuietLocks(HtlcLayer):
    """The legs of one layer, for swaps that only wait.

    Args:
        layer: the layer.
        settings: of its client.
        account: 20 bytes.
    """

    def __init__(self, layer: Layer2ProtocolType, settings: EvmSettings, account: bytes) -> None:
        node = cast(EvmNode, _QuietNode())
        self._watcher = HeadWatcher(node, settings.chain_id, settings.poll_interval_ms / 1_000)
        self._locks = Locks(node, self._watcher, LockEvents(node, settings), settings, layer)
        self._gas = GasReserves(node, account, cast(Any, None))

    async def aclose(self) -> None:
        """End the tasks."""
        await self._locks.aclose()
        await self._watcher.aclose()

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        """As ``EvmLegs``."""
        view = await self._locks.observe(htlc)
        self._gas.observed(self._locks.lock(htlc), side, is_on_chain=True)
        return view

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """As ``EvmLegs``."""
        await self._locks.changed(htlc)

    @property
    def can_follow(self) -> bool:
        """As ``EvmLegs``."""
        return True

    def follow(self, htlc: Htlc, side: Side, view: LegView, listener: LegListener) -> float | None:
        """As ``EvmLegs``."""
        return self._locks.follow(htlc, view, listener)

    def unfollow(self, payment_hash: bytes, listener: LegListener) -> None:
        """As ``EvmLegs``."""
        self._locks.unfollow(payment_hash, listener)

    async def reserve(self, htlc: Htlc, side: Side) -> None:
        """As ``EvmLegs``."""
        lock = self._locks.lock(htlc)
        self._gas.reserve(lock, side)
        self._gas.observed(lock, side, is_on_chain=self._locks.was_there(lock.lock_id))

    async def leg_offer(self) -> LegOffer:
        """Not called, as everything below."""
        raise AssertionError

    async def offer(self, request: OfferRequest) -> str:
        raise AssertionError

    async def network_cost(self, amount: int) -> int | None:
        raise AssertionError

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        raise AssertionError

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        raise AssertionError

    async def perform(self, act: Json) -> None:
        raise AssertionError

    async def act_status(self, act: Json) -> ActStatus:
        raise AssertionError

    async def read_clock(self) -> ClockReading:
        raise AssertionError

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        raise AssertionError
