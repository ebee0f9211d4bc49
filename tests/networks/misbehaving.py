"""A taker or provider that dies, stops, or cannot pay, at a chosen moment of its swaps.

``python -m networks.misbehaving FAULT PROGRAM ...`` is PROGRAM, ``provider`` or ``taker``, with the fault. Nothing is
awaited between the moment and the signal, so that the process always stops at the same point.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType
from layer2.errors import InsufficientFunds
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.views import Verb
from layer2.ports.journal import Delivery, Intent, Json, SeenSwaps, SwapRecord
from layer2.provider import process
from layer2.swap_engine.acts import Acts
from layer2.swap_rules.machine import Act, Order

__all__ = ["CANNOT_PAY", "dies", "dies_everywhere", "falls_silent"]

CANNOT_PAY: Final = "cannot_pay"
"""The account is empty at the funding."""
_LOOK_SECONDS: Final = 0.02


def dies(moment: str) -> str:
    """SIGKILL at the moment.

    Args:
        moment: ``written:STATE``: the state and its intents are durable, and nothing was sent;
            ``before:VERB``: the act is durable as leaving, and nothing was sent;
            ``after:VERB``: the act was sent, and its result is not recorded;
            ``accepted``: the provider's journal has the swap, and nothing else knows of it.
    """
    return f"dies@{moment}"


def falls_silent(moment: str) -> str:
    """SIGSTOP at the moment: the process and its connections stay, but it does nothing."""
    return f"falls_silent@{moment}"


def dies_everywhere(moments: Path, *, pays: bool) -> str:
    """SIGKILL at every moment that the file does not list yet; the process adds it before it dies.

    It restarts at once each time, so it dies once at each moment of its swaps, and then finishes.

    Args:
        pays: whether it funds a leg on Lightning. If so, it does not die ``before:fund``, because a payment that may
            have been sent is never sent again.
    """
    return f"dies_everywhere{'_but_there' if pays else ''}@{moments}"


def at_every_moment(meet: Callable[[str], None]) -> None:
    """Call ``meet`` with the name of each moment when it is reached."""
    advance, send = SqlJournal.advance, Acts._send

    async def met_advance(self: SqlJournal, record: SwapRecord, **changes: Any) -> SwapRecord:
        written = await advance(self, record, **changes)
        meet(f"written:{written.state['state']}")
        return written

    async def met_send(self: Acts, act: Act, intent: Intent) -> Delivery:
        meet(f"before:{act.verb.value}")
        delivery = await send(self, act, intent)
        meet(f"after:{act.verb.value}")
        return delivery

    SqlJournal.advance = met_advance  # type: ignore[method-assign]  # the injected fault
    Acts._send = met_send  # type: ignore[method-assign]  # the injected fault


def at_acceptance(meet: Callable[[str], None]) -> None:
    """Call ``meet`` when a provider's journal has a new swap."""
    accept = SqlJournal.accept

    async def met_accept(self: SqlJournal, record: SwapRecord, seen: SeenSwaps, reads: int) -> SwapRecord | None:
        accepted = await accept(self, record, seen, reads)
        meet("accepted")
        return accepted

    SqlJournal.accept = met_accept  # type: ignore[method-assign]  # the injected fault


def never_pay() -> None:
    """Make every funding fail with insufficient funds before its intent is recorded."""
    make = Acts._make

    async def poor_make(self: Acts, order: Order, *arguments: Any) -> Json:
        if order.act.verb is Verb.FUND:
            raise InsufficientFunds("the account is empty")
        return await make(self, order, *arguments)

    Acts._make = poor_make  # type: ignore[method-assign,assignment]  # the injected fault


def misbehave(fault: str) -> None:
    """Install the fault in this process."""
    kind, _, argument = fault.partition("@")

    def stop_at(signal_number: signal.Signals) -> Callable[[str], None]:
        return lambda moment: os.kill(os.getpid(), signal_number) if moment == argument else None

    def die_where_new(moment: str) -> None:
        file = Path(argument)
        met = file.read_text().split() if file.exists() else []
        if moment in met or (moment == "before:fund" and kind.endswith("but_there")):
            return
        with file.open("a") as known:
            known.write(f"{moment}\n")
        os.kill(os.getpid(), signal.SIGKILL)

    if fault == CANNOT_PAY:
        never_pay()
    else:
        meets = {
            "dies": stop_at(signal.SIGKILL),
            "falls_silent": stop_at(signal.SIGSTOP),
            "dies_everywhere": die_where_new,
            "dies_everywhere_but_there": die_where_new,
        }
        at_every_moment(meets[kind])
        if kind == "dies":
            at_acceptance(meets[kind])


async def transfer(config: Path, source: str, destination: str, amount: int) -> None:
    """Run a taker's whole program."""
    async with Layer2Manager(Layer2Config.load(config)) as layers:
        await layers.initialize_all_async()
        await layers.cross_layer_transfer_async(
            BTC,
            amount,
            Layer2ProtocolType(source),
            Layer2ProtocolType(destination),
            idempotency_key="the one",
            timeout=60,
        )


def run(program: str, arguments: list[str]) -> None:
    if program == "provider":
        sys.argv[1:] = arguments
        process.main()
    else:
        config, source, destination, amount = arguments
        asyncio.run(transfer(Path(config), source, destination, int(amount)))


def run_until_it_comes_through(program: str, arguments: list[str]) -> None:
    """Run the program in a child, start another child whenever one is killed, and forward SIGTERM. The children are
    forked after all imports, so a restart is cheap.
    """
    parent = os.getppid()
    # The provider ends with its parent, which is this process.
    arguments = [str(os.getpid()) if each == str(parent) else each for each in arguments]
    while True:
        child = os.fork()
        if child == 0:
            run(program, arguments)
            return
        signal.signal(signal.SIGTERM, functools.partial(_pass_on, child))
        status = os.waitstatus_to_exitcode(_wait(child, parent))
        if status != -signal.SIGKILL:
            sys.exit(status)


def _pass_on(child: int, number: int, _frame: object) -> None:
    os.kill(child, number)


def _wait(child: int, parent: int) -> int:
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended == child:
            return status
        if os.getppid() != parent:
            os.kill(child, signal.SIGKILL)
            sys.exit(1)
        time.sleep(_LOOK_SECONDS)


def main() -> None:
    fault, program, *arguments = sys.argv[1:]
    misbehave(fault)
    if fault.startswith("dies_everywhere"):
        run_until_it_comes_through(program, arguments)
    else:
        run(program, arguments)


if __name__ == "__main__":
    main()
