"""What an ended command tells its caller in one number, and how an error becomes that number. Pure."""

from __future__ import annotations

from collections.abc import Iterable
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

__all__ = ["ExitStatus", "exit_status", "worst"]


class ExitStatus(IntEnum):
    """The exit statuses of ``layer2``."""

    DONE = 0
    REFUSED = 1
    """Refused or failed; nothing is open."""
    UNKNOWN = 2
    """The outcome is not known yet: look before acting again. Also a transfer that is still under way."""
    WRONG_USE = 3
    """The command, its arguments or the configuration."""
    ACTION_NEEDED = 4
    """Something of yours needs you: money, gas, a key, access to a node, another process on the journal, or a transfer
    that a human has to look at."""
    UNREACHABLE = 5
    """A node or provider did not answer; asking again does no harm."""
    INTERRUPTED = 130
    """Ctrl-C or SIGTERM, and nothing was under way."""


def exit_status(error: Layer2Error) -> ExitStatus:
    """The status for an error that ended a command.

    What is not known comes first: whatever the reason, a request that may have happened must not look like one that
    did not.
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
