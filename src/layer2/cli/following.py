"""Opens the manager for a command, and follows a transfer to the state that the user asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from layer2.cli.output import Result
from layer2.cli.parameters import Goal
from layer2.cli.session import Session
from layer2.cli.transfer_wording import event_line, news_of, next_line, transfer_data
from layer2.cli.wording import duration, sat, until
from layer2.errors import (
    InitializationError,
    JournalBusy,
    Layer2Error,
    ProofError,
    TransferAbandoned,
    TransferLost,
    TransferRefunded,
)
from layer2.manager import Layer2Manager
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs.model import TransferProof
from layer2.terms.transfers import Quote, Transfer, TransferRequest

__all__ = ["connected", "followed", "joined", "nodes_watched", "opened", "requested", "show_changes"]

_NODE_SECONDS = 5.0
"""The interval at which waiting commands ask the nodes."""


@asynccontextmanager
async def opened(session: Session) -> AsyncIterator[Layer2Manager]:
    """The manager of the configuration. It asks no node and resumes no transfer yet."""
    async with Layer2Manager(session.config()) as manager:
        yield manager


async def requested(manager: Layer2Manager, request: TransferRequest) -> Quote:
    """The cheapest quote of the configured providers."""
    return await manager.quote_transfer_async(
        request.asset,
        request.amount,
        request.source,
        request.destination,
        recipient=request.recipient,
        max_fee=request.max_fee,
        send_amount=request.send_amount,
        funded_by_others=request.funded_by_others,
    )


async def connected(manager: Layer2Manager, session: Session) -> Mapping[str, Layer2Error]:
    """Connect all layers and resume every open transfer. A layer that is down is shown, and joins when it is up.

    Returns:
        The layers that are down, by name, each with its error.

    Raises:
        JournalBusy: another process drives the transfers.
    """
    with session.terminal.working("connecting to your nodes"):
        try:
            await manager.initialize_all_async()
        except InitializationError as error:
            for name, failure in error.failures.items():
                session.terminal.say(f"down         {name}: {failure}")
                session.down.add(name)
            return error.failures
    return {}


async def joined(manager: Layer2Manager, session: Session) -> None:
    """As ``connected``. If another process drives the transfers, this one only watches them."""
    try:
        await connected(manager, session)
    except JournalBusy as error:
        session.terminal.say(f"watching     {error.message}; it drives the transfer, and this command only watches")


@asynccontextmanager
async def nodes_watched(manager: Layer2Manager, session: Session, *layers: Layer2ProtocolType) -> AsyncIterator[None]:
    """While the block runs, show when a node goes down and when it is up again.

    Without it, a wait would stay silent until its time-out.

    Args:
        layers: those to watch; omitted, all configured layers.
    """
    watched = [layer for layer in manager.config.layers if not layers or layer in layers]
    tasks = [asyncio.create_task(_watch_node(manager, layer, session)) for layer in watched]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch_node(manager: Layer2Manager, layer: Layer2ProtocolType, session: Session) -> None:
    client, name = await manager.get_protocol_async(layer), layer.value
    while True:
        await asyncio.sleep(_NODE_SECONDS)
        try:
            # A node that was down is checked again as a whole: it may be on another chain.
            await (client.initialize_async() if name in session.down else client.legs.read_clock())
        except Layer2Error as error:
            if name not in session.down:
                session.terminal.say(f"down         {name}: {error.message}; waiting for the node")
            session.down.add(name)
        else:
            if name in session.down:
                session.terminal.say(f"up           {name}")
            session.down.discard(name)


async def followed(
    manager: Layer2Manager, transfer_id: str, goal: Goal, session: Session, *, names_transfer: bool = False
) -> Result:
    """Show every change of a transfer until it reaches the goal; then save its proof and return.

    Args:
        names_transfer: show the transfer's id in every line, because several transfers are followed.

    Raises:
        As ``wait_for_transfer_async``.
        ProofError: the proof cannot be written.
    """
    session.under_way.add(transfer_id)
    mark = f"{transfer_id}  " if names_transfer else ""
    showing = asyncio.create_task(show_changes(manager, transfer_id, goal, session, mark, is_live=not names_transfer))
    try:
        left = None if goal.timeout is None else max(0.0, round(goal.timeout + session.began - time.monotonic(), 1))
        proof = await manager.wait_for_transfer_async(transfer_id, until=goal.state, timeout=left)
        # The last change is shown before the result.
        await showing
    except (TransferAbandoned, TransferLost, TransferRefunded) as error:
        session.under_way.discard(transfer_id)
        await showing
        if isinstance(error, TransferRefunded) and error.proof is not None:
            error.remedy = f"the proof of the refund is in {_save(error.proof, transfer_id, goal, session)}"
        if isinstance(error, TransferLost):
            session.terminal.say(f"LOST: transfer {transfer_id}: {error.message}")
        raise
    finally:
        showing.cancel()
    session.under_way.discard(transfer_id)
    path = _save(proof, transfer_id, goal, session)
    reached = await manager.get_transfer_async(transfer_id)
    lines, warnings = _reached(reached, path, session)
    return Result({"transfer": transfer_data(reached), "proof_file": str(path)}, lines, warnings)


def _reached(transfer: Transfer, proof_file: Path, session: Session) -> tuple[list[str], tuple[str, ...]]:
    request, took = transfer.request, duration(transfer.updated_at - transfer.created_at)
    arrived = request.amount if request.amount is not None else (transfer.send_amount or 0) - (transfer.fee or 0)
    lines: list[str] = [
        f"{transfer.state.value:<13}{sat(arrived)} arrived on {request.destination.value}, "
        f"fee {sat(transfer.fee or 0)}, {took}",
        f"proof        {proof_file}",
    ]
    if transfer.state.is_final:
        return lines, ()
    when = "" if transfer.final_at is None else f", at about {until(transfer.final_at, time.time())}"
    again = session.hint("wait", transfer.transfer_id)
    return lines, (f"it is not final yet; keep layer2 running until it is{when}: {again}",)


async def show_changes(
    manager: Layer2Manager, transfer_id: str, goal: Goal, session: Session, mark: str = "", *, is_live: bool = True
) -> None:
    """Show a line for each change of a transfer until it reaches the goal; without ``--verbose``, only for news.

    Args:
        mark: the beginning of each line.
        is_live: on a terminal, also show the next deadline with the time that is left.
    """
    shown: tuple[object, ...] = ()
    now: Transfer = await manager.get_transfer_async(transfer_id)
    with session.terminal.live(lambda: next_line(now, time.time())) if is_live else nullcontext():
        async for event in manager.transfer_events(transfer_id):
            now = event.transfer
            if session.verbose or news_of(now) != shown:
                session.terminal.say(mark + event_line(now, time.time(), whole=session.verbose))
            shown = news_of(now)
            if now.state.is_final or now.state is goal.state:
                return


def _save(proof: TransferProof, transfer_id: str, goal: Goal, session: Session) -> Path:
    try:
        return proof.save(goal.proof or Path(f"transfer-{transfer_id}.json"))
    except ProofError as error:
        error.transfer_id = transfer_id
        again = session.hint("wait", transfer_id, "--proof", "FILE")
        error.remedy = f"the journal keeps the proof; name another file: {again}"
        raise
