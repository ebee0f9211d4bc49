"""Counts a process's requests to each node, in a file that another process reads meanwhile."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

__all__ = ["RequestCounts", "Requests"]

_NUMBERS: Final = struct.Struct("QQ")
_METHOD: Final = b'"method":'


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of a process to one node."""

    http: int
    """HTTP requests. A stream or a websocket counts once, when it is opened."""
    calls: int
    """The JSON-RPC calls in them, each call of a batch."""

    def __add__(self, other: Requests) -> Requests:
        return Requests(self.http + other.http, self.calls + other.calls)

    def __sub__(self, other: Requests) -> Requests:
        return Requests(self.http - other.http, self.calls - other.calls)


class RequestCounts:
    """The counts of one process, shared through a file.

    Args:
        path: the file. It is created if it does not exist.
        addresses: ``HOST:PORT`` of each node, the same in both processes.
    """

    def __init__(self, path: Path, addresses: Sequence[str]) -> None:
        with path.open("a+b") as file:
            file.truncate(_NUMBERS.size * len(addresses))
            self._shared = mmap.mmap(file.fileno(), 0)
        self._places = {address: number * _NUMBERS.size for number, address in enumerate(addresses)}

    def read(self) -> list[Requests]:
        """The requests to each node since the file was created, in the order of the addresses."""
        return [Requests(*_NUMBERS.unpack_from(self._shared, place)) for place in self._places.values()]

    def install(self) -> None:
        """Count the requests of every aiohttp session that this process opens from now on."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._started)
        trace.on_request_chunk_sent.append(self._sent)
        open_session = aiohttp.ClientSession.__init__

        def open_counted(session: aiohttp.ClientSession, *args: Any, **options: Any) -> None:
            traces = [*(options.pop("trace_configs", None) or ()), trace]
            open_session(session, *args, trace_configs=traces, **options)

        aiohttp.ClientSession.__init__ = open_counted  # type: ignore[assignment,method-assign]

    async def _started(
        self, _session: aiohttp.ClientSession, _context: object, parameters: aiohttp.TraceRequestStartParams
    ) -> None:
        self._add(f"{parameters.url.host}:{parameters.url.port}", Requests(1, 0))

    async def _sent(
        self, _session: aiohttp.ClientSession, _context: object, parameters: aiohttp.TraceRequestChunkSentParams
    ) -> None:
        self._add(f"{parameters.url.host}:{parameters.url.port}", Requests(0, parameters.chunk.count(_METHOD)))

    def _add(self, address: str, new: Requests) -> None:
        place = self._places.get(address)
        if place is not None:
            total = Requests(*_NUMBERS.unpack_from(self._shared, place)) + new
            _NUMBERS.pack_into(self._shared, place, total.http, total.calls)
