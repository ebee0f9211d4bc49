"""One fault at the N-th point, for N = 1, 2, ... until a run ends without it.

The points are before and after every commit of the journal, and every call of a layer that has an effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TypeAlias, assert_never

from layer2.errors import JournalError, NodeUnreachable, Outcome

Fault: TypeAlias = Callable[[str, str], Awaitable[None]]


class Killed(BaseException):
    """The process crashes here. Not an ``Exception``, so that nothing in the engine catches it."""


class Kind(Enum):
    KILL = "kill"
    CANCEL = "cancel"
    NO_ANSWER = "no answer"
    NO_CONNECTION = "no connection"
    BUG = "bug"


async def breathe(when: str, what: str) -> None:
    """No fault, but a point at which other tasks can run, as in a real call."""
    await asyncio.sleep(0)


class NthPoint:
    """Fails once, at the N-th point. With ``reads``, calls without an effect are points too."""

    def __init__(self, kind: Kind, nth: int, *, reads: bool) -> None:
        self.kind, self.nth, self._reads = kind, nth, reads
        self.count = 0
        self.struck = asyncio.Event()
        self.where = ""

    async def __call__(self, when: str, what: str) -> None:
        await asyncio.sleep(0)
        if what in READS and not self._reads:
            return
        self.count += 1
        if self.count != self.nth:
            return
        self.struck.set()
        self.where = f"{when} {what}"
        match self.kind:
            case Kind.KILL:
                raise Killed
            case Kind.CANCEL:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)
            case Kind.BUG:
                raise ZeroDivisionError
            case Kind.NO_ANSWER | Kind.NO_CONNECTION:
                lost = when == "after" or self.kind is Kind.NO_ANSWER
                outcome = Outcome.UNKNOWN if lost else Outcome.NOT_SENT
                if what in LAYER_CALLS:
                    raise NodeUnreachable("no answer", outcome=outcome)
                raise JournalError("the disk is full")
            case _:
                assert_never(self.kind)


READS = frozenset({"observe", "act_status", "wait_for_change", "evidence", "check_can_finish", "repriced"})
LAYER_CALLS = READS | {"prepare", "perform", "courtesy"}
