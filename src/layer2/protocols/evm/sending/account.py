"""One account on one chain: its nonces, its signatures, and handing signed transactions to the node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from layer2.errors import (
    BadAnswer,
    InsufficientFunds,
    Layer2Error,
    NodeError,
    NodeRefused,
    Outcome,
    SignerError,
    TransactionError,
)
from layer2.formats.evm_transaction import Eip1559Transaction, SignedTransaction
from layer2.interfaces import EvmSigner
from layer2.protocols.evm.fees.quotes import TRANSFER_GAS, FeeQuote, Fees
from layer2.protocols.evm.fees.repricing import Price, bumped, is_bump
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.nonces import NonceAllocator
from layer2.protocols.evm.sending.unmined import Unmined
from layer2.shared_call import SharedCall
from layer2.transactions import EvmTxId, Finality

__all__ = ["EvmAccount", "Message", "message_of", "price_of", "tx_id_of"]

# The words in which op-geth's pool says these things; other nodes' differ in the rest of the sentence.
_KNOWN_WORDS = ("already known", "known transaction", "already imported")
_NONCE_USED_WORDS = ("nonce too low", "replacement transaction underpriced")
_NO_FUNDS_WORDS = ("insufficient funds",)
_PATIENCE = 30.0
"""Seconds for which a signed transaction that is not sent keeps its nonce."""
_LOOK_AGAIN = 30.0
"""Seconds between looks for what the node's pool lost, where something is sent."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a transaction shall do, before it has a nonce and prices."""

    to: bytes | None
    """20 bytes, or None to create a contract."""
    data: bytes
    value: int
    gas_limit: int


def message_of(signed: SignedTransaction) -> Message:
    """What a signed transaction does."""
    transaction = signed.transaction
    return Message(transaction.to, transaction.data, transaction.value, transaction.gas_limit)


def price_of(signed: SignedTransaction) -> Price:
    """At which it is offered."""
    return Price(signed.transaction.max_fee_per_gas, signed.transaction.max_priority_fee_per_gas)


def tx_id_of(signed: SignedTransaction) -> EvmTxId:
    """The transaction's id, as users see it."""
    return EvmTxId("0x" + signed.hash.hex())


