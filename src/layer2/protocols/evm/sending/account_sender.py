"""Sending the transactions of one account, and updating its nonces from the node's answers."""

from __future__ import annotations

import asyncio

from layer2.aio.shared_call import SharedCall
from layer2.errors import (
    AsyncRuntimeError,
    BadAnswer,
    InsufficientFunds,
    Layer2Error,
    NodeError,
    NodeRefused,
    Outcome,
    TransactionError,
)
from layer2.formats.evm_transaction import SignedTransaction
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.journaled_nonces import JournaledNonces
from layer2.protocols.evm.sending.nonce_ledger import NonceLedger
from layer2.protocols.evm.sending.signing import tx_id_of

__all__ = ["AccountSender"]

# Parts of the messages of op-geth's pool, which other nodes use too, and of rskj's (``TransactionPoolImpl`` and the
# validators of ``TxPendingValidator``).
_KNOWN = ("already known", "known transaction", "already imported", "same hash already exists")
_NONCE_USED = ("nonce too low", "replacement transaction underpriced", "gas price not enough to bump transaction")
_NO_FUNDS = ("insufficient funds", "the sender account doesn't exist")
_POOL_FULL = ("transaction nonce too high", "account exceeds quota")
"""rskj accepts nonces up to 15 above the account's, and limits the rate of each account if it is configured so."""


