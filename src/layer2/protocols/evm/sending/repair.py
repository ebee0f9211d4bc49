"""Repairing an account's nonces in the background: the network mines no transaction above a missing nonce."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from layer2.errors import InsufficientFunds, NonceTaken, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.model.transactions import Finality
from layer2.ports.nonces import NonceUse
from layer2.protocols.evm.fees.quotes import TRANSFER_GAS, Fees
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.account_sender import AccountSender
from layer2.protocols.evm.sending.journaled_nonces import JournaledNonces
from layer2.protocols.evm.sending.nonce_ledger import NonceLedger
from layer2.protocols.evm.sending.signing import Message, TransactionSigner

__all__ = ["NonceRepair"]

_PATIENCE = 30.0
"""How many seconds a signed transaction keeps its nonce if it is not sent."""
_BLOCKING_PATIENCE = 10.0
"""How many seconds it keeps its nonce if a sent transaction waits behind it."""
_GAP_PATIENCE = 5.0
"""How many seconds a gap stays open for a transaction of an earlier run, which may still fill it."""
_CHECK_SECONDS = 30.0
"""How often the node's pool is checked for lost transactions, if something is sent."""


class NonceRepair:
    """Fills missing nonces, sends lost transactions again, and frees the nonces of unsent ones.

    Args:
        node: the party's own node.
        signer: signs the transactions that fill missing nonces.
        fees: prices.
        ledger: the account's nonces.
        journaled: the same nonces in the journal.
        sender: sends the account's transactions.
    """

    def __init__(
        self,
        node: EvmNode,
        signer: TransactionSigner,
        fees: Fees,
        ledger: NonceLedger,
        journaled: JournaledNonces,
        sender: AccountSender,
    ) -> None:
        self._node = node
        self._signer = signer
        self._fees = fees
        self._ledger = ledger
        self._journaled = journaled
        self._sender = sender
        self._next_check = 0.0
        self._missing: int | None = None
        """The nonce that the pool lacked at the last check, and that no known transaction has."""
        self._unpayable: bytes | None = None
        """The hash of the transaction for which the account had too little at the last check."""
        self._task: asyncio.Task[None] | None = None
        self._unsent_timer: asyncio.TimerHandle | None = None
        self._gap_timer: asyncio.TimerHandle | None = None
        self._pool_timer: asyncio.TimerHandle | None = None
        self._others_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def postpone_check(self) -> None:
        """Check for lost transactions not before half a minute from now."""
        self._next_check = asyncio.get_running_loop().time() + _CHECK_SECONDS

    def check_now(self) -> None:
        """Check for lost transactions, if anything is sent."""
        if len(self._ledger.unmined):
            self._next_check = 0.0
            self.check_if_due()

    def check_if_due(self) -> None:
        """Start a repair if an answer was lost, or if the next check is due."""
        if self._ledger.unmined.has_doubted or asyncio.get_running_loop().time() >= self._next_check:
            self._start()

    def look_after_others(self) -> None:
        """Check soon whether the node has what other workers have journaled: a worker may have ended before it sent."""
        if self._journaled.has_others and self._others_timer is None and not self._is_closed:
            self._others_timer = asyncio.get_running_loop().call_later(_BLOCKING_PATIENCE, self._check_others)

    def _check_others(self) -> None:
        self._others_timer = None
        self._next_check = 0.0
        self._start()

    def fill_gaps(self) -> None:
        """Fill the nonces that a sent transaction waits for: holes at once, gaps a few seconds later.

        If the nodes' pools drop transactions that wait, this also starts the checks that send them again.
        """
        if self._is_closed:
            return
        self._start_pool_timer()
        if self._task is None and self._ledger.has_blocking_hole:
            self._start()
        elif self._ledger.nonces.has_gaps:
            self._start_later()

    def hold(self, signed: Sequence[SignedTransaction]) -> None:
        """Keep the nonces of signed transactions for a limited time, until they are sent."""
        self._ledger.unsent.add(signed, asyncio.get_running_loop().time())
        self._start_unsent_timer()

    async def aclose(self) -> None:
        """End the repair that is under way, and start no other."""
        self._is_closed = True
        for timer in (self._unsent_timer, self._gap_timer, self._pool_timer, self._others_timer):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _start_unsent_timer(self) -> None:
        if self._unsent_timer is None:
            seconds = min(_PATIENCE, _BLOCKING_PATIENCE / 2)
            self._unsent_timer = asyncio.get_running_loop().call_later(seconds, self._expire_unsent)

    def _expire_unsent(self) -> None:
        """Free the nonces of unsent transactions, for example if their journal entry could not be written."""
        self._unsent_timer = None
        self._ledger.expire_unsent(asyncio.get_running_loop().time(), _PATIENCE, _BLOCKING_PATIENCE)
        self.fill_gaps()
        if self._ledger.unsent:
            self._start_unsent_timer()

    def _start_pool_timer(self) -> None:
        """Check regularly, as long as something that was sent is not final."""
        seconds = self._fees.model.pool_seconds
        if seconds is not None and self._pool_timer is None and len(self._ledger.unmined):
            self._pool_timer = asyncio.get_running_loop().call_later(seconds, self._check_pool)

    def _check_pool(self) -> None:
        self._pool_timer = None
        self.check_now()
        self._start_pool_timer()

    def _start(self) -> None:
        if self._task is None and not self._is_closed:
            self._task = asyncio.get_running_loop().create_task(self._repair())
            self._task.add_done_callback(self._ended)

    def _start_later(self) -> None:
        if self._gap_timer is None:
            self._gap_timer = asyncio.get_running_loop().call_later(_GAP_PATIENCE, self._gap_timer_ended)

    def _gap_timer_ended(self) -> None:
        self._gap_timer = None
        self._start()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        # A failed repair has no caller to raise to. Its work is still due, and is tried again soon.
        failed = task.exception() is not None
        is_left = self._ledger.nonces.has_gaps or (failed and self._ledger.has_blocking_hole)
        if is_left and not self._is_closed:
            self._start_later()
        self.look_after_others()

    async def _repair(self) -> None:
        """Send unanswered and lost transactions again, then fill missing nonces with transfers of nothing."""
        ledger = self._ledger
        await self._journaled.catch_up()
        for signed in ledger.unmined.doubted():
            await self._sender.resend_doubted(signed)
        if asyncio.get_running_loop().time() >= self._next_check:
            await self._resend_lost()
        while (nonce := ledger.nonces.take_hole(ledger.unmined.end)) is not None:
            await self._fill(nonce)
        while ledger.nonces.has_gaps:
            # The first nonce that the node does not count is not in its pool. It may have transactions of an earlier
            # run with later nonces.
            pending, mined = await asyncio.gather(
                self._sender.ask_pending(), self._node.transaction_count(self._signer.address, Finality.LATEST)
            )
            ledger.nonces.reach(mined)
            if not self._journaled.may_fill(pending, _PATIENCE) or not ledger.nonces.take_gap(pending):
                return
            await self._fill(pending, self._journaled.reserved(pending))

    def _note_missing(self, pending: int) -> None:
        """Find the nonce of an earlier run's transaction that the pool dropped, if a sent one waits behind it.

        It counts if two checks find it. Meanwhile the earlier transaction may be sent again by its key.
        """
        ledger = self._ledger
        is_missing = (
            self._fees.model.pool_seconds is not None
            and pending < ledger.unmined.end
            and ledger.unmined.holder(pending) is None
            and not ledger.unsent.holds(pending)
        )
        if is_missing and self._missing == pending:
            ledger.nonces.lack(pending)
        self._missing = pending if is_missing else None

    async def _fill(self, nonce: int, instead_of: NonceUse | None = None) -> None:
        """Send a transfer of nothing.

        Args:
            instead_of: the transaction of another worker that was not sent for too long, if there is one.
        """
        try:
            filler = await self._signed_filler(nonce)
        except BaseException:
            self._ledger.nonces.give_back(nonce)
            raise
        try:
            await self._journaled.take(filler, instead_of=instead_of)
        except NonceTaken:
            # Another worker has the nonce, so it is not missing.
            self._ledger.nonces.occupy(nonce)
            await self._journaled.catch_up()
            return
        except BaseException:
            self._ledger.nonces.give_back(nonce)
            raise
        await self._send_filler(filler)

    async def _resend_lost(self) -> None:
        """Send transactions again that the node accepted and lost, for example in a restart."""
        self.postpone_check()
        await self._journaled.catch_up(0.0)
        # The list is made before the node is asked, whose count may miss transactions that are sent meanwhile.
        taken = self._ledger.unmined.taken()
        # In one request: the journal keeps what is final for good, so a count of another chain would block the account.
        pending, final, _ = await asyncio.gather(
            self._sender.pending.get(),
            self._node.transaction_count(self._signer.address, Finality.FINALIZED),
            self._node.expect_chain(self._signer.chain_id),
        )
        self._ledger.nonces.reach(pending)
        self._ledger.unmined.settle(final)
        await self._journaled.settle(final)
        self._note_missing(pending)
        for signed in taken:
            nonce = signed.transaction.nonce
            if nonce >= pending and self._ledger.unmined.holder(nonce) is signed:
                try:
                    await self._resend(signed)
                except InsufficientFunds:
                    await self._pass_over(signed, pending)
                except TransactionError:
                    # The pool is full, for example: the next check tries again.
                    continue

    async def _pass_over(self, signed: SignedTransaction, pending: int) -> None:
        """Give the nonce of a transaction that the account cannot pay for to a transfer of nothing.

        It happens if two checks find it, and if later transactions wait: no claim or refund may wait for money.
        """
        nonce, was_unpayable = signed.transaction.nonce, self._unpayable == signed.hash
        if nonce != pending:
            return
        self._unpayable = signed.hash
        if not was_unpayable or nonce + 1 >= self._ledger.unmined.end:
            return
        filler = await self._signed_filler(nonce)
        try:
            await self._journaled.take(filler, instead_of=self._journaled.use_of(signed))
        except NonceTaken:
            return
        self._ledger.unmined.release(nonce)
        await self._send_filler(filler)

    async def _signed_filler(self, nonce: int) -> SignedTransaction:
        price = await self._fees.urgent_quote()
        return await self._signer.sign(Message(self._signer.address, b"", 0, TRANSFER_GAS), nonce, price)

    async def _send_filler(self, filler: SignedTransaction) -> None:
        self.hold([filler])
        try:
            await self._sender.send(filler, is_replacement=False)
        except TransactionError as error:
            # With these codes another transaction of this key has the nonce, so it is not missing.
            if error.code not in ("nonce_used", "not_alone"):
                raise

    async def _resend(self, signed: SignedTransaction) -> None:
        if self._journaled.is_other(signed):
            # From now on the other worker can no longer give the nonce to another transaction, nor take the act back.
            held = self._journaled.sent_by_other(signed.transaction.nonce)
            if held is None:
                return
            try:
                await self._journaled.take(signed, instead_of=held)
            except NonceTaken:
                return
        await self._sender.submit(signed)
