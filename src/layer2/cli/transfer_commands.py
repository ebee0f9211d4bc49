"""``layer2 balance``, ``quote``, ``transfer``, ``list``, ``show``, ``wait`` and ``resume``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from layer2.cli.amounts import Satoshi
from layer2.cli.envelope import Result, Table
from layer2.cli.session import InSession, Session
from layer2.cli.transfer_wording import balance_rows, event_line, quote_data, quote_line, transfer_data, transfer_lines
from layer2.cli.wording import at_time, sat, until
from layer2.errors import AsyncTimeout, Layer2Error, TransferAbandoned, TransferRefunded
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC
from layer2.proofs.model import TransferProof
from layer2.transfers import Transfer

if TYPE_CHECKING:
    from layer2.manager import Layer2Manager

__all__ = ["balance", "list_transfers", "quote", "resume", "show", "transfer", "wait"]

_FROM = Parameter(name="--from")
_TO = Parameter(name="--to")


async def balance(*, session: InSession) -> Result:
    """Show what you own on each configured layer."""
    async with _manager(session) as manager:
        with session.terminal.working("asking your nodes"):
            # Not initialize_all_async, which would go on with open transfers: whoever looks does not act.
            clients = [
                await manager.get_protocol_async(layer)
                for layer in (Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING)
                if getattr(manager.config, layer.value.lower()) is not None
            ]
            await asyncio.gather(*(client.initialize_async() for client in clients))
            owned = await asyncio.gather(*(client.balances_async() for client in clients))
    rows = balance_rows({client.protocol_type: each for client, each in zip(clients, owned, strict=True)})
    return Result(
        {
            "balances": [
                {
                    "layer": layer.value,
                    "asset": asset.code,
                    "unit": "sat" if asset == BTC else "wei",
                    "spendable": str(one.spendable),
                    "reserved": str(one.reserved),
                    "receivable": None if one.receivable is None else str(one.receivable),
                }
                for layer, asset, one in rows.entries
            ]
        },
        [Table(("layer", "asset", ">can be sent", ">bound", ">can be received"), rows.text)],
    )


async def quote(
    amount: Satoshi,
    *,
    source: Annotated[Layer2ProtocolType, _FROM],
    destination: Annotated[Layer2ProtocolType, _TO],
    recipient: str | None = None,
    max_fee: Satoshi | None = None,
    session: InSession,
) -> Result:
    """Ask all configured providers for a price and show the cheapest. Nothing is begun.

    Args:
        amount: What has to arrive, in satoshi.
        source: The layer that pays.
        destination: The layer that receives.
        recipient: A BOLT 11 invoice of somebody else that is to be paid; omitted, the money comes to you.
        max_fee: Most that may leave the source beyond the amount, in satoshi.
    """
    async with _manager(session) as manager:
        with session.terminal.working("asking the providers"):
            await _initialize(manager)
            offer = await manager.quote_transfer_async(
                BTC, amount, source, destination, recipient=recipient, max_fee=max_fee
            )
    return Result(quote_data(offer), [quote_line(offer, time.time())])


async def transfer(
    amount: Satoshi,
    *,
    source: Annotated[Layer2ProtocolType, _FROM],
    destination: Annotated[Layer2ProtocolType, _TO],
    recipient: str | None = None,
    max_fee: Satoshi | None = None,
    idempotency_key: str | None = None,
    proof: Path | None = None,
    timeout: float | None = None,
    session: InSession,
) -> Result:
    """Move bitcoin from one layer to another, wait until it has arrived for good, and keep the proof.

    Nothing of a transfer goes on by itself while no layer2 runs. After Ctrl-C, a time-out or a crash go on with
    'layer2 wait ID' before the deadline that was said.

    Args:
        amount: What has to arrive, in satoshi.
        source: The layer that pays.
        destination: The layer that receives.
        recipient: A BOLT 11 invoice of somebody else that is to be paid; omitted, the money comes to you.
        max_fee: Most that may leave the source beyond the amount, in satoshi. Gas that you pay yourself is not in it.
        idempotency_key: Calls with the same key are one transfer; with another request it is an error.
        proof: Where the proof goes; else transfer-ID.json in the current directory.
        timeout: Seconds to wait; the transfer does not end with them.
    """
    ends_at = None if timeout is None else time.monotonic() + timeout
    async with _manager(session) as manager:
        with session.terminal.working("asking the providers"):
            await manager.initialize_all_async()
            offer = await manager.quote_transfer_async(
                BTC, amount, source, destination, recipient=recipient, max_fee=max_fee
            )
        session.terminal.say(f"quoted       {quote_line(offer, time.time())}")
        with session.terminal.working("agreeing on terms"):
            begun = await manager.start_transfer_async(offer, idempotency_key=idempotency_key)
        session.terminal.say(f"begun        transfer {begun.transfer_id}")
        return await _followed(manager, begun.transfer_id, ends_at, proof, session)


async def wait(
    transfer_id: str, *, proof: Path | None = None, timeout: float | None = None, session: InSession
) -> Result:
    """Go on with a transfer and wait until it has ended; keep the proof.

    Args:
        transfer_id: As layer2 transfer and layer2 list say.
        proof: Where the proof goes; else transfer-ID.json in the current directory.
        timeout: Seconds to wait; the transfer does not end with them.
    """
    ends_at = None if timeout is None else time.monotonic() + timeout
    async with _manager(session) as manager:
        await manager.get_transfer_async(transfer_id)
        with session.terminal.working("connecting to your nodes"):
            await manager.initialize_all_async()
        return await _followed(manager, transfer_id, ends_at, proof, session)


async def resume(*, timeout: float | None = None, session: InSession) -> Result:
    """Go on with every open transfer and wait until all have ended. The proofs go to the current directory.

    Args:
        timeout: Seconds to wait; no transfer ends with them.
    """
    ends_at = None if timeout is None else time.monotonic() + timeout
    async with _manager(session) as manager:
        with session.terminal.working("connecting to your nodes"):
            await manager.initialize_all_async()
        open_transfers = await manager.resume_transfers_async()
        if not open_transfers:
            return Result({"transfers": []}, ["no transfer is open"])
        ended = await asyncio.gather(
            *(_followed(manager, each.transfer_id, ends_at, None, session) for each in open_transfers),
            return_exceptions=True,
        )
        now = [await manager.get_transfer_async(each.transfer_id) for each in open_transfers]
    failures = [each for each in ended if isinstance(each, BaseException)]
    for failure in failures:
        if not isinstance(failure, Layer2Error):
            raise failure
    problems = [each for each in failures if isinstance(each, Layer2Error)]
    # One that is still open says more than one that has ended badly.
    problems.sort(key=lambda each: not isinstance(each, AsyncTimeout))
    return Result(
        {"transfers": [transfer_data(each) for each in now]},
        [_table(now)],
        problem=problems[0] if problems else None,
    )


async def list_transfers(*, open_only: Annotated[bool, Parameter(name="--open")] = False, session: InSession) -> Result:
    """List your transfers, newest first, as the journal knows them; no node is asked.

    Args:
        open_only: Only those that have not ended.
    """
    async with _manager(session) as manager:
        found = await manager.list_transfers_async(open_only=open_only)
    nothing = "no transfer is open" if open_only else "no transfers yet"
    return Result({"transfers": [transfer_data(each) for each in found]}, [_table(found) if found else nothing])


async def show(transfer_id: str, *, session: InSession) -> Result:
    """Show one transfer as the journal knows it; no node is asked.

    Args:
        transfer_id: As layer2 transfer and layer2 list say.
    """
    async with _manager(session) as manager:
        found = await manager.get_transfer_async(transfer_id)
    return Result(transfer_data(found), transfer_lines(found, time.time(), whole=session.verbose))


@asynccontextmanager
async def _manager(session: Session) -> AsyncIterator[Layer2Manager]:
    # Loaded here, so that other commands start without it.
    from layer2.manager import Layer2Manager

    async with Layer2Manager(session.config()) as manager:
        yield manager


async def _initialize(manager: Layer2Manager) -> None:
    """Connect both layers, and go on with nothing."""
    clients = [
        await manager.get_protocol_async(layer) for layer in (Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING)
    ]
    await asyncio.gather(*(client.initialize_async() for client in clients))


async def _followed(
    manager: Layer2Manager, transfer_id: str, ends_at: float | None, proof_file: Path | None, session: Session
) -> Result:
    """Tell every change of a transfer, and return when it has ended with its proof in a file.

    Raises:
        As ``wait_for_transfer_async``.
    """
    session.under_way.add(transfer_id)
    telling = asyncio.create_task(_tell(manager, transfer_id, session))
    try:
        left = None if ends_at is None else max(0.0, ends_at - time.monotonic())
        proof = await manager.wait_for_transfer_async(transfer_id, timeout=left)
        # The last change is told before the result.
        await telling
    except TransferRefunded as error:
        session.under_way.discard(transfer_id)
        await telling
        if error.proof is not None:
            path = _save(error.proof, transfer_id, proof_file)
            error.remedy = f"the refund's proof is in {path}"
        raise
    except TransferAbandoned:
        session.under_way.discard(transfer_id)
        raise
    finally:
        telling.cancel()
    session.under_way.discard(transfer_id)
    path = _save(proof, transfer_id, proof_file)
    ended = await manager.get_transfer_async(transfer_id)
    return Result(
        {"transfer": transfer_data(ended), "proof_file": str(path)},
        [
            f"completed    {sat(ended.request.amount)} arrived on {ended.request.destination.value}, "
            f"fee {sat(ended.fee or 0)}, {ended.updated_at - ended.created_at} s",
            f"proof        {path}",
        ],
    )


async def _tell(manager: Layer2Manager, transfer_id: str, session: Session) -> None:
    async for event in manager.transfer_events(transfer_id):
        session.terminal.say(event_line(event.transfer, time.time(), whole=session.verbose))


def _save(proof: TransferProof, transfer_id: str, file: Path | None) -> Path:
    return proof.save(file or Path(f"transfer-{transfer_id}.json"))


def _table(transfers: Sequence[Transfer]) -> Table:
    now = time.time()
    rows = tuple(
        (
            each.transfer_id,
            at_time(each.created_at),
            f"{each.request.source.value} -> {each.request.destination.value}",
            sat(each.request.amount),
            each.state.value,
            "" if each.deadline is None else f"{each.next_actor.value} by {until(each.deadline, now)}",
        )
        for each in transfers
    )
    return Table(("transfer", "begun", "from -> to", ">arrives", "state", "next"), rows)
