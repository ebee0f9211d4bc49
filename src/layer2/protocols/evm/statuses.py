"""What became of single transactions."""

from __future__ import annotations

import asyncio

from layer2.errors import InvalidRequest, NodeUnreachable
from layer2.formats.evm_hex import parse_data
from layer2.formats.evm_transaction import SignedTransaction
from layer2.protocols.evm.account import tx_id_of
from layer2.protocols.evm.heads import Heads, HeadWatcher
from layer2.protocols.evm.node import EvmNode
from layer2.protocols.evm.settings import EvmSettings
from layer2.transactions import EvmTxId, Finality, TxState, TxStatus

__all__ = ["Statuses"]

_PROGRESS = {TxState.UNKNOWN: 0, TxState.PENDING: 1, TxState.INCLUDED: 2, TxState.FINAL: 3}
_MOST_FAILURES = 3
_REMEMBERED = 10_000


class Statuses:
    """Asks for statuses and waits for them.

    Args:
        node: the party's own node.
        watcher: its heads.
        settings: from which head on a transaction is final.
    """

    def __init__(self, node: EvmNode, watcher: HeadWatcher, settings: EvmSettings) -> None:
        self._node = node
        self._watcher = watcher
        self._settings = settings
        self._sent: dict[EvmTxId, SignedTransaction] = {}

    def remember(self, signed: SignedTransaction) -> None:
        """Keep what tells a dropped transaction from one that is only unknown: its sender and nonce."""
        self._sent[tx_id_of(signed)] = signed
        if len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]

    async def read(self, tx_id: EvmTxId) -> TxStatus[EvmTxId]:
        """Ask the node now."""
        status, _ = await self._read(tx_id)
        return status

    async def wait(self, tx_id: EvmTxId, until: TxState) -> TxStatus[EvmTxId]:
        """Wait until the transaction is at least in that state, or FAILED or DROPPED.

        Raises:
            InvalidRequest: ``until`` is no state that comes about by waiting.
            NodeError: the node did not answer several times in a row; the transaction goes on.
        """
        if until not in _PROGRESS:
            raise InvalidRequest(f"cannot wait for {until.name}; wait for PENDING, INCLUDED or FINAL")
        failures = 0
        while True:
            try:
                status, heads = await self._read(tx_id)
                if _PROGRESS.get(status.state, _PROGRESS[TxState.FINAL]) >= _PROGRESS[until]:
                    return status
                failures = 0
                await self._watcher.moved_from(heads)
            except NodeUnreachable as error:
                failures += 1
                if failures == _MOST_FAILURES:
                    error.tx_id = tx_id
                    raise
                await asyncio.sleep(self._settings.poll_interval_seconds)

    async def _read(self, tx_id: EvmTxId) -> tuple[TxStatus[EvmTxId], Heads]:
        tx_hash = parse_data(tx_id, "transaction id", size=32)
        recent = self._watcher.recent(self._settings.head_life_seconds)
        if recent is None:
            receipt, heads = await asyncio.gather(self._node.receipt(tx_hash), self._watcher.read())
        else:
            receipt, heads = await self._node.receipt(tx_hash), recent
            if receipt is not None and receipt.block_number > heads.latest.number:
                heads = await self._watcher.read()
        if receipt is None:
            return await self._not_included(tx_id, tx_hash), heads
        finality = heads.finality_of(receipt.block_number)
        if not receipt.succeeded:
            state = TxState.FAILED
        elif _reached(finality, self._settings.finality):
            state = TxState.FINAL
        else:
            state = TxState.INCLUDED
        status = TxStatus(
            tx_id=tx_id,
            state=state,
            depth=max(1, heads.latest.number - receipt.block_number + 1),
            block_number=receipt.block_number,
            finality=finality,
            fee=receipt.fee,
            reason=None if receipt.succeeded else "execution reverted",
        )
        return status, heads

    async def _not_included(self, tx_id: EvmTxId, tx_hash: bytes) -> TxStatus[EvmTxId]:
        if await self._node.knows_transaction(tx_hash):
            return TxStatus(tx_id, TxState.PENDING)
        signed = self._sent.get(tx_id)
        if signed is not None:
            used = await self._node.transaction_count(signed.sender, Finality.LATEST)
            # Asked again after the count: the transaction may have been included in between.
            if used > signed.transaction.nonce and not await self._node.knows_transaction(tx_hash):
                return TxStatus(tx_id, TxState.DROPPED, reason="another transaction has its nonce")
        return TxStatus(tx_id, TxState.UNKNOWN)


def _reached(finality: Finality, wanted: Finality) -> bool:
    order = [Finality.LATEST, Finality.SAFE, Finality.FINALIZED]
    return order.index(finality) >= order.index(wanted)
