"""The HTTP connections of a provider: one without a complete request never keeps another from being served."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["ImpatientConnection"]

_REQUEST_SECONDS: Final = 10.0
"""The time in which the header of a request must arrive."""


class ImpatientConnection(H11Protocol):
    """uvicorn's connection, with a limit on the time until a request, and on the number of idle connections.

    At the limit of ``uvicorn.Config.limit_concurrency`` uvicorn answers 503 to every request, and counts idle
    connections too. A new connection therefore closes the oldest idle one.
    """

    _opened_at = 0.0
    _request_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn serves TCP only
        """Begin to wait for a request; close the oldest idle connection if there are too many."""
        super().connection_made(transport)
        self._opened_at = self.loop.time()
        self._watch()
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._close_oldest_idle()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a request is complete."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_watching()
        super().connection_lost(exc)

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        if not self._is_idle:
            self._stop_watching()
        elif self._request_timer is None:
            self._request_timer = self.loop.call_later(_REQUEST_SECONDS, self._end)

    def _stop_watching(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _end(self) -> None:
        self._request_timer = None
        if self._is_idle:
            self.transport.close()

    def _close_oldest_idle(self) -> None:
        idle = [each for each in self.connections if isinstance(each, ImpatientConnection) and each._is_idle]
        oldest = min((each for each in idle if each is not self), key=lambda each: each._opened_at, default=None)
        if oldest is not None:
            # uvicorn counts this set; the transport itself closes in the next round of the loop.
            self.connections.discard(oldest)
            oldest.transport.close()
