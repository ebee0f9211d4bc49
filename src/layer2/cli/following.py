"""Opens the manager for a command, and follows a transfer to the state that the user asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from layer2.cli.envelope import Line, Result
from layer2.cli.session import Session
from layer2.cli.transfer_wording import event_line, transfer_data
from layer2.cli.wording import duration, sat, until
from layer2.errors import (
    InitializationError,
    JournalBusy,
    Layer2Error,
    TransferAbandoned,
    TransferLost,
    TransferRefunded,
)
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs.model import TransferProof
from layer2.terms.transfers import Transfer, TransferState

if TYPE_CHECKING:
    from layer2.manager import Layer2Manager

__all__ = ["Goal", "UntilName", "connected", "followed", "joined", "nodes_watched", "opened"]

_NODE_SECONDS = 5.0
"""The interval at which waiting commands ask the nodes."""
UntilName: TypeAlias = Literal["arrived", "completed"]


@asynccontextmanager
async def opened(session: Session) -> AsyncIterator[Layer2Manager]:
    """The manager of the configuration. It asks no node and resumes no transfer yet."""
    # Imported here, so that other commands start without it.
    from layer2.manager import Layer2Manager

    async with Layer2Manager(session.config()) as manager:
        yield manager


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


@dataclass(frozen=True, slots=True)
class Goal:
    """The state up to which a transfer is followed, and the file for its proof."""

    ends_at: float | None = None
    """In seconds of ``time.monotonic``; None for no limit."""
    proof_file: Path | None = None
    """None for ``transfer-ID.json`` in the current directory."""
    until: UntilName = "completed"
    names_transfer: bool = False
    """Show the transfer's id in every line, because several transfers are followed."""

    @classmethod
    def within(cls, timeout: float | None, proof_file: Path | None, until: UntilName = "completed") -> Goal:
        """A goal that ends after so many seconds from now."""
        return cls(None if timeout is None else time.monotonic() + timeout, proof_file, until)

    @property
    def state(self) -> TransferState:
        return TransferState.ARRIVED if self.until == "arrived" else TransferState.COMPLETED

    def is_met(self, transfer: Transfer) -> bool:
        return transfer.state.is_final or transfer.state is self.state


async def followed(manager: Layer2Manager, transfer_id: str, goal: Goal, session: Session) -> Result:
    """Show every change of a transfer until it reaches the goal; then save its proof and return.

    Raises:
        As ``wait_for_transfer_async``.
    """
    session.under_way.add(transfer_id)
    showing = asyncio.create_task(_show_changes(manager, transfer_id, goal, session))
    try:
        left = None if goal.ends_at is None else max(0.0, round(goal.ends_at - time.monotonic(), 1))
        proof = await manager.wait_for_transfer_async(transfer_id, until=goal.state, timeout=left)
        # The last change is shown before the result.
        await showing
    except (TransferAbandoned, TransferLost, TransferRefunded) as error:
        session.under_way.discard(transfer_id)
        await showing
        _note(error, transfer_id, goal, session)
        raise
    finally:
        showing.cancel()
    session.under_way.discard(transfer_id)
    path = _save(proof, transfer_id, goal.proof_file)
    reached = await manager.get_transfer_async(transfer_id)
    lines, warnings = _reached(reached, path, session)
    return Result({"transfer": transfer_data(reached), "proof_file": str(path)}, lines, warnings)


def _note(error: Layer2Error, transfer_id: str, goal: Goal, session: Session) -> None:
    if isinstance(error, TransferRefunded) and error.proof is not None:
        error.remedy = f"the proof of the refund is in {_save(error.proof, transfer_id, goal.proof_file)}"
    if isinstance(error, TransferLost):
        session.terminal.say(f"LOST: transfer {transfer_id}: {error.message}")


def _reached(transfer: Transfer, proof_file: Path, session: Session) -> tuple[list[Line], tuple[str, ...]]:
    request, took = transfer.request, duration(transfer.updated_at - transfer.created_at)
    arrived = request.amount if request.amount is not None else (transfer.send_amount or 0) - (transfer.fee or 0)
    lines: list[Line] = [
        f"{transfer.state.value:<13}{sat(arrived)} arrived on {request.destination.value}, "
        f"fee {sat(transfer.fee or 0)}, {took}",
        f"proof        {proof_file}",
    ]
    if transfer.state.is_final:
        return lines, ()
    when = "" if transfer.final_at is None else f", at about {until(transfer.final_at, time.time())}"
    again = session.hint("wait", transfer.transfer_id)
    return lines, (f"it is not final yet; keep layer2 running until it is{when}: {again}",)


async def _show_changes(manager: Layer2Manager, transfer_id: str, goal: Goal, session: Session) -> None:
    mark = f"{transfer_id}  " if goal.names_transfer else ""
    async for event in manager.transfer_events(transfer_id):
        session.terminal.say(mark + event_line(event.transfer, time.time(), whole=session.verbose))
        if goal.is_met(event.transfer):
            return


def _save(proof: TransferProof, transfer_id: str, file: Path | None) -> Path:
    return proof.save(file or Path(f"transfer-{transfer_id}.json"))
