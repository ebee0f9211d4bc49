"""``layer2 transfer``, ``wait`` and ``resume``: what acts on transfers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from layer2.cli.amounts import Satoshi
from layer2.cli.envelope import Result
from layer2.cli.following import Goal, UntilName, connected, followed, joined, opened
from layer2.cli.layer_names import Destination, Source
from layer2.cli.reading_commands import found
from layer2.cli.resumption import resumed
from layer2.cli.session import InSession, Session
from layer2.cli.transfer_wording import quote_line
from layer2.errors import IdempotencyConflict, InitializationError, InvalidRequest, Layer2Error
from layer2.model.money import BTC
from layer2.terms.transfers import Transfer, TransferRequest, TransferState

if TYPE_CHECKING:
    from layer2.manager import Layer2Manager

__all__ = ["resume", "transfer", "wait"]


async def transfer(
    amount: Satoshi | None = None,
    *,
    source: Source,
    destination: Destination,
    send: Satoshi | None = None,
    recipient: str | None = None,
    max_fee: Satoshi | None = None,
    idempotency_key: str | None = None,
    until: UntilName = "completed",
    proof: Path | None = None,
    timeout: float | None = None,
    session: InSession,
) -> Result:
    """Move bitcoin from one layer to another, wait until it has arrived for good, and keep the proof.

    With an idempotency key that has a transfer, nobody is asked for a price: that transfer is shown and waited for.
    Nothing of a transfer goes on by itself while no layer2 runs. After Ctrl-C, a time-out or a crash go on with
    'layer2 wait ID', or with the same command and the same key, before the deadline that was shown.

    Args:
        amount: What has to arrive, in satoshi; or give --send.
        source: The layer that pays.
        destination: The layer that receives.
        send: What leaves the source, in satoshi, instead of what has to arrive.
        recipient: A BOLT 11 invoice of someone else that is to be paid; omitted, the money comes to you.
        max_fee: Most that may leave the source beyond what arrives, in satoshi; omitted, 1 % and twice the estimated
            network costs. Gas that you pay yourself is not in it.
        idempotency_key: Calls with the same key are one transfer; with another request it is an error.
        until: arrived: return when the money is usable, before it is final. completed: when it is final.
        proof: Where the proof goes; else transfer-ID.json in the current directory.
        timeout: Seconds to wait; the transfer does not end with them.
    """
    goal = Goal.within(timeout, proof, until)
    if (amount is None) == (send is None):
        raise InvalidRequest("give exactly one of AMOUNT, what arrives, and --send, what leaves", code="usage")
    request = TransferRequest(BTC, amount, source, destination, recipient, max_fee, send)
    async with opened(session) as manager:
        known = None if idempotency_key is None else await _known(manager, request, idempotency_key)
        if known is not None:
            session.terminal.say(f"known        the key has transfer {known.transfer_id}, {known.state.value}")
            if not known.state.is_final:
                await joined(manager, session)
            return await followed(manager, known.transfer_id, goal, session)
        _check_up(request, await connected(manager, session))
        begun = await _begun(manager, request, idempotency_key, session)
        return await followed(manager, begun.transfer_id, goal, session)


async def wait(
    transfer_id: str | None = None,
    *,
    key: str | None = None,
    until: UntilName = "completed",
    proof: Path | None = None,
    timeout: float | None = None,
    session: InSession,
) -> Result:
    """Go on with a transfer and wait until it has ended; keep the proof.

    Beside a running service that goes on with it, this command only looks.

    Args:
        transfer_id: As layer2 transfer and layer2 list show it; or give --key.
        key: The transfer's idempotency key.
        until: arrived: return when the money is usable, before it is final. completed: when it is final.
        proof: Where the proof goes; else transfer-ID.json in the current directory.
        timeout: Seconds to wait; the transfer does not end with them.
    """
    goal = Goal.within(timeout, proof, until)
    async with opened(session) as manager:
        one = await found(manager, transfer_id, key)
        if not one.state.is_final:
            await joined(manager, session)
        return await followed(manager, one.transfer_id, goal, session)


async def resume(*, timeout: float | None = None, session: InSession) -> Result:
    """Go on with every open transfer and wait until all have ended. The proofs go to the current directory.

    A layer whose node is down is shown. The transfers that do not need it go on, and it joins when it is back. Exit
    status 4 where a transfer or a node needs you.

    Args:
        timeout: Seconds to wait; no transfer ends with them.
    """
    ends_at = None if timeout is None else time.monotonic() + timeout
    async with opened(session) as manager:
        # Listed first: some may have ended by the time that every layer was tried.
        open_transfers = await manager.list_transfers_async(open_only=True)
        down = await connected(manager, session)
        # Refused beside another process that acts, also where nothing is open.
        await manager.resume_transfers_async()
        goal = Goal(ends_at, names_transfer=True)
        ended = await asyncio.gather(
            *(followed(manager, each.transfer_id, goal, session) for each in open_transfers), return_exceptions=True
        )
        now = [await manager.get_transfer_async(each.transfer_id) for each in open_transfers]
    problems: list[Layer2Error] = []
    for outcome in ended:
        if isinstance(outcome, Layer2Error):
            problems.append(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    return resumed(now, problems, down, time.time())


async def _known(manager: Layer2Manager, request: TransferRequest, key: str) -> Transfer | None:
    """The transfer that holds the key; one that was abandoned has given it back.

    Raises:
        IdempotencyConflict: it was for another request.
    """
    known = await manager.get_transfer_by_key_async(key)
    if known is None or known.state is TransferState.ABANDONED:
        return None
    if known.request != request:
        raise IdempotencyConflict(
            "the idempotency key has a transfer of another request",
            transfer_id=known.transfer_id,
            funds=known.funds,
            deadline=known.deadline,
            remedy="use the key with the same arguments, or another key for another transfer",
        )
    return known


def _check_up(request: TransferRequest, down: Mapping[str, Layer2Error]) -> None:
    """Check that both layers of a new transfer are up; another one may be down.

    Raises:
        InitializationError: one is down; the transfer was not begun.
    """
    needed = {layer.value for layer in (request.source, request.destination)}
    missing = {name: failure for name, failure in down.items() if name in needed}
    if len(missing) == 1:
        raise next(iter(missing.values()))
    if missing:
        raise InitializationError(missing)


async def _begun(
    manager: Layer2Manager, request: TransferRequest, idempotency_key: str | None, session: Session
) -> Transfer:
    with session.terminal.working("asking the providers"):
        offer = await manager.quote_transfer_async(
            request.asset,
            request.amount,
            request.source,
            request.destination,
            recipient=request.recipient,
            max_fee=request.max_fee,
            send_amount=request.send_amount,
        )
    session.terminal.say(f"quoted       {quote_line(offer, time.time())}")
    with session.terminal.working("agreeing on terms"):
        begun = await manager.start_transfer_async(offer, idempotency_key=idempotency_key)
    session.terminal.say(f"begun        transfer {begun.transfer_id}")
    return begun
