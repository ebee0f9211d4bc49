"""``layer2 list`` and ``show``: what the journal holds. No node is asked, and a running service is not disturbed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from layer2.cli.envelope import Result
from layer2.cli.following import opened
from layer2.cli.session import InSession, Session
from layer2.cli.transfer_wording import transfer_data, transfer_lines, transfers_table
from layer2.errors import InvalidRequest, UnknownTransfer
from layer2.terms.transfers import Transfer

if TYPE_CHECKING:
    from layer2.manager import Layer2Manager

__all__ = ["found", "list_transfers", "show"]


async def list_transfers(*, open_only: Annotated[bool, Parameter(name="--open")] = False, session: InSession) -> Result:
    """List your transfers, newest first, as the journal holds them; no node is asked.

    Args:
        open_only: Only those that have not ended.
    """
    absent = _absent_journal(session)
    if absent is not None:
        return Result({"transfers": []}, [f"no transfers yet: {absent}"])
    async with opened(session) as manager:
        transfers = await manager.list_transfers_async(open_only=open_only)
    path = manager.config.journal.path
    nothing = f"no transfer is open in {path}" if open_only else f"no transfers yet in {path}"
    return Result(
        {"transfers": [transfer_data(each) for each in transfers]},
        transfers_table(transfers, time.time()) if transfers else [nothing],
    )


async def show(transfer_id: str | None = None, *, key: str | None = None, session: InSession) -> Result:
    """Show one transfer as the journal holds it; no node is asked.

    Args:
        transfer_id: As layer2 transfer and layer2 list show it; or give --key.
        key: The transfer's idempotency key.
    """
    absent = _absent_journal(session)
    if absent is not None:
        raise UnknownTransfer(f"there is no transfer: {absent}", transfer_id=transfer_id)
    async with opened(session) as manager:
        one = await found(manager, transfer_id, key)
    return Result(transfer_data(one), transfer_lines(one, time.time(), whole=session.verbose))


async def found(manager: Layer2Manager, transfer_id: str | None, key: str | None) -> Transfer:
    """The transfer with that id, or under that idempotency key.

    Raises:
        InvalidRequest: not exactly one of the two is given.
        UnknownTransfer: the journal has none.
    """
    if (transfer_id is None) == (key is None):
        raise InvalidRequest("name one transfer: its TRANSFER-ID, or its --key", code="usage")
    if transfer_id is not None:
        return await manager.get_transfer_async(transfer_id)
    assert key is not None
    one = await manager.get_transfer_by_key_async(key)
    if one is None:
        raise UnknownTransfer(
            f"the journal {manager.config.journal.path} has no transfer under that idempotency key", transfer_id=None
        )
    return one


def _absent_journal(session: Session) -> str | None:
    """Why there can be no transfers. To read a journal never makes one: a mistyped path would be hidden by that."""
    path = session.config().journal.path
    return None if path.exists() else f"the journal {path} does not exist"
