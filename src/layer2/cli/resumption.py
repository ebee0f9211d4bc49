"""The result of ``layer2 resume``: how each transfer ended, and which layers are down. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layer2.cli.envelope import Result
from layer2.cli.exit_status import ExitStatus, exit_status, worst
from layer2.cli.transfer_wording import transfer_data, transfers_table
from layer2.errors import AsyncTimeout, InitializationError, Layer2Error
from layer2.terms.transfers import Transfer, TransferState

__all__ = ["resumed"]


def resumed(
    transfers: Sequence[Transfer], ended_badly: Sequence[Layer2Error], down: Mapping[str, Layer2Error], now: float
) -> Result:
    """The result of resuming.

    Args:
        transfers: those that were open, in their current state.
        ended_badly: the errors of their waits.
        down: the error of each layer that could not be connected.
    """
    # A transfer that is still open is more urgent than one that has ended badly.
    problems = sorted(ended_badly, key=lambda each: not isinstance(each, AsyncTimeout))
    statuses = [exit_status(each) for each in problems]
    is_open = any(not each.state.is_final for each in transfers)
    if is_open and down:
        statuses += [exit_status(failure) for failure in down.values()]
        problems.append(InitializationError(down))
    needs_a_human = any(each.attention is not None or each.state is TransferState.LOST for each in transfers)
    ended = ExitStatus.ACTION_NEEDED if needs_a_human or ExitStatus.ACTION_NEEDED in statuses else worst(statuses)
    if needs_a_human and not problems:
        problems.append(Layer2Error("a transfer needs you", code="attention", remedy="see ATTENTION or LOST above"))
    return Result(
        {
            "transfers": [transfer_data(each) for each in transfers],
            "down": {name: {"code": failure.code, "message": failure.message} for name, failure in down.items()},
        },
        transfers_table(transfers, now) if transfers else ["no transfer is open"],
        tuple(f"{name} is down: {failure.message}" for name, failure in down.items()) if not is_open else (),
        problem=problems[0] if problems else None,
        ended=ended if problems else None,
    )
