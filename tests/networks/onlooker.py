"""A client that polls a payment's status, even while the node is down."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from layer2 import LightningNetwork, TxState
from layer2.errors import NodeError
from layer2.model.transactions import LightningPaymentId

__all__ = ["Onlooker"]


class Onlooker:
    """Collects all answers from its creation until ``stop``."""

    def __init__(self, client: LightningNetwork, tx_id: LightningPaymentId) -> None:
        self._client = client
        self._tx_id = tx_id
        self.states: set[TxState] = set()
        self._answered = asyncio.Event()
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            await self._look_once()
            await asyncio.sleep(0.01)

    async def _look_once(self) -> None:
        # An error counts as an answer, but does not show the payment's state.
        with suppress(NodeError):
            self.states.add((await self._client.get_transaction_status_async(self._tx_id)).state)
            self._answered.set()

    async def stop(self) -> None:
        """Stop after an answer, which a node that was just restarted may still have to give, and a last look."""
        await self._answered.wait()
        self._task.cancel()
        await asyncio.wait([self._task])
        assert self._task.cancelled(), self._task.exception()
        await self._look_once()
