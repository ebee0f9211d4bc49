"""What to do next, for a user at a shell: the library's own remedies name Python calls."""

from __future__ import annotations

from layer2.cli.session import Session
from layer2.errors import InitializationError, Layer2Error, TransferLost

__all__ = ["for_shell"]


def for_shell(error: Layer2Error, session: Session) -> Layer2Error:
    """Name the command instead of the Python call, with the configuration that this run has; the same object.

    An error that ends a run with a transfer under way names that transfer: it is never about a transfer that was not
    begun.
    """
    if error.transfer_id is None and len(session.under_way) == 1:
        (error.transfer_id,) = session.under_way
    if error.code == "transfer_timeout" and error.transfer_id is not None:
        error.message = f"the time to wait is over, and transfer {error.transfer_id} is still under way"
    remedy = _remedy(error, session)
    if remedy is not None:
        error.remedy = remedy
    if isinstance(error, InitializationError):
        for failure in error.failures.values():
            for_shell(failure, session)
    return error


def _remedy(error: Layer2Error, session: Session) -> str | None:
    match error.code:
        case "transfer_timeout" if error.transfer_id is not None:
            return f"it goes on only while layer2 runs: {session.hint('wait', error.transfer_id)}"
        case "max_fee_required":
            return "name the most that it may cost, in satoshi: --max-fee"
        case "no_configuration":
            return "make one: layer2 config init; or name it: --config"
        case "unknown_transfer":
            return f"check the id or key, and journal.path of the configuration; list all: {session.hint('list')}"
        case "initialization":
            return f"find out what is wrong: {session.hint('doctor')}"
        case _ if isinstance(error, TransferLost):
            return error.remedy
        case _ if error.remedy is not None and "await " in error.remedy:
            return f"look: {session.hint('list', '--open')}"
        case _ if error.remedy is None and error.transfer_id in session.under_way:
            return f"it goes on only while layer2 runs: {session.hint('wait', error.transfer_id or '')}"
        case _:
            return None
