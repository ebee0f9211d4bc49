"""Sending the transactions of one account, and recording in its ledger what the node answered."""

from __future__ import annotations

import asyncio

from layer2.aio.shared_call import SharedCall
from layer2.errors import Layer2Error, NodeError, Outcome, TransactionError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.nonce_ledger import NonceLedger
from layer2.protocols.evm.sending.submitter import Submitter

__all__ = ["AccountSender"]


class AccountSender:
    """Submits the transactions of one key and keeps its nonces up to date.

    Args:
        node: the party's own node.
        address: the account, 20 bytes.
        ledger: the account's nonces.
        protocol: the layer's name, for errors.
    """

    def __init__(self, node: EvmNode, address: bytes, ledger: NonceLedger, protocol: str) -> None:
        self._node = node
        self._address = address
        self._ledger = ledger
        self._submitter = Submitter(node, protocol)
        self._pending = SharedCall(self.ask_pending)

    async def start(self) -> bool:
        """Ask the node for the account's first free nonce, once. Return whether it was asked now."""
        if self._ledger.nonces.is_started:
            return False
        self._ledger.nonces.reach(await self._pending.get())
        return True

    async def pending(self) -> int:
        """As ``ask_pending``. Calls in the same tick share one request."""
        return await self._pending.get()

    async def ask_pending(self) -> int:
        """The node's count of the account's transactions, including those that wait in its pool without a gap."""
        return await self._node.transaction_count(self._address, None)

    async def send_foreign(self, signed: SignedTransaction) -> None:
        """Submit a transaction of another account."""
        await self._submitter.submit(signed)

    async def send(self, signed: SignedTransaction, *, is_replacement: bool) -> None:
        """Submit a transaction of this account. Repeating it is harmless.

        Args:
            is_replacement: a transaction that was already sent has the nonce, and keeps it if this one is refused.

        Raises:
            TransactionError: refused (REJECTED).
            NodeError: NOT_SENT, or UNKNOWN if the answer was lost and the transaction could not be looked up.
        """
        ledger, nonce = self._ledger, signed.transaction.nonce
        ledger.check_alive(signed)
        # A transaction that an earlier call or process may have sent keeps its nonce for every answer.
        is_first = ledger.unsent.contains(signed)
        is_new = ledger.unsent.send(signed)
        if not is_replacement:
            if not is_new:
                ledger.check_holder([signed])
            ledger.unmined.hold(signed)
        is_new = ledger.nonces.occupy(nonce) or is_new
        try:
            await self._submitter.submit(signed, is_first=is_first)
        except Layer2Error as error:
            if error.code == "not_alone":
                ledger.unmined.take(signed)
                await self._catch_up()
            elif error.outcome is Outcome.UNKNOWN:
                ledger.unmined.doubt(signed)
            elif error.code == "nonce_used":
                await self._lose(signed)
            elif is_new and not is_replacement:
                if is_first and error.outcome is Outcome.NOT_SENT:
                    ledger.unsent.return_unsent(signed)
                ledger.release(nonce)
            raise
        except asyncio.CancelledError:
            ledger.unmined.doubt(signed)
            raise
        ledger.unmined.take(signed)

    async def resend_doubted(self, signed: SignedTransaction) -> None:
        """Submit again a transaction whose answer was lost.

        Raises:
            NodeError: the answer was lost again.
        """
        ledger, nonce = self._ledger, signed.transaction.nonce
        try:
            await self._submitter.submit(signed)
        except TransactionError as error:
            if error.code == "nonce_used":
                await self._lose(signed)
            elif error.outcome is Outcome.REJECTED and ledger.unmined.holder(nonce) is signed:
                ledger.release(nonce)
        else:
            if ledger.unmined.holder(nonce) is signed:
                ledger.unmined.take(signed)

    async def resend_lost(self, signed: SignedTransaction) -> None:
        """Submit again a transaction that the node's pool lost. It keeps its nonce if the node refuses it now.

        Raises:
            NodeError: there is no answer.
        """
        try:
            await self._submitter.submit(signed)
        except TransactionError:
            # The pool is full, or the account is empty. The next check tries again.
            return

    async def aclose(self) -> None:
        """End the request that is under way."""
        await self._pending.aclose()

    async def _lose(self, signed: SignedTransaction) -> None:
        self._ledger.lose(signed)
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Continue after the node's count, because another program uses this key too."""
        try:
            self._ledger.nonces.reach(await self._pending.get())
        except NodeError:
            # The caller raises the error that led here. The next send gets the same error and asks again.
            return
