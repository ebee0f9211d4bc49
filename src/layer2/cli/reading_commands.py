"""``layer2 list`` and ``show``: the transfers, or a provider's swaps, in the journal. No node is asked."""

from __future__ import annotations

import time
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

from layer2.assembly import journal_place
from layer2.cli.following import opened
from layer2.cli.journal_reading import existing_journal
from layer2.cli.output import Result
from layer2.cli.session import InSession
from layer2.cli.transfer_wording import (
    state_name,
    swap_data,
    swaps_table,
    transfer_data,
    transfer_lines,
    transfers_table,
)
from layer2.errors import InvalidRequest, UnknownTransfer
from layer2.legs.timelock_settings import settings_for
from layer2.manager import Layer2Manager
from layer2.ports.journal import Role
from layer2.terms.transfers import Transfer

__all__ = ["found", "list_transfers", "show"]

StateName: TypeAlias = Literal[
    "planned",
    "agreed",
    "funding",
    "funded",
    "collecting",
    "arrived",
    "completed",
    "refunding",
    "refunded",
    "abandoned",
    "lost",
    "counter_funding",
    "counter_funded",
    "releasing",
    "released",
]
"""The states of transfers, then those of a provider's swaps alone."""


async def list_transfers(
    *,
    open_only: Annotated[bool, Parameter(name="--open")] = False,
    state: tuple[StateName, ...] = (),
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    session: InSession,
) -> Result:
    """List your transfers, newest first, or the swaps of a provider. It reads the journal, and asks no node.

    Args:
        open_only: Only those that have not ended.
        state: Only those in this state; can be repeated.
        limit: At most so many, the newest.
    """
    settings = session.settings()
    place, is_taker = journal_place(settings), session.role == "taker"
    noun = "transfers" if is_taker else "swaps"
    if not place.exists():
        # Reading never creates a journal: a new one would hide a mistyped path.
        return Result({noun: []}, [f"no {noun} yet: the journal {place} does not exist"])
    nothing = f"no {noun} in {place}"
    nothing += " match" if state else " are open" if open_only else " yet"
    if not is_taker:
        rules = settings_for(settings.network)
        async with existing_journal(place) as journal:
            records = await journal.list(role=Role.PROVIDER, open_only=open_only)
        chosen = [each for each in records if not state or state_name(each, rules) in state][:limit]
        return Result(
            {"swaps": [swap_data(each, rules) for each in chosen]},
            swaps_table(chosen, rules, time.time()) if chosen else [nothing],
        )
    async with opened(session) as manager:
        listed = await manager.list_transfers_async(open_only=open_only)
    transfers = [each for each in listed if not state or each.state.value in state][:limit]
    return Result(
        {"transfers": [transfer_data(each) for each in transfers]},
        transfers_table(transfers, time.time()) if transfers else [nothing],
    )


async def show(transfer_id: str | None = None, *, key: str | None = None, session: InSession) -> Result:
    """Show one transfer. It reads the journal, and asks no node.

    Args:
        transfer_id: The id that layer2 transfer and layer2 list show; or use --key.
        key: The transfer's idempotency key.
    """
    place = journal_place(session.config())
    _check_named(transfer_id, key)
    if not place.exists():
        raise UnknownTransfer(f"there is no transfer: the journal {place} does not exist", transfer_id=transfer_id)
    async with opened(session) as manager:
        one = await found(manager, transfer_id, key)
    return Result(transfer_data(one), transfer_lines(one, time.time(), whole=session.verbose))


async def found(manager: Layer2Manager, transfer_id: str | None, key: str | None) -> Transfer:
    """The transfer with an id, or under an idempotency key.

    Raises:
        InvalidRequest: not exactly one of the two is given.
        UnknownTransfer: the journal has no such transfer.
    """
    _check_named(transfer_id, key)
    if transfer_id is not None:
        return await manager.get_transfer_async(transfer_id)
    assert key is not None
    one = await manager.get_transfer_by_key_async(key)
    if one is None:
        raise UnknownTransfer(f"the journal {journal_place(manager.config)} has no transfer with this idempotency key")
    return one


def _check_named(transfer_id: str | None, key: str | None) -> None:
    if (transfer_id is None) == (key is None):
        raise InvalidRequest(
            "name one transfer: its TRANSFER-ID, or its --key", code="usage", remedy="layer2 list shows all transfers"
        )
