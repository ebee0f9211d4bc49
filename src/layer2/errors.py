"""Everything that layer2 raises.

Besides ``asyncio.CancelledError`` nothing else leaves the public API::

    Layer2Error
    ├── ConfigurationError (ValueError)     a wrong key or value; names key, origin and what is allowed
    ├── InvalidRequest (ValueError)         the caller asked for something that cannot be
    │   ├── InvalidAmount                   zero, negative, a float, a bool, not exact in the unit
    │   ├── UnknownAsset                    not an asset of that layer
    │   ├── ProtocolNotConfigured           the layer exists, the configuration does not name it
    │   ├── ProtocolNotImplemented          a layer, or a way of being paid, that is known and not built yet
    │   └── FormatError                     bytes or text that a standard does not allow
    ├── NodeError                           a node or provider could not be used
    │   ├── NodeUnreachable                 no connection, or no answer in time
    │   ├── NodeRefused                     it answered with an error of its own
    │   ├── BadAnswer                       it answered with something that cannot be right
    │   ├── WrongNetwork                    it is on another chain or network than configured
    │   └── AuthenticationFailed            certificate not the pinned one, macaroon refused
    ├── InitializationError                 one or more layers could not be initialized; lists each
    ├── TransactionError                    a transaction was refused, failed or dropped
    │   ├── InsufficientFunds               not enough of the asset, of gas or of liquidity
    │   └── FundsRulesError                 acting would break a rule that protects funds
    ├── TransferError                       a transfer between layers
    │   ├── QuoteRefused                    the provider gave none, or asks more than the limit
    │   ├── QuoteExpired                    it is older than its own validity
    │   ├── TermsRefused                    forged, or not what was quoted
    │   ├── IdempotencyConflict             the key was used with another request
    │   ├── UnknownTransfer                 no transfer with that id in the journal
    │   ├── TransferRefunded                the money came back; holds the refund's proof
    │   ├── TransferAbandoned               it ended without any money locked
    │   └── TransferLost                    money was lost; holds the evidence
    ├── ProofError
    │   ├── ProofRefused                    the proof shows to be wrong; says which check failed
    │   └── ProofUndecided                  cannot be decided now; says why and when to ask again
    ├── SignerError                         a key could not be read or used
    ├── JournalError                        the durable record could not be read or written
    │   ├── StaleSwap                       another task moved the swap first
    │   └── JournalBusy                     another process acts on the same journal
    ├── AsyncTimeout (TimeoutError)         a wait ended; what was started goes on
    ├── AsyncRuntimeError (RuntimeError)    the wrong loop, thread or process
    └── TaskCancelled                       a wait was ended by an event or by a closing manager
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from layer2.proofs.model import TransferProof
    from layer2.terms.transfers import Transfer

__all__ = [
    "AsyncRuntimeError",
    "AsyncTimeout",
    "AuthenticationFailed",
    "BadAnswer",
    "ConfigurationError",
    "FormatError",
    "FundsRulesError",
    "IdempotencyConflict",
    "InitializationError",
    "InsufficientFunds",
    "InvalidAmount",
    "InvalidRequest",
    "JournalBusy",
    "JournalError",
    "Layer2Error",
    "NodeError",
    "NodeRefused",
    "NodeUnreachable",
    "Outcome",
    "ProofError",
    "ProofRefused",
    "ProofUndecided",
    "ProtocolNotConfigured",
    "ProtocolNotImplemented",
    "QuoteExpired",
    "QuoteRefused",
    "SignerError",
    "StaleSwap",
    "TaskCancelled",
    "TermsRefused",
    "TransactionError",
    "TransferAbandoned",
    "TransferError",
    "TransferLost",
    "TransferRefunded",
    "UnknownAsset",
    "UnknownTransfer",
    "WrongNetwork",
]


class Outcome(Enum):
    """What is known of the thing that was asked for when the error was raised."""

    NOT_SENT = "not_sent"
    """Nothing left this process; asking again is safe."""
    REJECTED = "rejected"
    """The other side refused it; it did not happen."""
    UNKNOWN = "unknown"
    """It was sent and nothing was heard. It may have happened: look it up before acting again."""


class Layer2Error(Exception):
    """The base of all errors of this package.

    Args:
        message: a lower-case fragment that says what happened, and first of all to the money.
        code: a stable word to search for; the class's own where it is not given.
        protocol: the layer, as in ``Layer2ProtocolType`` (``"BOB"``), where there is one.
        operation: the method or remote call that failed.
        retryable: whether asking again unchanged may succeed and cannot do harm.
        outcome: what is known of the request.
        transfer_id: the transfer, where there is one.
        tx_id: the transaction or payment hash, where one was signed or sent.
        funds: where the money is, as a sentence.
        deadline: unix seconds by which a party must act or until which nothing can be done.
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
    """The caller asked for something that cannot be; nothing was sent."""

    code = "invalid_request"


