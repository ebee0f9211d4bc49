"""One account on one chain: its nonces, its signatures, and handing signed transactions to the node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from layer2.aio.shared_call import SharedCall
from layer2.errors import Layer2Error, NodeError, Outcome, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.model.transactions import Finality
from layer2.ports.signing import EvmSigner
from layer2.protocols.evm.fees.quotes import TRANSFER_GAS, FeeQuote, Fees
from layer2.protocols.evm.fees.repricing import Price, bumped, is_bump
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.held import Held
from layer2.protocols.evm.sending.nonces import NonceAllocator
from layer2.protocols.evm.sending.signing import Message, TransactionSigner, message_of, price_of
from layer2.protocols.evm.sending.submitter import Submitter, tx_id_of
from layer2.protocols.evm.sending.unmined import Unmined

__all__ = ["EvmAccount", "Message", "message_of", "price_of", "tx_id_of"]

_PATIENCE = 30.0
"""Seconds for which a signed transaction that is not sent keeps its nonce."""
_BLOCKING_PATIENCE = 10.0
"""Seconds for which it keeps its nonce while one that is sent waits behind it."""
_GAP_PATIENCE = 5.0
"""Seconds after which a gap is filled that another act of an earlier run may still fill itself."""
_LOOK_AGAIN = 30.0
"""Seconds between looks for what the node's pool lost, where something is sent."""


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
        self._signer = TransactionSigner(signer, chain_id=chain_id, protocol=protocol)
        self._fees = fees
        self._protocol = protocol
        self._nonces = NonceAllocator()
        self._pending = SharedCall(self._ask_pending)
        self._unmined = Unmined()
        self._look_at = 0.0
        self._submitter = Submitter(node, protocol)
        self._held = Held()
        self._held_timer: asyncio.TimerHandle | None = None
        self._gap_timer: asyncio.TimerHandle | None = None
        self._repair: asyncio.Task[None] | None = None
        self._is_closed = False

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
            self._occupy_known(newest)

    async def notice(self, signed: SignedTransaction) -> None:
        """Learn that the node's pool has this transaction, perhaps from an earlier run.

        It keeps its nonce, and is handed in again if the pool loses it. Where it waits behind nonces that no
        transaction has, those are filled by sending nothing to oneself, as soon as the node's pool is seen to lack
        them after a few seconds.
        """
        if signed.sender == self.address:
            await self.prepare()
            self._held.displace(signed.transaction.nonce, by=signed.hash)
            self._occupy_known(signed)

    async def sign(self, messages: Sequence[Message], price: FeeQuote) -> list[SignedTransaction]:
        """Give each message a nonce, the lowest first, and sign it. Nothing is sent.

        What is signed and never sent would hold up all that comes after it: ``give_back`` it. After half a minute,
        or ten seconds where something waits behind it, its nonce is given to others, and sending it then is refused.

        Raises:
            SignerError: the key cannot be used; the nonces are free again.
        """
        await self.prepare()
        nonces = sorted([self._nonces.take() for _ in messages])
        signed: list[SignedTransaction] = []
        try:
            for message, nonce in zip(messages, nonces, strict=True):
                signed.append(await self._signer.sign(message, nonce, price))
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
        """Say that these transactions will never be sent; from now on ``send`` refuses them.

        Without effect on what was sent already, and on what this object did not sign.
        """
        for transaction in reversed(signed):
            # After half a minute it is someone else's nonce, and not to be given back once more.
            if self._held.discard(transaction):
                self._release(transaction.transaction.nonce)

    def never_lands(self, signed: Sequence[SignedTransaction]) -> bool:
        """Whether the last of these was signed here, never sent, and never will be, nor any that it needs before it.

        That is so once its nonce was given back, or given to another after it was not sent for long.
        """
        last = signed[-1]
        if not self._held.is_unsent(last):
            return False
        for transaction in signed:
            if self._held.has_lapsed(transaction) and not self._nonces.is_free(transaction.transaction.nonce):
                self._held.discard(transaction)
        if any(self._held.is_dead(transaction) for transaction in signed):
            self.give_back([last])
        return self._held.is_dead(last)

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
        return await self._signer.sign(message, replaced.transaction.nonce, price)

    async def send(self, signed: SignedTransaction, *, is_replacement: bool = False) -> None:
        """Hand a transaction to the node; its bytes are durable already. Doing it twice is harmless.

        Args:
            is_replacement: another transaction that was sent has its nonce; it keeps it if this one is refused.

        Raises:
            TransactionError: refused (REJECTED); InsufficientFunds where that is why.
            NodeError: NOT_SENT, or UNKNOWN after an answer that was lost and could not be looked up either.
        """
        if signed.sender != self.address:
            await self._submitter.hand_in(signed)
            return
        await self.prepare()
        self._check_alive(signed)
        nonce = signed.transaction.nonce
        # What was signed here and not sent before. What may be at the node from an earlier call or process keeps its
        # nonce, with any answer to handing it in again.
        is_first = self._held.is_unsent(signed)
        is_new = self._held.send(signed)
        if not is_replacement:
            if not is_new:
                self._check_holder([signed])
            self._unmined.hold(signed)
        is_new = self._nonces.occupy(nonce) or is_new
        try:
            await self._submitter.hand_in(signed, is_first=is_first)
        except Layer2Error as error:
            if error.code == "not_alone":
                self._unmined.take(signed)
                await self._catch_up()
            elif error.outcome is Outcome.UNKNOWN:
                self._unmined.doubt(signed)
            elif error.code == "nonce_used":
                await self._lose(signed)
            elif is_new and not is_replacement:
                if is_first and error.outcome is Outcome.NOT_SENT:
                    self._held.return_unsent(signed)
                self._release(nonce)
            raise
        except asyncio.CancelledError:
            self._unmined.doubt(signed)
            raise
        self._unmined.take(signed)
        self._see_to_gaps()

    async def aclose(self) -> None:
        """End a repair that is under way."""
        self._is_closed = True
        for timer in (self._held_timer, self._gap_timer):
            if timer is not None:
                timer.cancel()
        if self._repair is not None:
            self._repair.cancel()
            await asyncio.gather(self._repair, return_exceptions=True)
        await self._pending.aclose()

    async def _ask_pending(self) -> int:
        return await self._node.transaction_count(self.address, None)

    async def _catch_up(self) -> None:
        """Someone else uses this key too: begin after what the node knows."""
        try:
            self._nonces.reach(await self._pending.get())
        except NodeError:
            # The error that led here is the one to be seen; the next send runs into the same and asks again.
            return

    def _hold(self, signed: Sequence[SignedTransaction]) -> None:
        self._held.add(signed, asyncio.get_running_loop().time())
        self._start_held_timer()

    def _start_held_timer(self) -> None:
        if self._held_timer is None:
            seconds = min(_PATIENCE, _BLOCKING_PATIENCE / 2)
            self._held_timer = asyncio.get_running_loop().call_later(seconds, self._free_held)

    def _free_held(self) -> None:
        """Take back what was signed and never sent, as when its journal entry could not be written."""
        self._held_timer = None
        now, end = asyncio.get_running_loop().time(), self._unmined.end
        for nonce in self._held.lapse(now, _PATIENCE, end=end, blocking_patience=_BLOCKING_PATIENCE):
            self._release(nonce)
        if self._held:
            self._start_held_timer()

    def _occupy_known(self, signed: SignedTransaction) -> None:
        nonce = signed.transaction.nonce
        self._nonces.occupy(nonce)
        if self._unmined.holder(nonce) is None:
            self._unmined.take(signed)
        self._see_to_gaps()

    def _check_holder(self, versions: Sequence[SignedTransaction]) -> None:
        """Refuse what would take its nonce from another transaction; a node would let a higher price do that."""
        nonce = versions[-1].transaction.nonce
        holder = self._unmined.holder(nonce)
        if self._held.holds(nonce) or (holder is not None and holder not in versions):
            raise TransactionError(
                f"nonce {nonce} belongs to another transaction{'' if holder is None else ', ' + tx_id_of(holder)}",
                code="nonce_used",
                tx_id=tx_id_of(versions[-1]),
                protocol=self._protocol,
                outcome=Outcome.REJECTED,
            )

    def _check_alive(self, signed: SignedTransaction) -> None:
        if self.never_lands([signed]):
            raise TransactionError(
                "the transaction was signed and not sent, and its nonce was given to another, or back",
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
        self._see_to_gaps()

    def _see_to_gaps(self) -> None:
        """Have filled what something that was sent waits for: at once where no transaction has it, or soon."""
        if self._is_closed:
            return
        if self._repair is None and self._nonces.has_hole(self._unmined.end):
            self._start_repair()
        elif self._gap_timer is None and self._nonces.has_gaps:
            self._gap_timer = asyncio.get_running_loop().call_later(_GAP_PATIENCE, self._look_at_gaps)

    def _look_at_gaps(self) -> None:
        self._gap_timer = None
        if self._repair is None:
            self._start_repair()

    def _start_repair(self) -> None:
        self._repair = asyncio.get_running_loop().create_task(self._mend())
        self._repair.add_done_callback(self._repaired)

    def _repaired(self, task: asyncio.Task[None]) -> None:
        self._repair = None
        if task.cancelled():
            return
        # A failed repair has no caller to tell. What it left is still there, and is tried again soon.
        failed = task.exception() is not None
        is_left = self._nonces.has_gaps or (failed and self._nonces.has_hole(self._unmined.end))
        if is_left and not self._is_closed and self._gap_timer is None:
            self._gap_timer = asyncio.get_running_loop().call_later(_GAP_PATIENCE, self._look_at_gaps)

    async def _mend(self) -> None:
        """See to it that no nonce is missing before one in use: what comes after a gap is never mined.

        A transaction without an answer, and one that the node's pool lost, is handed in again, as the same bytes; a
        nonce that no transaction has is used by sending nothing to oneself.
        """
        for signed in self._unmined.doubted():
            await self._send_doubted(signed)
        if asyncio.get_running_loop().time() >= self._look_at:
            await self._find_lost()
        while (nonce := self._nonces.take_hole(self._unmined.end)) is not None:
            await self._fill(nonce)
        while self._nonces.has_gaps:
            # The node counts what waits in its pool without a gap, so the first nonce that it does not count is not
            # there. Of later ones nothing is known: another transaction of an earlier run may wait with one of them.
            pending, mined = await asyncio.gather(
                self._ask_pending(), self._node.transaction_count(self.address, Finality.LATEST)
            )
            self._nonces.reach(mined)
            if not self._nonces.take_gap(pending):
                return
            await self._fill(pending)

    async def _fill(self, nonce: int) -> None:
        try:
            price = await self._fees.urgent_quote()
            filler = await self._signer.sign(Message(self.address, b"", 0, TRANSFER_GAS), nonce, price)
        except BaseException:
            self._nonces.give_back(nonce)
            raise
        self._hold([filler])
        try:
            await self.send(filler)
        except TransactionError as error:
            # Another transaction of this key has the nonce, and it is filled.
            if error.code not in ("nonce_used", "not_alone"):
                raise

    async def _send_doubted(self, signed: SignedTransaction) -> None:
        nonce = signed.transaction.nonce
        try:
            await self._submitter.hand_in(signed)
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
                    await self._submitter.hand_in(signed)
                except TransactionError:
                    # Its pool is full, or the account empty: it keeps its nonce, and the next look tries again.
                    continue
