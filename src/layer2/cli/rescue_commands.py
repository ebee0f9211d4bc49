"""``layer2 rescue``: end what is open when the usual program cannot run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from layer2.assembly import journal_place
from layer2.cli.exit_status import ExitStatus
from layer2.cli.journal_reading import check_exists
from layer2.cli.output import Line, Result
from layer2.cli.rescue import Rescue
from layer2.cli.session import InSession, Session
from layer2.cli.transfer_wording import (
    swap_data,
    swap_line,
    swap_news,
    swaps_table,
    transfer_data,
    transfers_table,
)
from layer2.cli.wording import fields_of
from layer2.errors import Layer2Error, Outcome
from layer2.legs.timelock_settings import TimelockSettings, settings_for
from layer2.ports.journal import Role, SwapRecord
from layer2.swap_engine.records import describe, outlook_of

__all__ = ["rescue"]


async def rescue(
    *, timeout: Annotated[float | None, Parameter(validator=Number(gte=0))] = None, session: InSession
) -> Result:
    """Claim and refund what is open when the program that usually does it cannot run.

    It drives the open swaps of the journal, of a taker or of a provider, until all have ended. It starts and funds
    nothing: a swap whose funding has not begun ends without it. It needs the configuration and the keys of the usual
    program, and is refused while that program acts on the journal. Exit status 2: a swap is still open. Exit status 4:
    a swap needs you.

    Args:
        timeout: Seconds to wait. What is open then stays open until the command, or the usual program, runs again.
    """
    settings, role = session.settings(), Role(session.role)
    check_exists(journal_place(settings))
    rules = settings_for(settings.network)
    session.resume_with = "rescue"
    async with Rescue.running(settings, role, rules, _shown(session, role, rules)) as running:
        session.under_way.update(each.swap_id for each in running.records.values())
        try:
            async with asyncio.timeout(timeout):
                await running.ended()
        except TimeoutError:
            session.terminal.say("ended        the time limit has passed")
        records, down = list(running.records.values()), running.down
    return _result(records, role, rules, down, session)


def _shown(session: Session, role: Role, rules: TimelockSettings) -> Callable[[SwapRecord], None]:
    """Shows each change of a swap; without ``--verbose``, only news."""
    shown: dict[str, tuple[object, ...]] = {}

    def show(record: SwapRecord) -> None:
        if record.role is not role:
            return
        news = swap_news(record, rules)
        if session.verbose or news != shown.get(record.swap_id):
            line = swap_line(record, rules, time.time(), whole=session.verbose)
            session.terminal.say(f"{record.swap_id}  {line}")
        shown[record.swap_id] = news
        (session.under_way.discard if record.is_final else session.under_way.add)(record.swap_id)

    return show


def _result(
    records: Sequence[SwapRecord],
    role: Role,
    rules: TimelockSettings,
    down: Mapping[str, Layer2Error],
    session: Session,
) -> Result:
    now = time.time()
    data: dict[str, object] = {"down": {name: fields_of(failure, "code", "message") for name, failure in down.items()}}
    text: list[Line]
    if role is Role.TAKER:
        transfers = [describe(each, rules) for each in records]
        data["transfers"] = [transfer_data(each) for each in transfers]
        text = transfers_table(transfers, now)
    else:
        data["swaps"] = [swap_data(each, rules) for each in records]
        text = swaps_table(records, rules, now)
    left = [each for each in records if not each.is_final]
    lost = any(each.state["state"] == "lost" for each in records)
    problem, ended = None, None
    if left:
        problem = _still_open(left, rules, down, session)
    elif lost:
        problem = Layer2Error("a swap was lost", code="attention", remedy="keep the journal and the data of both nodes")
    if lost or any(each.attention is not None for each in left):
        ended = ExitStatus.ACTION_NEEDED
    return Result(
        data,
        text if records else [f"nothing is open in {journal_place(session.settings())}"],
        tuple(f"{name} is down: {failure.message}" for name, failure in down.items()),
        problem=problem,
        ended=ended,
    )


def _still_open(
    left: Sequence[SwapRecord], rules: TimelockSettings, down: Mapping[str, Layer2Error], session: Session
) -> Layer2Error:
    deadlines = [each for each in (outlook_of(record, rules).deadline for record in left) if each is not None]
    again = session.hint("rescue")
    first = f"check the nodes: {session.hint('doctor')}; " if down else ""
    return Layer2Error(
        f"{len(left)} of the swaps are still open, and continue only while layer2 runs",
        code="still_open",
        outcome=Outcome.UNKNOWN,
        deadline=min(deadlines, default=None),
        remedy=f"{first}run it again before that time: {again}" if deadlines else f"{first}run it again: {again}",
    )
