"""``layer2 transfer``, ``wait`` and ``resume``: the commands that drive transfers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from layer2.cli.amounts import Satoshi
from layer2.cli.envelope import Result
from layer2.cli.following import Goal, UntilName, connected, followed, joined, nodes_watched, opened
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
    """Move bitcoin from one layer to another, wait until it has arrived and is final, and save the proof.

    If the idempotency key already has a transfer, the command requests no quote: it shows that transfer and waits for
    it. A transfer continues only while layer2 runs. After Ctrl-C, a time-out or a crash, run 'layer2 wait ID', or the
    same command with the same key, before the deadline that was shown.

    Args:
        amount: The amount to arrive, in satoshi; or use --send.
        source: The layer that pays.
        destination: The layer that receives.
        send: The amount to leave the source, in satoshi, instead of the amount to arrive.
        recipient: A BOLT 11 invoice of another party. Default: you receive the money.
        max_fee: The maximum fee in satoshi: what leaves the source less what arrives. Default: 1 % plus twice the
            estimated network costs. Gas that you pay yourself is not included.
        idempotency_key: Calls with the same key are one transfer; a different request with the key is an error.
        until: arrived: return when the money is usable, before it is final. completed: when it is final.
        proof: The file for the proof. Default: transfer-ID.json in the current directory.
        timeout: Seconds to wait. The transfer continues after them.
    """
    goal = Goal.within(timeout, proof, until)
    if (amount is None) == (send is None):
        raise InvalidRequest("use exactly one of AMOUNT (to arrive) and --send (to leave)", code="usage")
    request = TransferRequest(BTC, amount, source, destination, recipient, max_fee, send)
    async with opened(session) as manager:
        known = None if idempotency_key is None else await _known(manager, request, idempotency_key)
        if known is not None:
            session.terminal.say(f"known        the key belongs to transfer {known.transfer_id}, {known.state.value}")
            if not known.state.is_final:
                await joined(manager, session)
            transfer_id = known.transfer_id
        else:
            _check_up(request, await connected(manager, session))
            transfer_id = (await _begun(manager, request, idempotency_key, session)).transfer_id
        async with nodes_watched(manager, session, source, destination):
            return await followed(manager, transfer_id, goal, session)


async def wait(
    transfer_id: str | None = None,
    *,
    key: str | None = None,
    until: UntilName = "completed",
    proof: Path | None = None,
    timeout: float | None = None,
    session: InSession,
) -> Result:
    """Resume a transfer, wait until it has ended, and save the proof.

    If a running service drives the transfer, this command only watches it.

    Args:
        transfer_id: The id that layer2 transfer and layer2 list show; or use --key.
        key: The transfer's idempotency key.
        until: arrived: return when the money is usable, before it is final. completed: when it is final.
        proof: The file for the proof. Default: transfer-ID.json in the current directory.
        timeout: Seconds to wait. The transfer continues after them.
    """
    goal = Goal.within(timeout, proof, until)
    async with opened(session) as manager:
        one = await found(manager, transfer_id, key)
        if not one.state.is_final:
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
    ends_at = None if timeout is None else time.monotonic() + timeout
    async with opened(session) as manager:
        # Listed first, because some may end while the layers connect.
        open_transfers = await manager.list_transfers_async(open_only=True)
        down = await connected(manager, session)
        # Refused if another process acts, even if no transfer is open.
        await manager.resume_transfers_async()
        goal = Goal(ends_at, names_transfer=True)
        async with nodes_watched(manager, session):
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


def _check_up(request: TransferRequest, down: Mapping[str, Layer2Error]) -> None:
    """Check that both layers of a new transfer are up. Other layers may be down.

    Raises:
        Layer2Error: one of them is down; no transfer was started.
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
    session.terminal.say(f"started      transfer {begun.transfer_id}")
    return begun
