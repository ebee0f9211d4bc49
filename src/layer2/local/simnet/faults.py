"""Fault switches of a server: make its next requests fail in chosen ways."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

from aiohttp import web

__all__ = ["Fault", "FaultKind", "FaultSwitch", "reset_connection"]

_TYPES: dict[str, type[Any] | tuple[type[Any], ...]] = {
    "method": str,
    "count": int,
    "seconds": (int, float),
    "status": int,
}


class FaultKind(Enum):
    """The kinds of failure."""

    DOWN = "down"
    """Every connection is reset before the request is executed."""
    DROP_REPLY = "drop_reply"
    """The request is executed, and the connection is reset without a response."""
    DELAY = "delay"
    """The request is executed after ``seconds``."""
    ERROR = "error"
    """The request is not executed; the response has the HTTP status ``status``, such as 500 or 429."""


@dataclass(slots=True)
class Fault:
    """One fault that is switched on."""

    kind: FaultKind
    method: str | None = None
    """Only requests with a call of this method are affected; None affects all."""
    count: int | None = None
    """How many more requests are affected; None has no limit."""
    seconds: float = 0.0
    status: int = 500


class FaultSwitch:
    """The faults of one server, at most one of each kind."""

    def __init__(self) -> None:
        self._faults: dict[FaultKind, Fault] = {}

    def set(self, kind: str, **arguments: Any) -> None:
        """Switch one kind of fault on, in place of its earlier setting; ``"none"`` switches all off.

        Args:
            kind: a value of ``FaultKind``, or ``"none"``.
            arguments: ``method`` and ``count`` with every kind but ``down``; ``seconds`` with ``delay``;
                ``status`` with ``error``.

        Raises:
            ValueError: the kind does not exist, or does not take one of the arguments.
            TypeError: an argument has the wrong type.
        """
        if kind == "none":
            self._faults.clear()
            return
        fault_kind = FaultKind(kind)
        allowed = {
            FaultKind.DOWN: set[str](),
            FaultKind.DROP_REPLY: {"method", "count"},
            FaultKind.DELAY: {"method", "count", "seconds"},
            FaultKind.ERROR: {"method", "count", "status"},
        }[fault_kind]
        if surplus := sorted(arguments.keys() - allowed):
            raise ValueError(f"{kind} does not take {', '.join(surplus)}")
        for name, value in arguments.items():
            if isinstance(value, bool) or not isinstance(value, _TYPES[name]):
                raise TypeError(f"{name} of {kind} cannot be of type {type(value).__name__}")
        self._faults[fault_kind] = Fault(fault_kind, **arguments)

    def take(self, kind: FaultKind, methods: Collection[str]) -> Fault | None:
        """Return the fault of this kind if it affects a request with these methods, and count the request."""
        fault = self._faults.get(kind)
        if fault is None or (fault.method is not None and fault.method not in methods):
            return None
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                del self._faults[kind]
        return fault

    async def before(self, request: web.Request, methods: Collection[str]) -> web.Response | None:
        """Apply the faults that precede execution. If it returns a response, the request must not be executed."""
        if fault := self.take(FaultKind.DELAY, methods):
            await asyncio.sleep(fault.seconds)
        if self.take(FaultKind.DOWN, methods):
            return reset_connection(request)
        if fault := self.take(FaultKind.ERROR, methods):
            return web.Response(status=fault.status, text="a fault switch is on")
        return None

    def after(self, request: web.Request, methods: Collection[str]) -> web.Response | None:
        """Apply the faults that follow execution. If it returns a response, that one replaces the request's own."""
        return reset_connection(request) if self.take(FaultKind.DROP_REPLY, methods) else None


def reset_connection(request: web.Request) -> web.Response:
    """Reset the request's TCP connection. The response that is returned cannot be delivered."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            # With a linger time of zero the close sends RST, as a machine does after a crash.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response(status=503)
