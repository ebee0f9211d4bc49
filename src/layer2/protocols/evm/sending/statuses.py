"""Reading the statuses of single transactions."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from layer2.aio.shared_call import SharedCall
from layer2.errors import BadAnswer, NodeRefused
from layer2.formats.evm_hex import parse_data
from layer2.model.transactions import EvmTxId, Finality, TxState, TxStatus
from layer2.protocols.bounded_dict import BoundedDict
from layer2.protocols.evm.chain.heads import Heads, HeadWatcher
from layer2.protocols.evm.rpc.node import EvmNode, MinedReceipt
from layer2.protocols.evm.sending.history import SendHistory, mined_of
from layer2.protocols.evm.sending.signing import tx_id_of
from layer2.protocols.evm.settings import EvmSettings

__all__ = ["Statuses"]

_REMEMBERED_TRANSACTIONS = 200_000
_REMEMBERED_BLOCKS = 10_000
_FEWEST_TO_SHARE = 4
"""For the node, all receipts of a block are as much work as a few single ones."""


class Statuses:
    """Reads statuses.

    Args:
        node: the party's own node.
        watcher: the node's heads.
        history: sent transactions, which distinguish a dropped transaction from an unknown one.
        settings: which head makes a transaction final, and how old the heads may be.
    """

    def __init__(self, node: EvmNode, watcher: HeadWatcher, history: SendHistory, settings: EvmSettings) -> None:
        self._node = node
        self._history = history
        self._watcher = watcher
        self._head_life = settings.head_life_ms / 1000
        self._final = tuple([finality for finality in Finality if finality.includes(settings.finality)])
        self._enough = settings.finality
        self._on_chain: BoundedDict[tuple[int, bytes], None] = BoundedDict(_REMEMBERED_BLOCKS)
        self._block_numbers: BoundedDict[EvmTxId, int] = BoundedDict(_REMEMBERED_TRANSACTIONS)
        self._asked: dict[int, tuple[set[EvmTxId], SharedCall[Mapping[EvmTxId, MinedReceipt]]]] = {}

    async def read(self, tx_id: EvmTxId) -> TxStatus[EvmTxId]:
        """Read the status now."""
        tx_hash = parse_data(tx_id, "transaction id", size=32)
        heads = self._watcher.recent(self._head_life)
        # Begun before the receipt is asked for, so that the node has both requests at the same time.
        begun = self._watcher.begin(self._head_life) if heads is None else None
        receipt = await self._node.receipt(tx_hash)
        if heads is None:
            heads = await self._watcher.read(begun)
        if receipt is None:
            return await self.not_included(tx_id)
        height = receipt.block_number
        # A finalized head never goes back, so an older one only understates the finality. A safe head may go back, so
        # it is read again if it is enough for FINAL.
        is_doubtful = self._head_life > 0 and self._enough is Finality.SAFE and height > heads.finalized.number
        if is_doubtful or height > heads.latest.number:
            heads = await self._watcher.read()
        await self.check_final([receipt], heads)
        return self.included(tx_id, receipt, heads)

    async def read_many(self, tx_ids: Sequence[EvmTxId]) -> list[TxStatus[EvmTxId]]:
        """Read statuses now. Transactions that were last seen in the same block share a request for its receipts."""
        found: dict[EvmTxId, TxStatus[EvmTxId]] = {}
        by_block: dict[int, list[EvmTxId]] = defaultdict(list)
        for tx_id in dict.fromkeys(tx_ids):
            number = self._block_numbers.get(tx_id)
            if number is not None:
                by_block[number].append(tx_id)
        shared = {number: ids for number, ids in by_block.items() if len(ids) >= _FEWEST_TO_SHARE}
        if shared:
            asking = [self._in_block(number, ids) for number, ids in shared.items()]
            heads, blocks = await asyncio.gather(self._watcher.read(), asyncio.gather(*asking))
            await self.check_final([receipt for receipts in blocks for receipt in receipts.values()], heads)
            for receipts, ids in zip(blocks, shared.values(), strict=True):
                for tx_id in ids:
                    receipt = receipts.get(tx_id)
                    if receipt is not None:
                        found[tx_id] = self.included(tx_id, receipt, heads)
        rest = [tx_id for tx_id in dict.fromkeys(tx_ids) if tx_id not in found]
        for status in await asyncio.gather(*[self.read(tx_id) for tx_id in rest]):
            found[status.tx_id] = status
        return [found[tx_id] for tx_id in tx_ids]

    async def _in_block(self, number: int, tx_ids: Iterable[EvmTxId]) -> Mapping[EvmTxId, MinedReceipt]:
        """Receipts of a block. All calls for the same block within one tick share the request."""
        asked = self._asked.get(number)
        if asked is None:
            wanted: set[EvmTxId] = set()

            async def ask() -> Mapping[EvmTxId, MinedReceipt]:
                return await self._node.receipts_of(number, wanted) or {}

            asked = self._asked[number] = (wanted, SharedCall(ask))
            # A later call must not get an older answer.
            asyncio.get_running_loop().call_soon(self._asked.pop, number)
        wanted, call = asked
        wanted.update(tx_ids)
        return await call.get()

    async def check_final(self, receipts: Iterable[MinedReceipt], heads: Heads) -> None:
        """Check that receipts that would be final belong to canonical blocks.

        If several nodes share one address, the receipt may come from a node on another branch and the heads from the
        next node. Here one batch reads block and head, so one node answers.

        Raises:
            BadAnswer: a receipt's block is not canonical, or the node lags; retryable.
        """
        settled = {(receipt.block_number, receipt.block_hash) for receipt in receipts}
        unchecked = [
            block for block in settled if block not in self._on_chain and heads.finality_of(block[0]) in self._final
        ]
        if not unchecked:
            return
        (head,), blocks = await self._node.heads.heads([self._enough], [number for number, _ in unchecked])
        for (number, block_hash), block in zip(unchecked, blocks, strict=True):
            if head.number < number or block is None or block.hash != block_hash:
                raise BadAnswer(
                    f"a receipt is of block {number} 0x{block_hash.hex()}, which is not on the node's chain or is less "
                    "final than the heads showed",
                    retryable=True,
                )
            if number <= heads.finalized.number:
                self._on_chain[number, block_hash] = None

    def included(self, tx_id: EvmTxId, receipt: MinedReceipt, heads: Heads) -> TxStatus[EvmTxId]:
        """The status of a transaction with a receipt."""
        self._block_numbers[tx_id] = receipt.block_number
        finality = heads.finality_of(receipt.block_number)
        if not receipt.succeeded:
            state = TxState.FAILED
        elif finality in self._final:
            state = TxState.FINAL
        else:
            state = TxState.INCLUDED
        return TxStatus(
            tx_id,
            state,
            max(1, heads.latest.number - receipt.block_number + 1),
            receipt.block_number,
            finality,
            receipt.fee,
            None if receipt.succeeded else "execution reverted",
            block_hash=receipt.block_hash,
        )

    async def not_included(self, tx_id: EvmTxId) -> TxStatus[EvmTxId]:
        """The status of a transaction that is not in a block: PENDING, DROPPED, or UNKNOWN.

        The ``finality`` of a dropped transaction is that of the transaction with its nonce. Before FINALIZED, a
        reorganisation may bring the dropped one back.

        Raises:
            WrongNetwork: the node serves another chain now, where the account has other nonces.
        """
        tx_hash = parse_data(tx_id, "transaction id", size=32)
        if await self._node.knows_transaction(tx_hash):
            return TxStatus(tx_id, TxState.PENDING)
        signed = self._history.sent(tx_id)
        if signed is not None:
            heads = await self._watcher.read()
            # One batch, so that one node answers: another node may not have seen the block in which the nonce was used.
            # The transaction is read after the counts, because it may be included in between.
            try:
                counts, block, is_known, _ = await asyncio.gather(
                    asyncio.gather(
                        *[self._node.transaction_count(signed.sender, heads.at(finality).hash) for finality in Finality]
                    ),
                    self._node.block(heads.latest.hash),
                    self._node.knows_transaction(tx_hash),
                    self._node.expect_chain(signed.transaction.chain_id),
                )
            except NodeRefused as error:
                raise self._lags(heads) from error
            if block is None:
                raise self._lags(heads)
            used = [
                finality for finality, count in zip(Finality, counts, strict=True) if count > signed.transaction.nonce
            ]
            if used and not is_known:
                # If it is a recorded one, it is named.
                versions = [one for one in await self._history.versions(signed) if one.hash != signed.hash]
                mined = await mined_of(self._node, versions)
                return TxStatus(
                    tx_id,
                    TxState.DROPPED,
                    finality=used[-1],
                    reason="another transaction has its nonce",
                    replaced_by=None if mined is None else tx_id_of(mined),
                )
        return TxStatus(tx_id, TxState.UNKNOWN)

    @staticmethod
    def _lags(heads: Heads) -> BadAnswer:
        return BadAnswer(
            f"the node has not seen block {heads.latest.number} or the state after it, so the status of a transaction "
            "without a receipt is unknown",
            retryable=True,
        )
