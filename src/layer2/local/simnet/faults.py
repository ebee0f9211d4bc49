"""Fault switches of a server: make its next requests fail in chosen ways."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from aiohttp import web

from layer2.errors import InvalidRequest
from layer2.local.simnet.lightning.channel import MAX_HTLCS
from layer2.local.simnet.lightning.records import FailureReason

__all__ = ["Fault", "FaultKind", "FaultSwitch", "reset_connection"]

_V = TypeVar("_V")


class FaultKind(Enum):
    """The faults that can be switched on."""

    NONE = "none"
    """Clears all faults; a Lightning node then delivers its held payments."""
    DOWN = "down"
    """Connections are reset, including open streams of a Lightning node; no request is executed."""
    DROP_REPLY = "drop_reply"
    """The request is executed, then the connection is reset without an answer."""
    DELAY = "delay"
    """The request waits before it is executed."""
    ERROR = "error"
    """The request is not executed; the answer has that HTTP status."""
    HOLD_PAYMENTS = "hold_payments"
    """Payments that this node sends stay in flight and are not delivered until the switch is cleared."""
    FAIL_PAYMENTS = "fail_payments"
    """Payments that this node sends fail with that reason, without an HTLC."""
    SPLIT_PAYMENTS = "split_payments"
    """Payments that this node sends are split into that many HTLCs, if their invoice and request allow it."""
    CUT_STREAM = "cut_stream"
    """A stream's connection is reset instead of sending a message, and the message is lost."""
    REPEAT_MESSAGE = "repeat_message"
    """A stream sends a message twice."""
    WITHHOLD_MESSAGE = "withhold_message"
    """A stream skips a message and continues."""


_OF_EVM_NODES = (FaultKind.NONE, FaultKind.DOWN, FaultKind.DROP_REPLY, FaultKind.DELAY, FaultKind.ERROR)
_NEEDED = {FaultKind.DELAY: "seconds", FaultKind.ERROR: "status", FaultKind.SPLIT_PAYMENTS: "parts"}
_OF_REQUESTS, _OF_MESSAGES = ("place", "count"), ("place", "count", "message")
_OPTIONAL = {
    FaultKind.DROP_REPLY: _OF_REQUESTS,
    FaultKind.DELAY: _OF_REQUESTS,
    FaultKind.ERROR: _OF_REQUESTS,
    FaultKind.FAIL_PAYMENTS: ("reason",),
    FaultKind.CUT_STREAM: _OF_MESSAGES,
    FaultKind.REPEAT_MESSAGE: _OF_MESSAGES,
    FaultKind.WITHHOLD_MESSAGE: _OF_MESSAGES,
}


@dataclass(slots=True)
class Fault:
    """One fault that is switched on."""

    kind: FaultKind
    place: str
    """The requests that it hits: a JSON-RPC method, or the start of a path; all if it is empty."""
    left: int | None
    """How many more requests or messages it hits; None has no limit."""
    message: int | None
    """The number of the message that it hits in each stream, counted from 1; None means every message."""
    seconds: float
    status: int
    reason: FailureReason
    parts: int


class FaultSwitch:
    """The faults of one server, at most one of each kind.

    Args:
        kinds: the faults that the server knows.
        place: the name of the argument that limits a fault to some requests.
        matches: whether a request's place is one that the argument names.
    """

    def __init__(
        self,
        kinds: Collection[FaultKind] = _OF_EVM_NODES,
        place: str = "method",
        matches: Callable[[str, str], bool] = str.__eq__,
    ) -> None:
        self._faults: dict[FaultKind, Fault] = {}
        self._kinds = kinds
        self._place = place
        self._matches = matches

    def set(self, kind: str, **arguments: object) -> Fault:
        """Switch one kind of fault on, in place of its earlier setting; ``"none"`` switches all off.

        Raises:
            InvalidRequest: the server has no such kind, or the kind does not take the arguments.
        """
        if kind not in {known.value for known in self._kinds}:
            known = ", ".join(known.value for known in self._kinds)
            raise InvalidRequest(f"there is no fault {kind!r} here", remedy=f"one of {known}")
        fault = self._read(FaultKind(kind), arguments)
        if fault.kind is FaultKind.NONE:
            self._faults.clear()
        else:
            self._faults[fault.kind] = fault
        return fault

    def _read(self, kind: FaultKind, arguments: Mapping[str, object]) -> Fault:
        needed = {_NEEDED[kind]} if kind in _NEEDED else set[str]()
        optional = {self._place if name == "place" else name for name in _OPTIONAL.get(kind, ())}
        if not needed <= arguments.keys() <= needed | optional:
            raise InvalidRequest(
                f"the fault {kind.value} needs {sorted(needed)} and may take {sorted(optional)}, "
                f"got {sorted(arguments)}"
            )

        def take(name: str, types: type[_V] | tuple[type[_V], ...], default: _V) -> _V:
            value = arguments.get(name, default)
            if isinstance(value, bool) or not isinstance(value, types):
                raise InvalidRequest(f"the fault {kind.value} takes no {type(value).__name__} as {name}")
            return value

        parts = take("parts", int, 1)
        if not 1 <= parts <= MAX_HTLCS:
            raise InvalidRequest(f"a payment has 1 to {MAX_HTLCS} parts")
        return Fault(
            kind,
            place=take(self._place, str, ""),
            left=take("count", int, 0) if "count" in arguments else None,
            message=take("message", int, 0) if "message" in arguments else None,
            seconds=take("seconds", (int, float), 0.0),
            status=take("status", int, 500),
            reason=_reason(take("reason", str, "ERROR")),
            parts=parts,
        )

    def hit(self, kind: FaultKind, *places: str, message: int = 0) -> Fault | None:
        """Return the fault of that kind if it hits a request for these places, or that message of its stream.

        This counts as one of its hits.
        """
        fault = self._faults.get(kind)
        if fault is None or fault.message not in (None, message):
            return None
        if fault.place and not any(self._matches(place, fault.place) for place in places):
            return None
        if fault.left is not None:
            if fault.left <= 0:
                return None
            fault.left -= 1
        return fault

    def active(self) -> list[str]:
        """The active kinds, for display."""
        return [kind.value for kind in self._faults]

    async def before(self, request: web.Request, places: Collection[str]) -> web.Response | None:
        """Apply the faults that precede execution. If it returns a response, the request must not be executed."""
        if fault := self.hit(FaultKind.DELAY, *places):
            await asyncio.sleep(fault.seconds)
        if self.hit(FaultKind.DOWN, *places):
            return reset_connection(request)
        if fault := self.hit(FaultKind.ERROR, *places):
            return web.Response(status=fault.status, text="a fault switch is on")
        return None

    def after(self, request: web.Request, places: Collection[str]) -> web.Response | None:
        """Apply the faults that follow execution. If it returns a response, that one replaces the request's own."""
        return reset_connection(request) if self.hit(FaultKind.DROP_REPLY, *places) else None


def _reason(name: str) -> FailureReason:
    for reason in FailureReason:
        if reason is not FailureReason.NONE and name.upper() in (reason.value, reason.name):
            return reason
    raise InvalidRequest(f"lnd has no payment failure reason {name!r}")


def reset_connection(request: web.Request) -> web.Response:
    """Reset the request's TCP connection. The response that is returned cannot be delivered."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            # With a linger time of zero the close sends RST, as a machine does after a crash.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response(status=503)
