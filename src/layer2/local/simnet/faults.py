"""Fault switches of a server: what goes wrong with its next requests, on purpose."""

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
    """What can be made to go wrong."""

    DOWN = "down"
    """Every connection is reset before anything is done."""
    DROP_REPLY = "drop_reply"
    """The request is carried out, and the connection closed without an answer."""
    DELAY = "delay"
    """The request is carried out after ``seconds``."""
    ERROR = "error"
    """Nothing is done; the answer is the HTTP status ``status``, such as 500 or 429."""


@dataclass(slots=True)
class Fault:
    """One switch that is on."""

    kind: FaultKind
    method: str | None = None
    """Only requests that hold a call of this method; None is all."""
    count: int | None = None
    """How many requests it still strikes; None is without end."""
    seconds: float = 0.0
    status: int = 500


class FaultSwitch:
    """The faults of one server, at most one of each kind."""

    def __init__(self) -> None:
        self._faults: dict[FaultKind, Fault] = {}

    def set(self, kind: str, **arguments: Any) -> None:
        """Turn one kind on, in place of what it was; ``"none"`` turns all off.

        Args:
            kind: a value of ``FaultKind``, or ``"none"``.
            arguments: ``method`` and ``count`` with every kind but ``down``; ``seconds`` with ``delay``;
                ``status`` with ``error``.

        Raises:
            ValueError: no such kind, or an argument that the kind does not take.
            TypeError: an argument of another type.
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
                raise TypeError(f"{kind} takes no {type(value).__name__} as {name}")
        self._faults[fault_kind] = Fault(fault_kind, **arguments)

    def take(self, kind: FaultKind, methods: Collection[str]) -> Fault | None:
        """The fault of that kind, if it strikes a request with these methods; counts it as having struck."""
        fault = self._faults.get(kind)
        if fault is None or (fault.method is not None and fault.method not in methods):
            return None
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                del self._faults[kind]
        return fault

    async def before(self, request: web.Request, methods: Collection[str]) -> web.Response | None:
        """Apply what strikes before the request is carried out; a response means that it shall not be."""
        if fault := self.take(FaultKind.DELAY, methods):
            await asyncio.sleep(fault.seconds)
        if self.take(FaultKind.DOWN, methods):
            return reset_connection(request)
        if fault := self.take(FaultKind.ERROR, methods):
            return web.Response(status=fault.status, text="a fault switch is on")
        return None

    def after(self, request: web.Request, methods: Collection[str]) -> web.Response | None:
        """Apply what strikes after the request was carried out; a response takes the place of the answer."""
        return reset_connection(request) if self.take(FaultKind.DROP_REPLY, methods) else None


def reset_connection(request: web.Request) -> web.Response:
    """Reset the request's TCP connection; the response that is returned reaches nobody."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            # Lingering for no time makes the close a reset (RST), as of a machine that lost its memory.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response(status=503)
