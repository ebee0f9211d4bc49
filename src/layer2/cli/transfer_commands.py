"""``layer2 transfer``, ``wait`` and ``resume``: the commands that drive transfers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from layer2.cli.exit_status import ExitStatus, combined, exit_status, worst
from layer2.cli.following import connected, followed, joined, nodes_watched, opened, requested
from layer2.cli.output import Result
from layer2.cli.parameters import COMPLETED, Goal, Move, Satoshi
from layer2.cli.reading_commands import found
from layer2.cli.session import InSession, Session
from layer2.cli.transfer_wording import funding_lines, quote_line, transfer_data, transfers_table
from layer2.cli.wording import fields_of
from layer2.errors import AsyncTimeout, IdempotencyConflict, InitializationError, Layer2Error
from layer2.manager import Layer2Manager
from layer2.terms.transfers import Transfer, TransferRequest, TransferState

__all__ = ["resume", "resumed", "transfer", "wait"]


async def transfer(
    amount: Satoshi | None = None,
    *,
    move: Move,
    idempotency_key: str | None = None,
    goal: Goal = COMPLETED,
    session: InSession,
) -> Result:
    """Move bitcoin from one layer to another, wait until it has arrived and is final, and save the proof.

    If the idempotency key already has a transfer, the command requests no quote: it shows that transfer and waits for
    it. A transfer continues only while layer2 runs. After Ctrl-C, a time-out or a crash, run 'layer2 wait ID', or the
    same command with the same key, before the deadline that was shown. The fee does not include gas that you pay
    yourself.

    Args:
        amount: The amount to arrive, in satoshi; or use --send.
        idempotency_key: Calls with the same key are one transfer; a different request with the key is an error.
    """
    request = move.request(amount)
    if idempotency_key is None:
        goal.check()
    async with opened(session) as manager:
        known = None if idempotency_key is None else await _known(manager, request, idempotency_key)
        if known is not None:
            session.terminal.say(f"known        the key belongs to transfer {known.transfer_id}, {known.state.value}")
            if not known.state.is_final:
                await joined(manager, session)
            transfer_id = known.transfer_id
        else:
            # Only a new transfer is refused: an open one has to continue.
            goal.check()
            down = await connected(manager, session)
            # Other layers may be down.
            needed = (move.source.value, move.destination.value)
            problem = combined({name: failure for name, failure in down.items() if name in needed})
            if problem is not None:
                raise problem
            transfer_id = (await _begun(manager, request, idempotency_key, session)).transfer_id
        async with nodes_watched(manager, session, move.source, move.destination):
            return await followed(manager, transfer_id, goal, session)


async def wait(
    transfer_id: str | None = None, *, key: str | None = None, goal: Goal = COMPLETED, session: InSession
) -> Result:
    """Resume a transfer, wait until it has ended, and save the proof.

    If a running service drives the transfer, this command only watches it.

    Args:
        transfer_id: The id that layer2 transfer and layer2 list show; or use --key.
        key: The transfer's idempotency key.
    """
    async with opened(session) as manager:
        one = await found(manager, transfer_id, key)
        # A payment of others may have arrived after the end.
        if not one.state.is_final or one.request.funded_by_others:
            await joined(manager, session)
        async with nodes_watched(manager, session, one.request.source, one.request.destination):
            return await followed(manager, one.transfer_id, goal, session)


async def resume(*, timeout: float | None = None, session: InSession) -> Result:
    """Resume every open transfer and wait until all have ended. The proofs go to the current directory.

    A layer whose node is down is shown. Transfers that do not need it continue, and it joins when it is up. Exit
    status 4: a transfer or a node needs you.

    Args:
        timeout: Seconds to wait. The transfers continue after them.
    """
    goal = Goal(timeout=timeout)
    async with opened(session) as manager:
        # Listed first, because some may end while the layers connect.
        open_transfers = await manager.list_transfers_async(open_only=True)
        down = await connected(manager, session)
        # Refused if another process acts, even if no transfer is open.
        await manager.resume_transfers_async()
        async with nodes_watched(manager, session):
            ended = await asyncio.gather(
                *(followed(manager, each.transfer_id, goal, session, names_transfer=True) for each in open_transfers),
                return_exceptions=True,
            )
        now = [await manager.get_transfer_async(each.transfer_id) for each in open_transfers]
    problems: list[Layer2Error] = []
    for outcome in ended:
        if isinstance(outcome, Layer2Error):
            problems.append(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    return resumed(now, problems, down, time.time())


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
            "down": {name: fields_of(failure, "code", "message") for name, failure in down.items()},
        },
        transfers_table(transfers, now) if transfers else ["no transfer is open"],
        tuple(f"{name} is down: {failure.message}" for name, failure in down.items()) if not is_open else (),
        problem=problems[0] if problems else None,
        ended=ended if problems else None,
    )


async def _known(manager: Layer2Manager, request: TransferRequest, key: str) -> Transfer | None:
    """The transfer that holds the key. An abandoned transfer has released it.

    Raises:
        IdempotencyConflict: the transfer has another request.
    """
    known = await manager.get_transfer_by_key_async(key)
    if known is None or known.state is TransferState.ABANDONED:
        return None
    if known.request != request:
        raise IdempotencyConflict(
            "the idempotency key belongs to a transfer with another request",
            transfer_id=known.transfer_id,
            funds=known.funds,
            deadline=known.deadline,
            remedy="use the same arguments with this key, or another key for another transfer",
        )
    return known


async def _begun(
    manager: Layer2Manager, request: TransferRequest, idempotency_key: str | None, session: Session
) -> Transfer:
    with session.terminal.working("asking the providers"):
        offer = await requested(manager, request)
    session.terminal.say(f"quoted       {quote_line(offer, time.time())}")
    with session.terminal.working("agreeing on terms"):
        begun = await manager.start_transfer_async(offer, idempotency_key=idempotency_key)
    session.terminal.say(f"started      transfer {begun.transfer_id}")
    for line in funding_lines(begun, time.time()):
        session.terminal.say(line)
    return begun
