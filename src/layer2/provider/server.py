"""Serving an ASGI application in the running loop, on one socket, until the block is left."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from layer2.errors import ConfigurationError

__all__ = ["serving"]

_MOST_CONNECTIONS = 1_000
_GOODBYE_SECONDS = 5


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int) -> AsyncIterator[str]:
    """Serve while the block runs; yields the address, such as ``http://127.0.0.1:8390``, once it answers.

    Args:
        port: 0 takes a free one.

    Raises:
        ConfigurationError: the port is taken, or the address is not this machine's.
    """
    with _listening(host, port) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                # Who looks at which swap is written down nowhere.
                access_log=False,
                log_config=None,
                lifespan="off",
                ws="none",
                server_header=False,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_GOODBYE_SECONDS,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.answering.wait()
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to the program and says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"cannot serve on {host}, port {port}: {error.strerror}", code="listen", remedy="choose another port"
            ) from error
        yield listener
