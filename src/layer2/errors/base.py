"""The base class of all errors, and the errors whose attributes are plain values.

The packages below ``swap_rules`` import their errors from here. ``layer2.errors`` also exports errors whose attributes
are transfers and proofs, so importing it there would create an import cycle between type annotations.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class Outcome(Enum):
    """What is known of the request when an error is raised."""

    NOT_SENT = "not_sent"
    """Nothing left this process; a retry is safe."""
    REJECTED = "rejected"
    """The other side refused the request; it had no effect."""
    UNKNOWN = "unknown"
    """The request was sent and not answered. It may have taken effect: look it up before you act again."""


class Layer2Error(Exception):
    """The base class of all errors of this package.

    Args:
        message: a lower-case fragment that states what happened, first to the money.
        code: a stable identifier; the default is the class's code.
        protocol: the layer, as in ``Layer2ProtocolType`` (``"BOB"``), or None.
        operation: the method or remote call that failed.
        retryable: whether an unchanged retry may succeed and is harmless.
        outcome: what is known of the request.
        transfer_id: the transfer, or None.
        tx_id: the transaction or payment hash, if one was signed or sent.
        funds: where the money is, as a sentence.
        deadline: unix seconds by which a party must act, or before which no one can act.
        remedy: what to do next, as a sentence.
    """

    code: str = "layer2_error"
    default_retryable: ClassVar[bool] = False
    default_outcome: ClassVar[Outcome] = Outcome.NOT_SENT

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        protocol: str | None = None,
        operation: str | None = None,
        retryable: bool | None = None,
        outcome: Outcome | None = None,
        transfer_id: str | None = None,
        tx_id: str | None = None,
        funds: str | None = None,
        deadline: int | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.protocol = protocol
        self.operation = operation
        self.retryable = self.default_retryable if retryable is None else retryable
        self.outcome = self.default_outcome if outcome is None else outcome
        self.transfer_id = transfer_id
        self.tx_id = tx_id
        self.funds = funds
        self.deadline = deadline
        self.remedy = remedy
        self.retry_after: float | None = None
        """Seconds after which the provider asks for the next call, or None."""

    def __str__(self) -> str:
        """The message, where the money is, and what to do, in that order."""
        parts = [f"[{self.code}] {self.message}"]
        if self.funds:
            parts.append(self.funds)
        if self.remedy:
            parts.append(self.remedy)
        return "; ".join(parts)


class ConfigurationError(Layer2Error, ValueError):
    """A setting is missing, unknown or wrong."""

    code = "configuration"


class InvalidRequest(Layer2Error, ValueError):
    """The caller requested something impossible; nothing was sent."""

    code = "invalid_request"


class InvalidAmount(InvalidRequest):
    """The amount is not a positive integer, or the unit cannot express it exactly."""

    code = "invalid_amount"


class UnknownAsset(InvalidRequest):
    """The layer does not support the asset, or the configuration does not name its token."""

    code = "unknown_asset"


class ProtocolNotConfigured(InvalidRequest):
    """The configuration has no section for that layer."""

    code = "protocol_not_configured"


class ProtocolNotImplemented(InvalidRequest):
    """This version does not support the layer of ``Layer2ProtocolType``, or the kind of recipient."""

    code = "protocol_not_implemented"


class FormatError(InvalidRequest):
    """Bytes or text violate the standard that the message names."""

    code = "format"


class NodeError(Layer2Error):
    """A node or provider could not be used."""

    code = "node"


class NodeUnreachable(NodeError):
    """There was no connection, or no answer in time. After a send the outcome is UNKNOWN."""

    code = "node_unreachable"
    default_retryable = True


class NodeRefused(NodeError):
    """The node answered with an error, which ``node_code`` and ``node_message`` contain."""

    code = "node_refused"
    default_outcome = Outcome.REJECTED

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        node_code: int | str | None = None,
        node_message: str = "",
        protocol: str | None = None,
        operation: str | None = None,
        retryable: bool | None = None,
        outcome: Outcome | None = None,
        tx_id: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(
            message,
            code=code,
            protocol=protocol,
            operation=operation,
            retryable=retryable,
            outcome=outcome,
            tx_id=tx_id,
            remedy=remedy,
        )
        self.node_code = node_code
        self.node_message = node_message


class BadAnswer(NodeError):
    """The node's answer cannot be correct."""

    code = "bad_answer"


