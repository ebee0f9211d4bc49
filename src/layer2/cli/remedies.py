"""Remedies for a user of the command line. The library's remedies name Python calls; these name commands."""

from __future__ import annotations

from layer2.cli.session import Session
from layer2.errors import AsyncTimeout, InitializationError, Layer2Error, NodeUnreachable, TransferLost

__all__ = ["for_shell"]


def for_shell(error: Layer2Error, session: Session) -> Layer2Error:
    """Change the remedy of an error into a command with the configuration of this run; return the same error.

    An error that ends a run with one open transfer names that transfer.
    """
    if error.transfer_id is None and len(session.under_way) == 1:
        (error.transfer_id,) = session.under_way
    if error.code == "transfer_timeout" and error.transfer_id is not None:
        error.message = f"the time limit has passed, and transfer {error.transfer_id} is still open"
    remedy = _remedy(error, session)
    if remedy is not None:
        error.remedy = session.addressed(remedy)
    if isinstance(error, InitializationError):
        for failure in error.failures.values():
            for_shell(failure, session)
    return error


def _remedy(error: Layer2Error, session: Session) -> str | None:
    match error.code:
        case "transfer_timeout" if error.transfer_id is not None:
            return _wait(error.transfer_id, session)
        case "max_fee_required":
            return "set the maximum fee in satoshi: --max-fee"
        case "max_fee":
            return "set a higher maximum fee in satoshi: --max-fee"
        case "no_configuration":
            return "create one: layer2 config init; or name it: --config"
        case "unknown_transfer":
            return f"check the id or key, and journal.path of the configuration; list all: {session.hint('list')}"
        case "initialization":
            return f"find the cause: {session.hint('doctor')}"
        case _ if isinstance(error, TransferLost):
            return error.remedy
        case _ if error.transfer_id in session.under_way and not _names_a_command(error.remedy):
            return _wait(error.transfer_id or "", session)
        case _ if isinstance(error, AsyncTimeout):
            return f"find out which node is slow or down: {session.hint('doctor')}"
        case _ if isinstance(error, NodeUnreachable) and error.remedy is None:
            return f"try again, or find the cause: {session.hint('doctor')}"
        case _ if error.remedy is not None and "await " in error.remedy:
            return f"see the open transfers: {session.hint('list', '--open')}"
        case _:
            return error.remedy


def _wait(transfer_id: str, session: Session) -> str:
    return f"it continues only while layer2 runs: {session.hint('wait', transfer_id)}"


def _names_a_command(remedy: str | None) -> bool:
    """Whether a remedy is for the shell and not for a Python program."""
    return remedy is not None and "await " not in remedy