class EvmAccount:
    """Builds, signs and sends the transactions of one key, in order and without holes.

    Args:
        node: the party's own node.
        signer: the key.
        fees: where prices come from.
        chain_id: what the signatures are good for.
        protocol: the layer's name, for errors.
    """

    def __init__(self, node: EvmNode, signer: EvmSigner, fees: Fees, *, chain_id: int, protocol: str) -> None:
        self._node = node
        self._signer = signer
        self._fees = fees
        self._chain_id = chain_id
        self._protocol = protocol
        self._nonces = NonceAllocator()
        self._pending = SharedCall(self._ask_pending)
        self._unmined = Unmined()
        self._look_at = 0.0
        self._held: dict[bytes, tuple[int, float]] = {}
        self._lapsed: set[bytes] = set()
        self._held_timer: asyncio.TimerHandle | None = None
        self._repair: asyncio.Task[None] | None = None

    @property
    def address(self) -> bytes:
        """20 bytes."""
        return self._signer.address

    async def prepare(self) -> None:
        """Learn the first nonce; now and then see to what the node never answered, or lost. Cheap once it is done."""
        loop = asyncio.get_running_loop()
        if not self._nonces.is_started:
            self._nonces.reach(await self._pending.get())
            self._look_at = loop.time() + _LOOK_AGAIN
        if self._repair is None and (self._unmined.has_doubted or loop.time() >= self._look_at):
            self._start_repair()

    def look_after(self) -> None:
        """Begin to look for what the node's pool lost, and to hand it in again; without effect if nothing was sent."""
        if len(self._unmined) and self._repair is None:
            self._look_at = 0.0
            self._start_repair()

    async def adopt(self, versions: Sequence[SignedTransaction]) -> None:
        """Look after transactions of one nonce that were sent before, perhaps by an earlier run; the last one counts.

        Raises:
            TransactionError: another transaction has the nonce by now (``nonce_used``).
        """
        await self.prepare()
        newest = versions[-1]
        if newest.sender == self.address:
            self._check_holder(versions)
            self._nonces.occupy(newest.transaction.nonce)
            if self._unmined.holder(newest.transaction.nonce) is None:
                self._unmined.take(newest)

    async def sign(self, messages: Sequence[Message], price: FeeQuote) -> list[SignedTransaction]:
        """Give each message a nonce, the lowest first, and sign it. Nothing is sent.

        What is signed and never sent would hold up all that comes after it: ``give_back`` it. After half a minute
        its nonce is given to others, and sending it then is refused.

        Raises:
            SignerError: the key cannot be used; the nonces are free again.
        """
        await self.prepare()
        nonces = sorted([self._nonces.take() for _ in messages])
        signed: list[SignedTransaction] = []
        try:
            for message, nonce in zip(messages, nonces, strict=True):
                signed.append(await self._sign(message, nonce, price))
        except BaseException:
            for nonce in reversed(nonces):
                self._nonces.give_back(nonce)
            raise
        self._hold(signed)
        return signed

    def sent_below(self, nonce: int) -> list[SignedTransaction]:
        """What this object knows to have been sent with lower nonces and is not final, the lowest first."""
        return self._unmined.below(nonce)

    def give_back(self, signed: Sequence[SignedTransaction]) -> None:
        """Say that these transactions will never be sent."""
        for transaction in reversed(signed):
            # After half a minute it is somebody else's nonce, and not to be given back once more.
            if self._held.pop(transaction.hash, None) is not None:
                self._release(transaction.transaction.nonce)
            self._lapsed.discard(transaction.hash)

    async def sign_replacement(self, replaced: SignedTransaction, message: Message, price: Price) -> SignedTransaction:
        """Sign another transaction for the nonce of one that exists: of the two at most one is ever in a block.

        Raises:
            SignerError: the key cannot be used.
            TransactionError: the replaced one is not this account's, or nodes would refuse so small a bump.
        """
        if replaced.sender != self.address:
            raise TransactionError(
                "only this account's own transactions can be replaced", code="not_own", protocol=self._protocol
            )
        if not is_bump(price, price_of(replaced)):
            raise TransactionError(
                f"nodes take a replacement from {bumped(price_of(replaced))} on, not at {price}",
                code="bump_too_small",
                protocol=self._protocol,
            )
        return await self._sign(message, replaced.transaction.nonce, price)

    async def send(self, signed: SignedTransaction, *, is_replacement: bool = False) -> None:
        """Hand a transaction to the node; its bytes are durable already. Doing it twice is harmless.

        Args:
            is_replacement: another transaction that was sent has its nonce; it keeps it if this one is refused.

        Raises:
            TransactionError: refused (REJECTED); InsufficientFunds where that is why.
            NodeError: NOT_SENT, or UNKNOWN after an answer that was lost and could not be looked up either.
        """
        if signed.sender != self.address:
            await self._hand_in(signed)
            return
        await self.prepare()
        self._check_lapsed(signed)
        nonce = signed.transaction.nonce
        # A transaction that was not sent before, and so its nonce's only one. One that may be at the node from
        # an earlier call or process keeps its nonce, whatever comes of handing it in again.
        is_new = self._held.pop(signed.hash, None) is not None
        if not is_replacement:
            if not is_new:
                self._check_holder([signed])
            self._unmined.hold(signed)
        is_first = is_new
        is_new = self._nonces.occupy(nonce) or is_new
        try:
            await self._hand_in(signed, is_first=is_first)
        except Layer2Error as error:
            if error.code == "not_alone":
                self._unmined.take(signed)
                await self._catch_up()
            elif error.outcome is Outcome.UNKNOWN:
                self._unmined.doubt(signed)
            elif error.code == "nonce_used":
                await self._lose(signed)
            elif is_new and not is_replacement:
                self._release(nonce)
            raise
        except asyncio.CancelledError:
            self._unmined.doubt(signed)
            raise
        self._unmined.take(signed)

    async def aclose(self) -> None:
        """End a repair that is under way."""
        if self._held_timer is not None:
            self._held_timer.cancel()
        if self._repair is not None:
            self._repair.cancel()
            await asyncio.gather(self._repair, return_exceptions=True)
        await self._pending.aclose()

    async def _sign(self, message: Message, nonce: int, price: FeeQuote | Price) -> SignedTransaction:
        transaction = Eip1559Transaction(
            chain_id=self._chain_id,
            nonce=nonce,
            max_priority_fee_per_gas=price.max_priority_fee_per_gas,
            max_fee_per_gas=price.max_fee_per_gas,
            gas_limit=message.gas_limit,
            to=message.to,
            value=message.value,
            data=message.data,
        )
        signed = transaction.signed(await self._signer.sign_digest(transaction.signing_hash()))
        if signed.sender != self.address:
            raise SignerError("the signer's signature is not that of its own address", protocol=self._protocol)
        return signed

    async def _hand_in(self, signed: SignedTransaction, *, is_first: bool = False) -> None:
        try:
            try:
                await self._hand_in_once(signed, is_first=is_first)
            except NodeError as error:
                if error.outcome is not Outcome.UNKNOWN:
                    raise
                # The answer is lost. The node knows by the hash whether it has the transaction; if it has not, the
                # same bytes are the same transaction.
                if not await self._is_known(signed, error):
                    await self._hand_in_again(signed)
        except Layer2Error as error:
            error.tx_id = tx_id_of(signed)
            if error.outcome is Outcome.UNKNOWN:
                error.funds = error.funds or f"transaction {error.tx_id} was signed and may be under way"
                error.remedy = error.remedy or "look it up by its id before sending anything again"
            raise

    async def _hand_in_again(self, signed: SignedTransaction) -> None:
        try:
            await self._hand_in_once(signed)
        except NodeError as error:
            # Whatever became of this attempt, the one before it may have arrived.
            error.outcome = Outcome.UNKNOWN
            raise

    async def _hand_in_once(self, signed: SignedTransaction, *, is_first: bool = False) -> None:
        try:
            answered = await self._node.send(signed.raw)
        except NodeRefused as error:
            await self._judge_refusal(signed, error, is_first=is_first)
            return
        if answered != signed.hash:
            raise BadAnswer(
                "the node gave the transaction another hash than it has",
                protocol=self._protocol,
                operation="eth_sendRawTransaction",
                outcome=Outcome.UNKNOWN,
            )

    async def _judge_refusal(self, signed: SignedTransaction, error: NodeRefused, *, is_first: bool) -> None:
        words = error.node_message.lower()
        nonce_used = any(used in words for used in _NONCE_USED_WORDS)
        # The transaction that used the nonce may be this one, sent before.
        if any(known in words for known in _KNOWN_WORDS) or (nonce_used and await self._is_known(signed, error)):
            if is_first:
                # Another client with this key signed the same: one transaction where two were asked for.
                raise TransactionError(
                    "the node had this transaction before it was sent: another client may use the same key",
                    code="not_alone",
                    protocol=self._protocol,
                    operation="eth_sendRawTransaction",
                    outcome=Outcome.UNKNOWN,
                    remedy="use a key with one client only; look the transaction up before sending anything again",
                ) from error
            return
        kind = InsufficientFunds if any(lack in words for lack in _NO_FUNDS_WORDS) else TransactionError
        raise kind(
            f"the node refused the transaction: {error.node_message}",
            code="nonce_used" if nonce_used else None,
            protocol=self._protocol,
            operation="eth_sendRawTransaction",
            outcome=Outcome.REJECTED,
        ) from error

    async def _is_known(self, signed: SignedTransaction, error: NodeError) -> bool:
        try:
            return await self._node.knows_transaction(signed.hash)
        except NodeError:
            # It cannot be looked up now: what is known is what the first error says.
            if isinstance(error, NodeRefused):
                error.outcome = Outcome.UNKNOWN
            raise error from None

    async def _ask_pending(self) -> int:
        return await self._node.transaction_count(self.address, None)

    async def _catch_up(self) -> None:
        """Somebody else uses this key too: begin after what the node knows."""
        try:
            self._nonces.reach(await self._pending.get())
        except NodeError:
            # The error that led here is the one to be seen; the next send runs into the same and asks again.
            return

    def _hold(self, signed: Sequence[SignedTransaction]) -> None:
        loop = asyncio.get_running_loop()
        for transaction in signed:
            self._held[transaction.hash] = (transaction.transaction.nonce, loop.time())
        if self._held_timer is None:
            self._held_timer = loop.call_later(_PATIENCE, self._free_held)

    def _free_held(self) -> None:
        """Take back what was signed and never sent, as when its journal entry could not be written."""
        self._held_timer = None
        now = asyncio.get_running_loop().time()
        lapsed = {tx_hash: nonce for tx_hash, (nonce, since) in self._held.items() if now - since >= _PATIENCE}
        for tx_hash, nonce in sorted(lapsed.items(), key=lambda item: item[1], reverse=True):
            del self._held[tx_hash]
            self._lapsed.add(tx_hash)
            self._release(nonce)
        if self._held:
            self._held_timer = asyncio.get_running_loop().call_later(_PATIENCE, self._free_held)

    def _check_holder(self, versions: Sequence[SignedTransaction]) -> None:
        """Refuse what would take its nonce from another transaction; a node would let a higher price do that."""
        nonce = versions[-1].transaction.nonce
        holder = self._unmined.holder(nonce)
        is_held = any(nonce == held for held, _ in self._held.values())
        if is_held or (holder is not None and holder not in versions):
            raise TransactionError(
                f"nonce {nonce} belongs to another transaction{'' if holder is None else ', ' + tx_id_of(holder)}",
                code="nonce_used",
                tx_id=tx_id_of(versions[-1]),
                protocol=self._protocol,
                outcome=Outcome.REJECTED,
            )

    def _check_lapsed(self, signed: SignedTransaction) -> None:
        if signed.hash in self._lapsed and not self._nonces.is_free(signed.transaction.nonce):
            raise TransactionError(
                "the transaction was signed and not sent for so long that its nonce was given to another",
                code="nonce_used",
                tx_id=tx_id_of(signed),
                protocol=self._protocol,
                outcome=Outcome.REJECTED,
            )

    async def _lose(self, signed: SignedTransaction) -> None:
        """Learn that another transaction, perhaps one that this replaces, has its nonce."""
        if self._unmined.holder(signed.transaction.nonce) is signed:
            self._unmined.release(signed.transaction.nonce)
        await self._catch_up()

    def _release(self, nonce: int) -> None:
        self._unmined.release(nonce)
        self._nonces.give_back(nonce)
        if self._repair is None:
            self._start_repair()

    def _start_repair(self) -> None:
        self._repair = asyncio.get_running_loop().create_task(self._mend())
        self._repair.add_done_callback(self._repaired)

    def _repaired(self, task: asyncio.Task[None]) -> None:
        self._repair = None
        if not task.cancelled():
            # A failed repair has no caller to tell. What it left is still there, and the next send tries again.
            task.exception()

    async def _mend(self) -> None:
        """See to it that no nonce is missing before one in use: what comes after a gap waits for ever.

        A transaction without an answer, and one that the node's pool lost, is handed in again, as the same bytes; a
        nonce that was given back is used by sending nothing to oneself.
        """
        for signed in self._unmined.doubted():
            await self._send_doubted(signed)
        if asyncio.get_running_loop().time() >= self._look_at:
            await self._find_lost()
        while (nonce := self._nonces.take_hole()) is not None:
            try:
                price = await self._fees.urgent_quote()
                nothing = Message(self.address, b"", 0, TRANSFER_GAS)
                filler = await self._sign(nothing, nonce, price)
            except BaseException:
                self._nonces.give_back(nonce)
                raise
            await self.send(filler)

    async def _send_doubted(self, signed: SignedTransaction) -> None:
        nonce = signed.transaction.nonce
        try:
            await self._hand_in(signed)
        except TransactionError as error:
            if error.code == "nonce_used":
                await self._lose(signed)
            elif error.outcome is Outcome.REJECTED and self._unmined.holder(nonce) is signed:
                self._release(nonce)
        else:
            if self._unmined.holder(nonce) is signed:
                self._unmined.take(signed)

    async def _find_lost(self) -> None:
        """Hand in again what the node took and does not have any more, as after a restart of its own."""
        self._look_at = asyncio.get_running_loop().time() + _LOOK_AGAIN
        # Only what was answered before the question: what is on its way may not be in the node's count yet.
        taken = self._unmined.taken()
        pending, final = await asyncio.gather(
            self._pending.get(), self._node.transaction_count(self.address, Finality.FINALIZED)
        )
        self._nonces.reach(pending)
        self._unmined.settle(final)
        for signed in taken:
            nonce = signed.transaction.nonce
            if nonce >= pending and self._unmined.holder(nonce) is signed:
                try:
                    await self._hand_in(signed)
                except TransactionError:
                    # Its pool is full, or the account empty: it keeps its nonce, and the next look tries again.
                    continue
