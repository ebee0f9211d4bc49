"""Serves an ASGI application in the running loop, on one socket, while a block runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from layer2.errors import ConfigurationError
from layer2.provider.connections import ImpatientConnection

__all__ = ["serving"]

_MOST_CONNECTIONS = 1_000
_GOODBYE_SECONDS = 5


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, host: str, port: int, *, most_connections: int = _MOST_CONNECTIONS
) -> AsyncIterator[str]:
    """Serve while the block runs. Yields the address, such as ``http://127.0.0.1:8390``, when the server answers.

    Args:
        port: 0 uses a free port.
        most_connections: beyond it, a new connection closes the oldest idle one.

    Raises:
        ConfigurationError: the port is in use, or the address is not one of this machine.
    """
    with _listening(host, port) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                # The log must not show who reads which swap.
                access_log=False,
                log_config=None,
                lifespan="off",
                ws="none",
                server_header=False,
                http=ImpatientConnection,
                limit_concurrency=most_connections,
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
    """uvicorn's server, without its signal handlers, and with an event that is set when it answers."""

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
                f"cannot serve on {host}, port {port}: {error.strerror}",
                code="listen",
                remedy="set another listen_port in the configuration; 0 uses a free port",
            ) from error
        yield listener
