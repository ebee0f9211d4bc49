"""Serving HTTP on a port of 127.0.0.1."""

from __future__ import annotations

import ssl

from aiohttp import web

__all__ = ["listen"]


async def listen(runner: web.AppRunner, port: int = 0, *, tls: ssl.SSLContext | None = None) -> int:
    """Make an application listen on 127.0.0.1, and return the port. ``runner.cleanup()`` closes it.

    Args:
        runner: of the application.
        port: the port; 0 selects a free one.
        tls: the context with the server's certificate; None serves plain HTTP.
    """
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    listening: int = runner.addresses[0][1]
    return listening
