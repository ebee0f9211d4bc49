"""Transactions that wait, offered again at a higher price, or taken back: of one nonce at most one is ever mined.

The bump that nodes ask for is in ``fees.repricing``. Sources: EIP-1559; op-geth's pool.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from layer2.errors import FormatError, Outcome, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.model.transactions import EvmTxId, Finality
from layer2.protocols.evm.fees.quotes import TRANSFER_GAS, FeeQuote, Fees
from layer2.protocols.evm.fees.repricing import Offer, Price, bumped, is_left_behind, next_price, replacement_price
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.account import EvmAccount, Message, message_of, price_of, tx_id_of
from layer2.protocols.evm.sending.history import SendHistory, mined_of, signed_in

__all__ = ["Replacements"]

_NO_HURRY = 1 << 40
"""Seconds; a price without any of the urgency that a near deadline adds."""


class Replacements:
    """Replaces recorded transactions, each durably before it is sent.

    Args:
        account: whose key signs.
        fees: where prices come from.
        node: the party's own node.
        history: what was sent.
        cap: the most wei for each gas.
        protocol: the layer's name, for errors.
    """

    def __init__(
        self, account: EvmAccount, fees: Fees, node: EvmNode, history: SendHistory, *, cap: int, protocol: str
    ) -> None:
        self._account = account
        self._fees = fees
        self._node = node
        self._history = history
        self._cap = cap
        self._protocol = protocol
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def replace(self, tx_id: EvmTxId, offer: Offer, on_signed: Callable[[EvmTxId], None]) -> EvmTxId:
        """Offer what the newest transaction of its nonce does at a higher price."""
        return await self._replace(tx_id, offer, message_of, on_signed)

    async def cancel(self, tx_id: EvmTxId, on_signed: Callable[[EvmTxId], None]) -> EvmTxId:
        """Offer nothing to oneself instead."""
        nothing = Message(self._account.address, b"", 0, TRANSFER_GAS)
        return await self._replace(tx_id, Offer(), lambda _: nothing, on_signed)

    async def unblock(self, nonce: int) -> None:
        """Offer what waits below that nonce, left behind by the base fee, at a claim's price, whatever the cap says.

        For a claim or a refund that has the nonce: none of an account's transactions is mined before those below it.
        Each still does what it did, and once.

        Raises:
            TransactionError: the node refused one of them, as where the account cannot pay.
        """
        market, used = await asyncio.gather(
            self._fees.urgent_quote(), self._node.transaction_count(self._account.address, Finality.LATEST)
        )
        for waiting in self._account.sent_below(nonce):
            behind = is_left_behind(price_of(waiting), market.base_fee)
            if waiting.transaction.nonce < used or not behind:
                continue
            async with self._turn(waiting.transaction.nonce):
                await self._raise(await self._history.versions(waiting), market)

    async def mined(self, versions: Sequence[SignedTransaction]) -> SignedTransaction | None:
        """The one of them that is in a block."""
        return await mined_of(self._node, versions)

    async def _replace(
        self,
        tx_id: EvmTxId,
        offer: Offer,
        message: Callable[[SignedTransaction], Message],
        on_signed: Callable[[EvmTxId], None],
    ) -> EvmTxId:
        known = await self._history.recorded(tx_id)
        if known is None:
            raise TransactionError(
                f"{tx_id} is not recorded here, so it cannot be replaced",
                code="not_recorded",
                remedy="replace it with the client, and the journal, that sent it",
            )
        async with self._turn(known.transaction.nonce):
            versions = await self._history.versions(known)
            await self._check_waits(versions)
            await self._account.adopt(versions)
            market = await self._fees.quote()
            signed = await self._recorded(
                versions, lambda old: replacement_price(old, market, offer, self._cap), message, on_signed
            )
            try:
                await self._account.send(signed, is_replacement=True)
            except TransactionError as error:
                if error.code == "nonce_used":
                    await self._check_waits(versions)
                raise
            return tx_id_of(signed)

    def _turn(self, nonce: int) -> asyncio.Lock:
        """One at a time for a nonce: a later version that overtakes an earlier one on its way would refuse it."""
        return self._turns.setdefault(nonce, asyncio.Lock())

    async def _raise(self, versions: list[SignedTransaction], market: FeeQuote) -> None:
        signed = await self._recorded(
            versions, lambda old: next_price(old, market, _NO_HURRY) or bumped(old), message_of, lambda _: None
        )
        try:
            await self._account.send(signed, is_replacement=True)
        except TransactionError as error:
            # It was mined meanwhile, and blocks nothing any more.
            if error.code != "nonce_used":
                raise

    async def _recorded(
        self,
        versions: list[SignedTransaction],
        price: Callable[[Price], Price],
        message: Callable[[SignedTransaction], Message],
        on_signed: Callable[[EvmTxId], None],
    ) -> SignedTransaction:
        """Sign the next version and write it down; another process may write one first, then that is replaced."""
        while True:
            newest = versions[-1]
            try:
                signed = await self._account.sign_replacement(newest, message(newest), price(price_of(newest)))
            except FormatError as error:
                raise TransactionError(error.message) from error
            on_signed(tx_id_of(signed))
            replaced = tx_id_of(newest)
            request = hashlib.sha256(f"replaces {replaced}".encode()).hexdigest()
            record = await self._history.add(signed, key=None, request=request, replaced=replaced)
            if record.tx_id == tx_id_of(signed):
                return signed
            versions.append(signed_in(record))

    async def _check_waits(self, versions: Sequence[SignedTransaction]) -> None:
        """Refuse to replace what is in a block, or can never be."""
        first = versions[0]
        mined, used = await asyncio.gather(
            self.mined(versions), self._node.transaction_count(first.sender, Finality.LATEST)
        )
        if mined is not None:
            raise TransactionError(
                f"{tx_id_of(mined)} is in a block already, and nothing can replace it",
                code="mined",
                outcome=Outcome.REJECTED,
                tx_id=tx_id_of(mined),
            )
        if used > first.transaction.nonce:
            raise TransactionError(
                f"another transaction used nonce {first.transaction.nonce}; none that is recorded here is in a block",
                code="nonce_used",
                outcome=Outcome.REJECTED,
                tx_id=tx_id_of(first),
            )
