"""Handing one signed transaction to the node, and finding out what an answer, or none, means."""

from __future__ import annotations

from layer2.errors import (
    BadAnswer,
    InsufficientFunds,
    Layer2Error,
    NodeError,
    NodeRefused,
    Outcome,
    TransactionError,
)
from layer2.formats.evm_transaction import SignedTransaction
from layer2.model.transactions import EvmTxId
from layer2.protocols.evm.rpc.node import EvmNode

__all__ = ["Submitter", "tx_id_of"]

# The messages of op-geth's pool; those of other nodes differ in the rest of the sentence.
_KNOWN_WORDS = ("already known", "known transaction", "already imported")
_NONCE_USED_WORDS = ("nonce too low", "replacement transaction underpriced")
_NO_FUNDS_WORDS = ("insufficient funds",)


def tx_id_of(signed: SignedTransaction) -> EvmTxId:
    """The transaction's id, as users see it."""
    return EvmTxId("0x" + signed.hash.hex())


class Submitter:
    """Hands transactions in, and looks up by the hash what a lost answer leaves open.

    Args:
        node: the party's own node.
        protocol: the layer's name, for errors.
    """

    def __init__(self, node: EvmNode, protocol: str) -> None:
        self._node = node
        self._protocol = protocol

    async def hand_in(self, signed: SignedTransaction, *, is_first: bool = False) -> None:
        """Hand a transaction in; doing it again is harmless.

        Args:
            is_first: nobody sent it before, so a node that knows it shows another client with the same key.

        Raises:
            TransactionError: refused (REJECTED); with code ``nonce_used`` where another transaction has its nonce.
            NodeError: NOT_SENT, or UNKNOWN after an answer that was lost and could not be looked up either.
        """
        try:
            try:
                await self._once(signed, is_first=is_first)
            except NodeError as error:
                if error.outcome is not Outcome.UNKNOWN:
                    raise
                # The answer is lost. The node knows by the hash whether it has the transaction; if it has not, the
                # same bytes are the same transaction.
                if not await self._is_known(signed, error):
                    await self._again(signed)
        except Layer2Error as error:
            error.tx_id = tx_id_of(signed)
            if error.outcome is Outcome.UNKNOWN:
                error.funds = error.funds or f"transaction {error.tx_id} was signed and may be under way"
                error.remedy = error.remedy or "look it up by its id before sending anything again"
            raise

    async def _again(self, signed: SignedTransaction) -> None:
        try:
            await self._once(signed)
        except NodeError as error:
            # Whatever became of this attempt, the one before it may have arrived.
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
            # It cannot be looked up now: only the first error is known.
            if isinstance(error, NodeRefused):
                error.outcome = Outcome.UNKNOWN
            raise error from None
