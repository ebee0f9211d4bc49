"""The exit statuses of the program, and the status of each error. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

from layer2.errors import (
    AuthenticationFailed,
    ConfigurationError,
    InitializationError,
    InsufficientFunds,
    InvalidRequest,
    JournalBusy,
    Layer2Error,
    NodeUnreachable,
    Outcome,
    ProofUndecided,
    SignerError,
    TaskCancelled,
    TransferLost,
    WrongNetwork,
)

__all__ = ["ExitStatus", "combined", "exit_status", "worst"]


class ExitStatus(IntEnum):
    """The exit statuses of ``layer2``."""

    DONE = 0
    REFUSED = 1
    """Refused or failed; no transfer is open."""
    UNKNOWN = 2
    """The outcome is unknown, or a transfer is still open: look it up before acting again."""
    WRONG_USE = 3
    """The command, its arguments or the configuration is wrong."""
    ACTION_NEEDED = 4
    """Something needs you: money, gas, a key, access to a node, another process on the journal, or a transfer that
    requires a person."""
    UNREACHABLE = 5
    """A node or provider did not answer; a retry is harmless."""
    INTERRUPTED = 130
    """Ctrl-C or SIGTERM, and no transfer was open."""


def exit_status(error: Layer2Error) -> ExitStatus:
    """The exit status of an error that ended a command.

    UNKNOWN comes first: a request that may have been carried out must not look as if it was not.
    """
    if error.outcome is Outcome.UNKNOWN or isinstance(error, ProofUndecided | TaskCancelled):
        return ExitStatus.UNKNOWN
    if isinstance(error, InitializationError):
        return worst([exit_status(failure) for failure in error.failures.values()])
    match error:
        case NodeUnreachable() | TimeoutError():
            return ExitStatus.UNREACHABLE
        case InsufficientFunds() | AuthenticationFailed() | WrongNetwork() | SignerError():
            return ExitStatus.ACTION_NEEDED
        case JournalBusy() | TransferLost():
            return ExitStatus.ACTION_NEEDED
        case ConfigurationError() | InvalidRequest():
            return ExitStatus.WRONG_USE
        case _:
            return ExitStatus.REFUSED


_URGENCY = (
    ExitStatus.UNKNOWN,
    ExitStatus.ACTION_NEEDED,
    ExitStatus.UNREACHABLE,
    ExitStatus.WRONG_USE,
    ExitStatus.REFUSED,
)


def worst(statuses: Iterable[ExitStatus]) -> ExitStatus:
    """The most urgent of several."""
    found = set(statuses)
    return next((each for each in _URGENCY if each in found), ExitStatus.REFUSED)


def combined(failures: Mapping[str, Layer2Error]) -> Layer2Error | None:
    """The error for the failures of some layers: the only one, or one that lists them; None if there is none."""
    return next(iter(failures.values()), None) if len(failures) < 2 else InitializationError(failures)