class InvalidAmount(InvalidRequest):
    """An amount that is not a positive integer, or that the unit cannot express exactly."""

    code = "invalid_amount"


class UnknownAsset(InvalidRequest):
    """The layer does not carry that asset, or the configuration does not name its token."""

    code = "unknown_asset"


class ProtocolNotConfigured(InvalidRequest):
    """The configuration has no section for that layer."""

    code = "protocol_not_configured"


class ProtocolNotImplemented(InvalidRequest):
    """Known by its name and not built in this version: a layer of ``Layer2ProtocolType``, or a way of being paid."""

    code = "protocol_not_implemented"


class FormatError(InvalidRequest):
    """Bytes or text that the standard named in the message does not allow."""

    code = "format"


class NodeError(Layer2Error):
    """A node or provider could not be used."""

    code = "node"


class NodeUnreachable(NodeError):
    """No connection, or no answer in time. After a send the outcome is UNKNOWN."""

    code = "node_unreachable"
    default_retryable = True


class NodeRefused(NodeError):
    """The node answered with an error of its own; ``node_code`` and ``node_message`` keep its words."""

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
    """The node answered with something that cannot be right."""

    code = "bad_answer"


class WrongNetwork(NodeError):
    """The node is on another chain or network than the configuration says."""

    code = "wrong_network"


class AuthenticationFailed(NodeError):
    """The node's certificate is not the pinned one, or it refused our credentials."""

    code = "authentication"


class InitializationError(Layer2Error):
    """One or more layers could not be initialized; ``failures`` has each with its error.

    The layers that are not in ``failures`` stay usable, and those that are join when they are back. Open transfers go
    on meanwhile with what is up: ``open_transfers`` has them, and ``transfer_id``, ``funds`` and ``deadline`` are those
    of the most urgent one. The outcome is UNKNOWN where there is one.
    """

    code = "initialization"

    def __init__(self, failures: Mapping[str, Layer2Error], open_transfers: Sequence[Transfer] = ()) -> None:
        listed = "; ".join(f"{name}: {error}" for name, error in failures.items())
        urgent = min(open_transfers, key=lambda each: each.deadline or 0, default=None)
        goes_on = f"; open transfers go on with the layers that are up: {len(open_transfers)}" if open_transfers else ""
        super().__init__(
            f"not every layer could be initialized: {listed}{goes_on}",
            retryable=all(error.retryable for error in failures.values()),
            outcome=None if urgent is None else Outcome.UNKNOWN,
            transfer_id=None if urgent is None else urgent.transfer_id,
            funds=None if urgent is None else urgent.funds,
            deadline=None if urgent is None else urgent.deadline,
        )
        self.failures: Mapping[str, Layer2Error] = dict(failures)
        self.open_transfers: tuple[Transfer, ...] = tuple(open_transfers)


class TransactionError(Layer2Error):
    """A transaction or payment was refused, failed or dropped."""

    code = "transaction"


class InsufficientFunds(TransactionError):
    """Not enough of the asset, of gas, or of liquidity to finish what would be begun."""

    code = "insufficient_funds"


