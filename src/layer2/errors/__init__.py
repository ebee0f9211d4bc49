"""All errors of layer2.

The public API raises only these errors and ``asyncio.CancelledError``::

    Layer2Error
    ├── ConfigurationError (ValueError)     a wrong key or value; names the key, its origin and the allowed values
    ├── InvalidRequest (ValueError)         the caller requested something impossible
    │   ├── InvalidAmount                   zero, negative, a float, a bool, not exact in the unit
    │   ├── UnknownAsset                    not an asset of that layer
    │   ├── ProtocolNotConfigured           the configuration has no section for the layer
    │   ├── ProtocolNotImplemented          this version does not support the layer or the kind of recipient
    │   └── FormatError                     bytes or text that violate a standard
    ├── NodeError                           a node or provider could not be used
    │   ├── NodeUnreachable                 no connection, or no answer in time
    │   ├── NodeRefused                     it answered with an error
    │   ├── BadAnswer                       its answer cannot be correct
    │   ├── WrongNetwork                    it is on another chain or network than the configuration
    │   └── AuthenticationFailed            another certificate than the pinned one, or a refused macaroon
    ├── InitializationError                 one or more layers could not be initialized; lists each
    ├── TransactionError                    a transaction was refused, failed or dropped
    │   ├── InsufficientFunds               not enough of the asset, of gas or of liquidity
    │   └── FundsRulesError                 the act would violate a rule that protects funds
    ├── TransferError                       a transfer between layers
    │   ├── QuoteRefused                    no provider gave a quote, or its fee is above the limit
    │   ├── QuoteExpired                    the quote is no longer valid
    │   ├── TermsRefused                    the terms are forged, or differ from the quote
    │   ├── IdempotencyConflict             the key was used with another request
    │   ├── UnknownTransfer                 no transfer with that id in the journal
    │   ├── TransferRefunded                the money was refunded; contains the refund's proof
    │   ├── TransferAbandoned               it ended without any money locked
    │   └── TransferLost                    money was lost; contains the evidence
    ├── ProofError
    │   ├── ProofRefused                    the proof is wrong; names the check that failed
    │   ├── ProofUndecided                  it cannot be decided now; states why and when to ask again
    │   └── StatementRefused                the provider does not state how the transfer ended, or not yet
    ├── SignerError                         a key could not be read or used
    ├── JournalError                        the durable record could not be read or written
    │   ├── StaleSwap                       another task has advanced the swap
    │   ├── NonceTaken                      another worker has journaled a transaction with the nonce
    │   └── JournalBusy                     another process acts on the same journal
    ├── AsyncTimeout (TimeoutError)         a wait timed out; the operation continues
    ├── AsyncRuntimeError (RuntimeError)    the wrong loop, thread or process
    └── TaskCancelled                       an event or a closing manager ended a wait
"""

from layer2.errors.base import (
    AsyncRuntimeError,
    AsyncTimeout,
    AuthenticationFailed,
    BadAnswer,
    ConfigurationError,
    FormatError,
    FundsRulesError,
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
    JournalBusy,
    JournalError,
    Layer2Error,
    NodeError,
    NodeRefused,
    NodeUnreachable,
    NonceTaken,
    Outcome,
    ProofError,
    ProofRefused,
    ProofUndecided,
    ProtocolNotConfigured,
    ProtocolNotImplemented,
    QuoteExpired,
    QuoteRefused,
    SignerError,
    StaleSwap,
    StatementRefused,
    TaskCancelled,
    TermsRefused,
    TransactionError,
    TransferError,
    UnknownAsset,
    WrongNetwork,
)
from layer2.errors.transfers import (
    IdempotencyConflict,
    InitializationError,
    TransferAbandoned,
    TransferLost,
    TransferRefunded,
    UnknownTransfer,
)

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
    "NonceTaken",
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
    "StatementRefused",
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