class WrongNetwork(NodeError):
    """The node is on another chain or network than the configuration says."""

    code = "wrong_network"


class AuthenticationFailed(NodeError):
    """The node's certificate differs from the pinned one, or the node refused the credentials."""

    code = "authentication"


class TransactionError(Layer2Error):
    """A transaction or payment was refused, failed or dropped."""

    code = "transaction"


class InsufficientFunds(TransactionError):
    """There is not enough of the asset, of gas, or of liquidity to finish the operation."""

    code = "insufficient_funds"


class FundsRulesError(TransactionError):
    """The act would violate a rule that protects funds (a margin, a limit, a second send)."""

    code = "funds_rules"


class TransferError(Layer2Error):
    """A transfer between layers failed."""

    code = "transfer"


class QuoteRefused(TransferError):
    """No provider gave a quote, or every quote is above the caller's limit."""

    code = "quote_refused"


class QuoteExpired(TransferError):
    """The quote is no longer valid; request a new one."""

    code = "quote_expired"


class TermsRefused(TransferError):
    """The quote or the terms are forged, differ from what was agreed, or leave too little time."""

    code = "terms_refused"


class ProofError(Layer2Error):
    """A proof could not be accepted."""

    code = "proof"


class ProofRefused(ProofError):
    """The proof is wrong; ``check`` names the check that failed."""

    code = "proof_refused"

    def __init__(self, check: str, message: str) -> None:
        super().__init__(f"{check}: {message}")
        self.check = check


class ProofUndecided(ProofError):
    """The validity of the proof cannot be decided now.

    ``ask_again_at`` is unix seconds, or None if waiting alone does not help.
    """

    code = "proof_undecided"
    default_retryable = True

    def __init__(self, message: str, *, ask_again_at: int | None = None) -> None:
        super().__init__(message, deadline=ask_again_at)
        self.ask_again_at = ask_again_at


class StatementRefused(ProofError):
    """The provider does not state now how a transfer ended.

    Code ``end_not_final``: later it may, and ``retryable`` is true. Code ``no_statement``: it never will.
    """

    code = "no_statement"


class SignerError(Layer2Error):
    """A key could not be read or used. The error never contains key material."""

    code = "signer"


class JournalError(Layer2Error):
    """The journal could not be read or written. The failed write caused no send."""

    code = "journal"


class StaleSwap(JournalError):
    """Another task has advanced the swap to a newer version. Load it again."""

    code = "stale_swap"
    default_retryable = True


class NonceTaken(JournalError):
    """Another worker has journaled a transaction with the nonce. Nothing was written; sign with another nonce."""

    code = "nonce_taken"
    default_retryable = True


class JournalBusy(JournalError):
    """Another process acts on the same journal. Reading is possible; only that process may act."""

    code = "journal_busy"


class AsyncTimeout(Layer2Error, TimeoutError):
    """A wait timed out. The operation continues; look it up by ``transfer_id`` or ``tx_id``."""

    code = "timeout"
    default_retryable = True
    default_outcome = Outcome.UNKNOWN


class AsyncRuntimeError(Layer2Error, RuntimeError):
    """The call came from the wrong event loop, thread or process."""

    code = "async_runtime"


class TaskCancelled(Layer2Error):
    """The cancel event or a closing manager ended a wait. The operation continues."""

    code = "task_cancelled"
    default_outcome = Outcome.UNKNOWN