class FundsRulesError(TransactionError):
    """Acting now would break a rule that protects funds (a margin, a limit, a second send)."""

    code = "funds_rules"


class TransferError(Layer2Error):
    """A transfer between layers could not be made."""

    code = "transfer"


class QuoteRefused(TransferError):
    """No provider gave a quote, or every quote is above what the caller allows."""

    code = "quote_refused"


class QuoteExpired(TransferError):
    """The quote is older than its own validity; ask for a new one."""

    code = "quote_expired"


class TermsRefused(TransferError):
    """Quote or terms are forged, differ from what was agreed, or leave too little time."""

    code = "terms_refused"


class IdempotencyConflict(TransferError):
    """The idempotency key has another request, or the quote has a transfer under another key."""

    code = "idempotency_conflict"


class UnknownTransfer(TransferError):
    """The journal has no transfer with that id."""

    code = "unknown_transfer"


class TransferRefunded(TransferError):
    """The transfer did not complete and the money came back.

    ``proof`` is the refund's proof, or None where the source is Lightning and nothing was ever locked on a
    chain: a Lightning payment that failed leaves nothing that a stranger could check.
    """

    code = "transfer_refunded"
    default_outcome = Outcome.REJECTED

    def __init__(self, message: str, *, transfer_id: str, proof: TransferProof | None) -> None:
        super().__init__(message, transfer_id=transfer_id)
        self.proof = proof


class TransferAbandoned(TransferError):
    """The transfer ended without any money locked. Its idempotency key and its quote are free again."""

    code = "transfer_abandoned"


class TransferLost(TransferError):
    """The provider has the source, and the destination went back to it: money was lost.

    The transactions of both legs are the evidence. Keep the journal and the data of both nodes.
    """

    code = "transfer_lost"
    default_outcome = Outcome.REJECTED

    def __init__(
        self,
        message: str,
        *,
        transfer_id: str | None = None,
        funds: str | None = None,
        send_amount: int | None = None,
        receive_amount: int | None = None,
        source_tx_id: str | None = None,
        destination_tx_id: str | None = None,
    ) -> None:
        super().__init__(
            message,
            transfer_id=transfer_id,
            tx_id=source_tx_id,
            funds=funds,
            remedy="keep the journal and the data of both nodes: they are the evidence",
        )
        self.send_amount = send_amount
        """What the provider collected, in the asset's smallest unit."""
        self.receive_amount = receive_amount
        """What did not arrive."""
        self.source_tx_id = source_tx_id
        self.destination_tx_id = destination_tx_id


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
    """Whether the proof holds cannot be decided now.

    ``ask_again_at`` is unix seconds, or None where time alone will not help.
    """

    code = "proof_undecided"
    default_retryable = True

    def __init__(self, message: str, *, ask_again_at: int | None = None) -> None:
        super().__init__(message, deadline=ask_again_at)
        self.ask_again_at = ask_again_at


class SignerError(Layer2Error):
    """A key could not be read or used. Never carries key material."""

    code = "signer"


class JournalError(Layer2Error):
    """The durable record could not be read or written. Nothing was sent on its account."""

    code = "journal"


class StaleSwap(JournalError):
    """The swap's version moved on in the meantime: another task acts on it. Load it again."""

    code = "stale_swap"
    default_retryable = True


class JournalBusy(JournalError):
    """Another process acts on the same journal. What only reads works; what acts is for that process alone."""

    code = "journal_busy"


class AsyncTimeout(Layer2Error, TimeoutError):
    """A wait ended. What was started goes on; look it up by ``transfer_id`` or ``tx_id``."""

    code = "timeout"
    default_retryable = True
    default_outcome = Outcome.UNKNOWN


class AsyncRuntimeError(Layer2Error, RuntimeError):
    """Called from the wrong event loop, thread or process."""

    code = "async_runtime"


class TaskCancelled(Layer2Error):
    """A wait was ended by its cancel event, or by a manager that closes. What was started goes on."""

    code = "task_cancelled"
    default_outcome = Outcome.UNKNOWN
