"""Submitting one signed transaction to the node, and classifying the answer or its absence."""

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

# Parts of the messages of op-geth's pool, which other nodes use too.
_KNOWN = ("already known", "known transaction", "already imported")
_NONCE_USED = ("nonce too low", "replacement transaction underpriced")
_NO_FUNDS = "insufficient funds"


def tx_id_of(signed: SignedTransaction) -> EvmTxId:
    """The transaction's id."""
    return EvmTxId("0x" + signed.hash.hex())


class Submitter:
    """Submits transactions. If an answer is lost, it looks the transaction up by its hash.

    Args:
        node: the party's own node.
        protocol: the layer's name, for errors.
    """

    def __init__(self, node: EvmNode, protocol: str) -> None:
        self._node = node
        self._protocol = protocol

    async def submit(self, signed: SignedTransaction, *, is_first: bool = False) -> None:
        """Submit a transaction. Repeating it is harmless.

        Args:
            is_first: it was never submitted before. If the node knows it, another client uses the same key.

        Raises:
            TransactionError: refused (REJECTED); with code ``nonce_used`` if another transaction has its nonce, and
                with code ``not_alone`` if another client submitted it first.
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
                error.funds = error.funds or f"transaction {error.tx_id} was signed and may be under way"
                error.remedy = error.remedy or "look it up by its id before sending anything again"
            raise

    async def _again(self, signed: SignedTransaction) -> None:
        try:
            await self._once(signed)
        except NodeError as error:
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
                protocol=self._protocol,
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
                    protocol=self._protocol,
                    operation="eth_sendRawTransaction",
                    outcome=Outcome.UNKNOWN,
                    remedy="use each key in one client only; look the transaction up before sending anything again",
                ) from error
            return
        kind = InsufficientFunds if _NO_FUNDS in message else TransactionError
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
            # The lookup failed, so the caller gets the first error.
            if isinstance(error, NodeRefused):
                error.outcome = Outcome.UNKNOWN
            raise error from None
