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
from layer2.protocols.evm.fees import TRANSFER_GAS, FeeQuote, Fees
from layer2.protocols.evm.node import EvmNode
from layer2.protocols.evm.nonces import NonceAllocator
from layer2.protocols.evm.replacement import Price, bumped, is_bump
from layer2.protocols.evm.shared_call import SharedCall
from layer2.transactions import EvmTxId

__all__ = ["EvmAccount", "Message", "message_of", "price_of", "tx_id_of"]

# The words in which op-geth's pool says these things; other nodes' differ in the rest of the sentence.
_KNOWN_WORDS = ("already known", "known transaction", "already imported")
_NONCE_USED_WORDS = ("nonce too low", "replacement transaction underpriced")
_NO_FUNDS_WORDS = ("insufficient funds",)
_PATIENCE = 30.0
"""Seconds for which a signed transaction that is not sent keeps its nonce."""


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
        self._unanswered: dict[int, SignedTransaction] = {}
        self._held: dict[bytes, tuple[int, float]] = {}
        self._lapsed: set[bytes] = set()
        self._held_timer: asyncio.TimerHandle | None = None
        self._repair: asyncio.Task[None] | None = None

    @property
    def address(self) -> bytes:
        """20 bytes."""
        return self._signer.address

    async def prepare(self) -> None:
        """Learn the first nonce, and hand in again what the node never answered. Cheap once it is done."""
        if not self._nonces.is_started:
            self._nonces.reach(await self._pending.get())
        if self._unanswered and self._repair is None:
            self._start_repair()

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
        nonce = signed.transaction.nonce
        is_own = signed.sender == self.address
        is_new = was_unanswered = False
        if is_own:
            await self.prepare()
            self._check_lapsed(signed)
            # A transaction that was not sent before, and so its nonce's only one. One that may be at the node from
            # an earlier call or process keeps its nonce, whatever comes of handing it in again.
            was_held = self._held.pop(signed.hash, None) is not None
            is_new = self._nonces.occupy(nonce) or was_held
            was_unanswered = self._unanswered.get(nonce) == signed
        try:
            await self._hand_in(signed)
        except Layer2Error as error:
            error.tx_id = tx_id_of(signed)
            if is_own and error.outcome is Outcome.UNKNOWN:
                self._unanswered[nonce] = signed
            elif is_own and error.code == "nonce_used":
                await self._catch_up()
            elif (is_new or (was_unanswered and error.outcome is Outcome.REJECTED)) and not is_replacement:
                self._release(nonce)
            raise
        except asyncio.CancelledError:
            if is_own:
                self._unanswered[nonce] = signed
            raise
        self._unanswered.pop(nonce, None)

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

    async def _hand_in(self, signed: SignedTransaction) -> None:
        try:
            await self._hand_in_once(signed)
        except NodeError as error:
            if error.outcome is not Outcome.UNKNOWN:
                raise
            # The answer is lost. The node knows by the hash whether it has the transaction; if it has not, the
            # same bytes are the same transaction.
            if not await self._is_known(signed, error):
                await self._hand_in_again(signed)

    async def _hand_in_again(self, signed: SignedTransaction) -> None:
        try:
            await self._hand_in_once(signed)
        except NodeError as error:
            # Whatever became of this attempt, the one before it may have arrived.
            error.outcome = Outcome.UNKNOWN
            raise

    async def _hand_in_once(self, signed: SignedTransaction) -> None:
        try:
            answered = await self._node.send(signed.raw)
        except NodeRefused as error:
            await self._judge_refusal(signed, error)
            return
        if answered != signed.hash:
            raise BadAnswer(
                "the node gave the transaction another hash than it has",
                protocol=self._protocol,
                operation="eth_sendRawTransaction",
                outcome=Outcome.UNKNOWN,
            )

    async def _judge_refusal(self, signed: SignedTransaction, error: NodeRefused) -> None:
        words = error.node_message.lower()
        if any(known in words for known in _KNOWN_WORDS):
            return
        nonce_used = any(used in words for used in _NONCE_USED_WORDS)
        # The transaction that used the nonce may be this one, sent before.
        if nonce_used and await self._is_known(signed, error):
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

    def _check_lapsed(self, signed: SignedTransaction) -> None:
        if signed.hash in self._lapsed and not self._nonces.is_free(signed.transaction.nonce):
            raise TransactionError(
                "the transaction was signed and not sent for so long that its nonce was given to another",
                code="nonce_used",
                tx_id=tx_id_of(signed),
                protocol=self._protocol,
                outcome=Outcome.REJECTED,
            )

    def _release(self, nonce: int) -> None:
        self._unanswered.pop(nonce, None)
        self._nonces.give_back(nonce)
        if self._repair is None:
            self._start_repair()

    def _start_repair(self) -> None:
        self._repair = asyncio.get_running_loop().create_task(self._fill_holes())
        self._repair.add_done_callback(self._repaired)

    def _repaired(self, task: asyncio.Task[None]) -> None:
        self._repair = None
        if not task.cancelled():
            # A failed repair has no caller to tell. The hole stays, and the next send fills it or tries again.
            task.exception()

    async def _fill_holes(self) -> None:
        """See to it that no nonce is missing before one in use: what comes after a gap waits for ever.

        A transaction without an answer is handed in again; a nonce that was given back is used by sending nothing
        to oneself.
        """
        for signed in [*self._unanswered.values()]:
            await self.send(signed)
        while (nonce := self._nonces.take_hole()) is not None:
            try:
                price = await self._fees.urgent_quote()
                nothing = Message(self.address, b"", 0, TRANSFER_GAS)
                filler = await self._sign(nothing, nonce, price)
            except BaseException:
                self._nonces.give_back(nonce)
                raise
            await self.send(filler)
