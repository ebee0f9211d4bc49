"""Single sends under a key, and their replacements. A transaction is durable before it is broadcast."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from layer2.errors import (
    AsyncRuntimeError,
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidRequest,
    Layer2Error,
    NodeError,
    Outcome,
    TransactionError,
)
from layer2.formats.bitcoin_transaction import Transaction, TxOut, decode_transaction
from layer2.model.money import checked_amount
from layer2.model.transactions import BitcoinTxId
from layer2.ports.journal import ClientRecords
from layer2.protocols.bitcoin.fees import INCREMENT, RELAXED_TARGET
from layer2.protocols.bitcoin.parts import BitcoinParts
from layer2.protocols.bitcoin.requests import BitcoinTransaction, request_digest
from layer2.protocols.bitcoin.send_statuses import SendStatuses, tx_hash_of
from layer2.protocols.bitcoin.source.http import BITCOIN
from layer2.protocols.bitcoin.versions import REPLACES, Send, SendVersions, Version
from layer2.protocols.bitcoin.wallet.model import Built

__all__ = ["Sends"]

_CHILD_SIZE: Final = 110
"""Virtual bytes of a transaction with one input and one output of the wallet."""
_ATTEMPTS: Final = 5
"""Choices of coins while other processes with the same journal take them."""


class Sends:
    """Sends the wallet's transactions.

    Args:
        parts: the client's parts.
        records: the durable record.
        statuses: of the same records.
    """

    def __init__(self, parts: BitcoinParts, records: ClientRecords, statuses: SendStatuses) -> None:
        self._parts = parts
        self._versions = SendVersions(records)
        self._statuses = statuses
        self._unsent: set[str] = set()
        """Ids of transactions whose record failed or was interrupted. No key names them, so no call sends them."""

    async def submit(
        self, request: BitcoinTransaction, key: str | None, on_signed: Callable[[BitcoinTxId], None]
    ) -> BitcoinTxId:
        """Make, record and broadcast a transaction; or broadcast again the one that was recorded under the key.

        Raises:
            As ``Layer2ProtocolAsync.submit_transaction_async``.
        """
        if key is not None:
            _check_key(key)
        digest = request_digest(request)
        known, made = await self._record_new(request, key, digest, on_signed)
        if made is not None:
            await self._broadcast(made)
            return made.tx_id
        if known.request != digest:
            raise IdempotencyConflict(
                "the idempotency key was used before with another transaction; nothing was sent for this one",
                protocol=BITCOIN,
                tx_id=known.versions[0].tx_id,
                remedy="for the same payment, pass the same request; for another payment, use another key",
            )
        return await self._send_again(known, on_signed)

    async def replace(
        self, tx_id: BitcoinTxId, rate: int | None, on_signed: Callable[[BitcoinTxId], None]
    ) -> BitcoinTxId:
        """Send the newest version of a transaction again with a higher fee."""
        if rate is not None:
            checked_amount(rate, what="fee_rate")
        async with self._parts.coins.choosing:
            send = await self._waiting(tx_id)
            wanted = max(send.newest.built.rate + INCREMENT, await self._rate() if rate is None else rate)
            self._parts.check_fee_rate(wanted)
            made = self._parts.coins.replacement(send.newest.built, send.holder, wanted)
            built = await self._unless_mined(tx_id, made)
            version = Version(built.transaction, built.fee, send.newest.is_cancellation)
            version = await self._record_version(send, version, on_signed)
        return await self._broadcast_version(send, version)

    async def cancel(self, tx_id: BitcoinTxId, on_signed: Callable[[BitcoinTxId], None]) -> BitcoinTxId:
        """Replace the newest version of a transaction by one that returns its first coin to the wallet."""
        async with self._parts.coins.choosing:
            send = await self._waiting(tx_id)
            wanted = max(send.newest.built.rate + INCREMENT, await self._rate())
            self._parts.check_fee_rate(wanted)
            await self._parts.coins.bring_up_to_date()
            newest = send.newest.built
            built = await self._unless_mined(tx_id, self._parts.coins.take_back(newest.coins[0], wanted, newest))
            version = Version(built.transaction, built.fee, is_cancellation=True)
            version = await self._record_version(send, version, on_signed)
        return await self._broadcast_version(send, version)

    async def _unless_mined(self, tx_id: BitcoinTxId, made: Awaitable[Built]) -> Built:
        """What is made to replace a transaction; raises ``mined`` if a block has meanwhile spent its coins."""
        try:
            return await made
        except InsufficientFunds:
            await self._waiting(tx_id)
            raise

    async def pay_for(self, tx_id: BitcoinTxId, rate: int, on_signed: Callable[[BitcoinTxId], None]) -> BitcoinTxId:
        """Spend an output of an unconfirmed transaction to the wallet so that both together pay ``rate``.

        Raises:
            TransactionError: it is not pending, or the wallet has no output of it.
        """
        checked_amount(rate, what="fee_rate")
        self._parts.check_fee_rate(rate)
        async with self._parts.coins.choosing:
            parent, wallet = await self._pending(tx_id), self._parts.coins.wallet
            await self._parts.coins.bring_up_to_date()
            # A wallet that is synchronised by filters does not see the mempool.
            await wallet.note_unconfirmed(parent, int(self._parts.clock.now()))
            coins = await self._parts.coins.free_outputs(parent)
            if not coins:
                raise TransactionError(
                    "the wallet has no output of the transaction", code="no_output", protocol=BITCOIN
                )
            parent_fee = await self._fee_of(parent) or 0
            least_fee = -(-rate * (parent.virtual_size + _CHILD_SIZE) // 1_000) - parent_fee
            built = await wallet.sweep(coins[:1], await wallet.fresh_script(), rate, max(0, least_fee))
            child = Version(built.transaction, built.fee)
            on_signed(child.tx_id)
            digest = hashlib.sha256(f"child of {tx_id}".encode()).hexdigest()
            with _naming(child.tx_id):
                await self._versions.add(child, child.tx_id, digest)
        await self._broadcast(child)
        return child.tx_id

    async def _record_new(
        self, request: BitcoinTransaction, key: str | None, digest: str, on_signed: Callable[[BitcoinTxId], None]
    ) -> tuple[Send, Version | None]:
        """Make and record a new transaction; or return what is recorded under the key, and None."""
        for attempt in range(_ATTEMPTS):
            async with self._parts.coins.choosing:
                known = None if key is None else await self._versions.of_key(key)
                if known is not None:
                    return known, None
                try:
                    made = await self._made(request)
                except InsufficientFunds:
                    # Another process with the same journal may have recorded the key, and taken the coins for it.
                    known = None if key is None else await self._versions.of_key(key)
                    if known is None:
                        raise
                    return known, None
                on_signed(made.tx_id)
                try:
                    with _naming(made.tx_id):
                        send, is_new = await self._versions.add(made, made.tx_id if key is None else key, digest)
                except FundsRulesError:
                    if isinstance(request, bytes) or attempt == _ATTEMPTS - 1:
                        raise
                    continue
                except BaseException:
                    if key is None:
                        # The record may have been written all the same, and would hold the coins permanently.
                        self._unsent.add(made.tx_id)
                    raise
                return send, made if is_new else None
        raise AssertionError("the last attempt returns or raises")

    async def _send_again(self, send: Send, on_signed: Callable[[BitcoinTxId], None]) -> BitcoinTxId:
        """Broadcast the newest version again, unless one is in a block."""
        newest = send.newest
        self._unsent.discard(newest.tx_id)
        on_signed(newest.tx_id)
        try:
            found = await self._statuses.mined(send.versions)
            if found is None and not newest.is_cancellation:
                await self._broadcast(newest)
        except Layer2Error as error:
            # An earlier call may have sent it.
            error.outcome = Outcome.UNKNOWN
            error.tx_id = newest.tx_id
            raise
        current = newest if found is None else found[0]
        if current.is_cancellation:
            raise TransactionError(
                f"the transaction was cancelled: {current.tx_id} {'has spent' if found else 'will spend'} its coin",
                code="cancelled",
                protocol=BITCOIN,
                outcome=Outcome.REJECTED if found else Outcome.UNKNOWN,
                tx_id=current.tx_id,
            )
        return current.tx_id

    async def _made(self, request: BitcoinTransaction) -> Version:
        if isinstance(request, bytes):
            transaction = decode_transaction(request)
            return Version(transaction, await self._fee_of(transaction))
        outputs = [TxOut(each.amount, self._parts.coins.wallet.script_of(each.address)) for each in request.outputs]
        rate = await self._rate() if request.fee_rate is None else request.fee_rate
        self._parts.check_fee_rate(rate)
        await self._release_unsent()
        await self._statuses.release_finished()
        built = await self._parts.coins.build(outputs, rate, confirmed_only=False)
        return Version(built.transaction, built.fee)

    async def _release_unsent(self) -> None:
        for tx_id in tuple(self._unsent):
            send = await self._versions.of_key(tx_id)
            # Its holder also has the coins of a replacement, which a caller that knows the id can have sent.
            if send is not None and len(send.versions) == 1:
                await self._parts.coins.release(send.holder)
            self._unsent.discard(tx_id)

    async def _fee_of(self, transaction: Transaction) -> int | None:
        """The fee in satoshi, from the transactions that it spends; None if the source does not show all of them."""
        hashes = sorted({each.prevout.tx_hash for each in transaction.inputs})
        found = await asyncio.gather(*(self._parts.source.find(each) for each in hashes))
        parents = dict(zip(hashes, found, strict=True))
        paid = 0
        for each in transaction.inputs:
            parent = parents[each.prevout.tx_hash]
            if parent is None or each.prevout.index >= len(parent.transaction.outputs):
                return None
            paid += parent.transaction.outputs[each.prevout.index].amount
        return paid - sum(each.amount for each in transaction.outputs)

    async def _rate(self) -> int:
        return await self._parts.source.fee_rate(RELAXED_TARGET)

    async def _waiting(self, tx_id: BitcoinTxId) -> Send:
        """The send of a recorded transaction, of which no version is in a block, and on which no other send rests."""
        tx_hash_of(tx_id)  # refuses what is not an id
        send = await self._versions.of_transaction(tx_id)
        if send is None:
            raise TransactionError(
                f"{tx_id} is not recorded here, so it cannot be replaced",
                code="not_recorded",
                protocol=BITCOIN,
                remedy="use the client and the journal that sent it",
            )
        found = await self._statuses.mined(send.versions)
        if found is not None:
            raise _mined(found[0].tx_id)
        child = await self._statuses.child_of(send)
        if child is not None:
            raise TransactionError(
                f"the change of {tx_id} is spent by {child}, which its replacement would undo",
                code="has_child",
                protocol=BITCOIN,
                tx_id=child,
                remedy="replace that transaction with a higher fee rate, which pays for both",
            )
        return send

    async def _pending(self, tx_id: BitcoinTxId) -> Transaction:
        """A transaction, of any party, that waits in the mempool.

        Raises:
            TransactionError: it, or another version of it, is in a block (``mined``); or the source does not show it
                (``not_pending``).
        """
        located = await self._parts.source.find(tx_hash_of(tx_id))
        if located is not None and located.block is None:
            return located.transaction
        if located is not None:
            raise _mined(tx_id)
        send = await self._versions.of_transaction(tx_id)
        if send is None:
            raise TransactionError(
                f"the source does not know the transaction {tx_id}",
                code="not_pending",
                protocol=BITCOIN,
                remedy="check the id; a transaction that was evicted has to be sent again first",
            )
        found = await self._statuses.mined(send.versions)
        if found is not None:
            raise _mined(found[0].tx_id)
        newest = send.newest.tx_id
        is_replaced = newest != tx_id
        raise TransactionError(
            f"{tx_id} was replaced by {newest}" if is_replaced else f"{tx_id} is no longer in the mempool",
            code="not_pending",
            protocol=BITCOIN,
            tx_id=newest,
            remedy="use the newest version" if is_replaced else "replace it with a higher fee rate, or send it again",
        )

    async def _record_version(self, send: Send, version: Version, on_signed: Callable[[BitcoinTxId], None]) -> Version:
        on_signed(version.tx_id)
        try:
            with _naming(version.tx_id):
                return await self._versions.add_replacement(send, version)
        except BaseException:
            await self._count(send.newest)
            raise

    async def _broadcast_version(self, send: Send, version: Version) -> BitcoinTxId:
        try:
            await self._broadcast(version)
        except TransactionError:
            # The node keeps the version that it has.
            await self._count(send.newest)
            raise
        return version.tx_id

    async def _count(self, version: Version) -> None:
        """Let the wallet count a transaction that the node has."""
        with contextlib.suppress(AsyncRuntimeError):
            # The client was closed after it had sent the transaction.
            now = int(self._parts.clock.now())
            await self._parts.coins.wallet.note_unconfirmed(version.transaction, now)

    async def _broadcast(self, version: Version) -> None:
        try:
            await self._parts.source.broadcast(version.transaction)
        except Layer2Error as error:
            error.tx_id = version.tx_id
            if error.outcome is Outcome.NOT_SENT:
                raise
            if not await self._is_known(version, error):
                error.remedy = error.remedy or (
                    "look it up by its id before sending anything again; its coins stay held, so the same idempotency "
                    "key sends the same transaction, and replace_transaction and cancel_transaction replace it"
                )
                raise
        await self._count(version)

    async def _is_known(self, version: Version, error: Layer2Error) -> bool:
        """Whether the node has a transaction whose answer was lost, or that it refused because it is confirmed."""
        try:
            return await self._parts.source.find(version.transaction.hash) is not None
        except (NodeError, AsyncRuntimeError):
            error.outcome = Outcome.UNKNOWN
            return False


def _mined(tx_id: BitcoinTxId) -> TransactionError:
    return TransactionError(
        f"{tx_id} is already in a block, so no fee can be added",
        code="mined",
        protocol=BITCOIN,
        outcome=Outcome.REJECTED,
        tx_id=tx_id,
    )


def _check_key(key: str) -> None:
    if not isinstance(key, str) or any("\ud800" <= letter <= "\udfff" for letter in key):
        raise InvalidRequest("an idempotency key must be text that UTF-8 can encode")
    if key.startswith(REPLACES):
        raise InvalidRequest(f"an idempotency key must not begin with {REPLACES!r}")


@contextlib.contextmanager
def _naming(tx_id: BitcoinTxId) -> Iterator[None]:
    """Add the transaction's id to errors that have none."""
    try:
        yield
    except Layer2Error as error:
        error.tx_id = error.tx_id or tx_id
        raise