class AccountSender:
    """Submits the transactions of one key and keeps its nonces up to date.

    If an answer is lost, it looks the transaction up by its hash.

    Args:
        node: the party's own node.
        address: the account, 20 bytes.
        ledger: the account's nonces.
        journaled: the same nonces in the journal.
    """

    def __init__(self, node: EvmNode, address: bytes, ledger: NonceLedger, journaled: JournaledNonces) -> None:
        self._node = node
        self._address = address
        self._ledger = ledger
        self._journaled = journaled
        self.pending = SharedCall(self.ask_pending)
        """As ``ask_pending``. Calls in the same tick share one request."""

    async def ask_pending(self) -> int:
        """The node's count of the account's transactions, including those that wait in its pool without a gap."""
        return await self._node.transaction_count(self._address, None)

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
            await self.submit(signed, is_first=is_first)
        except Layer2Error as error:
            if error.code == "not_alone":
                ledger.unmined.take(signed)
                if await self._journaled.was_taken_over(signed):
                    return
                await self._catch_up()
            elif error.outcome is Outcome.UNKNOWN:
                ledger.unmined.doubt(signed)
            elif error.code == "nonce_used":
                await self._lose(signed)
            elif is_new and not is_replacement:
                await self._give_up(signed, error, is_first=is_first)
            raise
        except asyncio.CancelledError:
            ledger.unmined.doubt(signed)
            raise
        ledger.unmined.take(signed)

    async def _give_up(self, signed: SignedTransaction, error: Layer2Error, *, is_first: bool) -> None:
        """Free the nonce of a transaction that the node does not have, unless another worker sends it."""
        ledger = self._ledger
        try:
            is_released = await self._journaled.release(signed)
        except asyncio.CancelledError:
            ledger.release(signed.transaction.nonce)
            raise
        if not is_released:
            ledger.unmined.doubt(signed)
            error.outcome = Outcome.UNKNOWN
            _explain_unknown(error)
            return
        if is_first and error.outcome is Outcome.NOT_SENT:
            ledger.unsent.return_unsent(signed)
        ledger.release(signed.transaction.nonce)

    async def resend_doubted(self, signed: SignedTransaction) -> None:
        """Submit again a transaction whose answer was lost.

        Raises:
            NodeError: the answer was lost again.
        """
        ledger, nonce = self._ledger, signed.transaction.nonce
        try:
            await self.submit(signed)
        except TransactionError as error:
            if error.code == "nonce_used":
                await self._lose(signed)
            elif error.outcome is not Outcome.REJECTED or ledger.unmined.holder(nonce) is not signed:
                return
            elif await self._journaled.release(signed):
                ledger.release(nonce)
        else:
            if ledger.unmined.holder(nonce) is signed:
                ledger.unmined.take(signed)

    async def _lose(self, signed: SignedTransaction) -> None:
        self._ledger.lose(signed)
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Continue after the node's count, because another program uses this key too."""
        self._journaled.doubt()
        try:
            self._ledger.nonces.reach(await self.pending.get())
        except (NodeError, AsyncRuntimeError):
            # The caller raises the error that led here. The next send gets the same error and asks again.
            return

    async def submit(self, signed: SignedTransaction, *, is_first: bool = False) -> None:
        """Submit a transaction. Repeating it is harmless.

        Args:
            is_first: it was never submitted before. If the node knows it, another client uses the same key.

        Raises:
            TransactionError: refused (REJECTED); with code ``nonce_used`` if another transaction has its nonce, with
                code ``pool_full`` if too many of the account wait, and with code ``not_alone`` if another client
                submitted it first.
            NodeError: NOT_SENT, or UNKNOWN if the answer was lost and the transaction could not be looked up.
        """
        try:
            try:
                await self._once(signed, is_first=is_first)
            except NodeError as error:
                if error.outcome is not Outcome.UNKNOWN:
                    raise
                # The answer is lost. If the node does not have the transaction either, sending the same bytes again
                # is safe.
                if not await self._is_known(signed, error):
                    await self._again(signed)
        except Layer2Error as error:
            error.tx_id = tx_id_of(signed)
            if error.outcome is Outcome.UNKNOWN:
                _explain_unknown(error)
            raise

    async def _again(self, signed: SignedTransaction) -> None:
        try:
            await self._once(signed)
        except (NodeError, AsyncRuntimeError) as error:
            # The first attempt may have arrived, even if this one did not.
            error.outcome = Outcome.UNKNOWN
            raise

    async def _once(self, signed: SignedTransaction, *, is_first: bool = False) -> None:
        try:
            answered = await self._node.send(signed.raw)
        except NodeRefused as error:
            await self._judge_refusal(signed, error, is_first=is_first)
            return
        if answered != signed.hash:
            raise BadAnswer(
                "the node answered with another hash than the transaction has",
                operation="eth_sendRawTransaction",
                outcome=Outcome.UNKNOWN,
            )

    async def _judge_refusal(self, signed: SignedTransaction, error: NodeRefused, *, is_first: bool) -> None:
        message = error.node_message.lower()
        nonce_used = any(used in message for used in _NONCE_USED)
        # The transaction that used the nonce may be this one, sent before.
        if any(known in message for known in _KNOWN) or (nonce_used and await self._is_known(signed, error)):
            if is_first:
                # Another client with this key signed the same bytes: one transaction for two requests.
                raise TransactionError(
                    "the node had this transaction before it was sent: another client may use the same key",
                    code="not_alone",
                    operation="eth_sendRawTransaction",
                    outcome=Outcome.UNKNOWN,
                    remedy="use each key in one client only; look the transaction up before sending anything again",
                ) from error
            return
        if any(full in message for full in _POOL_FULL):
            raise TransactionError(
                f"the node takes no further transaction of this account now: {error.node_message}",
                code="pool_full",
                operation="eth_sendRawTransaction",
                retryable=True,
                outcome=Outcome.REJECTED,
                remedy="try again when earlier transactions of the account are in a block",
            ) from error
        kind = InsufficientFunds if any(lack in message for lack in _NO_FUNDS) else TransactionError
        raise kind(
            f"the node refused the transaction: {error.node_message}",
            code="nonce_used" if nonce_used else None,
            operation="eth_sendRawTransaction",
            outcome=Outcome.REJECTED,
        ) from error

    async def _is_known(self, signed: SignedTransaction, error: NodeError) -> bool:
        try:
            return await self._node.knows_transaction(signed.hash)
        except (NodeError, AsyncRuntimeError):
            # The lookup failed, or the client was closed, so the caller gets the first error.
            if isinstance(error, NodeRefused):
                error.outcome = Outcome.UNKNOWN
            raise error from None


def _explain_unknown(error: Layer2Error) -> None:
    error.funds = error.funds or f"transaction {error.tx_id} was signed and may be under way"
    error.remedy = error.remedy or "look it up by its id before sending anything again"
