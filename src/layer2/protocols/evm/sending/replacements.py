"""Replacing a pending transaction with another one that has the same nonce: at most one of them is ever mined.

``fees.models`` computes the price that nodes require of a replacement.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from layer2.errors import FormatError, NonceTaken, Outcome, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.model.transactions import EvmTxId, Finality
from layer2.ports.journal import SendRecord
from layer2.protocols.evm.fees.prices import Offer, Price
from layer2.protocols.evm.fees.quotes import TRANSFER_GAS, Fees
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.account import EvmAccount
from layer2.protocols.evm.sending.history import SendHistory, mined_of, signed_in
from layer2.protocols.evm.sending.nonce_ledger import nonce_used
from layer2.protocols.evm.sending.signing import Message, message_of, price_of, tx_id_of

__all__ = ["Replacements"]

_NO_DEADLINE = 1 << 40
"""Seconds until the deadline, for a price to which no deadline adds urgency."""


class Replacements:
    """Sends recorded transactions again and replaces them. A replacement is durable before it is sent.

    Args:
        account: signs and sends.
        fees: prices.
        node: the party's own node.
        history: the durable record of sends.
        cap: the highest price, in wei for each gas.
    """

    def __init__(self, account: EvmAccount, fees: Fees, node: EvmNode, history: SendHistory, *, cap: int) -> None:
        self._account = account
        self._fees = fees
        self._model = fees.model
        self._node = node
        self._history = history
        self._cap = cap
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def replace(self, tx_id: EvmTxId, offer: Offer, on_signed: Callable[[EvmTxId], None]) -> EvmTxId:
        """Send the newest transaction with the same nonce again at a higher price.

        Args:
            tx_id: any recorded transaction with the nonce.
            offer: the price that the caller wants to pay.
            on_signed: called with the replacement's id before it is recorded.

        Returns:
            The id of the replacement.

        Raises:
            TransactionError: as ``EvmClient.replace_transaction_async``.
            FundsRulesError: the price exceeds the cap (``fee_cap``).
        """
        return await self._replace(tx_id, offer, message_of, on_signed)

    async def cancel(self, tx_id: EvmTxId, on_signed: Callable[[EvmTxId], None]) -> EvmTxId:
        """Send a transfer of nothing to the account itself with the same nonce. Raises: as ``replace``."""
        nothing = Message(self._account.address, b"", 0, TRANSFER_GAS)
        return await self._replace(tx_id, Offer(), lambda _: nothing, on_signed)

    async def unblock(self, nonce: int) -> None:
        """Raise the price of transactions with lower nonces that the market has overtaken, even above the cap.

        It serves a claim or a refund with this nonce, which is not mined before the lower nonces. The effect of the
        raised transactions stays the same.

        Raises:
            TransactionError: the node refused one of them, for example because the account cannot pay.
        """
        market, used = await asyncio.gather(
            self._fees.urgent_quote(), self._node.transaction_count(self._account.address, Finality.LATEST)
        )
        await self._account.see_others()
        model = self._model
        for waiting in self._account.sent_below(nonce):
            behind = model.is_left_behind(price_of(waiting), market.base_fee)
            if waiting.transaction.nonce < used or not behind:
                continue
            async with self._turn(waiting.transaction.nonce):
                signed = await self._recorded(
                    await self._history.versions(waiting),
                    lambda old: model.next_price(old, market, _NO_DEADLINE) or model.bumped(old),
                    message_of,
                    lambda _: None,
                )
                try:
                    await self._account.send(signed, is_replacement=True)
                except TransactionError as error:
                    # With this code it was mined meanwhile, and no longer blocks other transactions.
                    if error.code != "nonce_used":
                        raise

    async def send_newest(self, record: SendRecord) -> EvmTxId:
        """Send a recorded transaction again, or its newest replacement.

        Returns:
            The id of the version that is in a block, or of the newest one.

        Raises:
            TransactionError: it was replaced by a cancellation (``cancelled``), or refused.
            NodeError: as ``EvmAccount.send``.
        """
        first = self._history.remember(signed_in(record))
        later = await self._history.replacements(tx_id_of(first))
        if not later:
            await self._take_nonce(first)
            await self._account.send(first)
            return tx_id_of(first)
        versions, newest = [first, *later], later[-1]
        mined = await mined_of(self._node, versions)
        if mined is None and message_of(first) == message_of(newest):
            await self._take_nonce(first)
            try:
                await self._account.send(newest, is_replacement=True)
            except TransactionError as error:
                if error.code != "nonce_used" or (mined := await mined_of(self._node, versions)) is None:
                    raise
        current = newest if mined is None else mined
        if message_of(first) != message_of(current):
            tx_id = tx_id_of(current)
            raise TransactionError(
                f"the transaction was cancelled: {tx_id} {'has' if mined else 'will have'} its nonce",
                code="cancelled",
                outcome=Outcome.REJECTED if mined else Outcome.UNKNOWN,
                tx_id=tx_id,
            )
        return tx_id_of(current)

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
                remedy="use the client and the journal that sent it",
            )
        async with self._turn(known.transaction.nonce):
            versions = await self._history.versions(known)
            await self._check_waits(versions)
            await self._take_nonce(versions[0])
            await self._account.adopt(versions)
            market = await self._fees.quote()
            signed = await self._recorded(
                versions, lambda old: self._model.replacement_price(old, market, offer, self._cap), message, on_signed
            )
            try:
                await self._account.send(signed, is_replacement=True)
            except TransactionError as error:
                if error.code == "nonce_used":
                    await self._check_waits(versions)
                raise
            return tx_id_of(signed)

    async def _take_nonce(self, first: SignedTransaction) -> None:
        """Check that the first version still has its nonce, and keep it."""
        try:
            await self._account.take_nonce(first, is_journaled=True)
        except NonceTaken as error:
            raise nonce_used(first) from error

    def _turn(self, nonce: int) -> asyncio.Lock:
        """One replacement at a time for each nonce: nodes refuse a version that arrives after a later one."""
        return self._turns.setdefault(nonce, asyncio.Lock())

    async def _recorded(
        self,
        versions: list[SignedTransaction],
        price: Callable[[Price], Price],
        message: Callable[[SignedTransaction], Message],
        on_signed: Callable[[EvmTxId], None],
    ) -> SignedTransaction:
        """Sign and record the next version. If another process records one first, replace that one."""
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
        """Raise if one of the versions is in a block, or if none can ever be."""
        first = versions[0]
        mined, used = await asyncio.gather(
            mined_of(self._node, versions), self._node.transaction_count(first.sender, Finality.LATEST)
        )
        if mined is not None:
            raise TransactionError(
                f"{tx_id_of(mined)} is already in a block and cannot be replaced",
                code="mined",
                outcome=Outcome.REJECTED,
                tx_id=tx_id_of(mined),
            )
        if used > first.transaction.nonce:
            raise TransactionError(
                f"another transaction used nonce {first.transaction.nonce}; no recorded one with it is in a block",
                code="nonce_used",
                outcome=Outcome.REJECTED,
                tx_id=tx_id_of(first),
            )
