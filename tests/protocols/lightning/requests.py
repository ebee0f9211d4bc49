"""Counts the requests that the clients of a test send to their nodes."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import aiohttp
import pytest
from yarl import URL

__all__ = ["Requests", "count_requests"]

_HASH = re.compile(r"[0-9a-f]{64}|[A-Za-z0-9_-]{43}=")


class Requests(Counter[str]):
    """The number of requests by method and path, with HASH in place of a payment hash."""


def count_requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """Count from now on, until the test ends."""
    requests = Requests()
    send = aiohttp.ClientSession._request

    async def counted(self: aiohttp.ClientSession, method: str, url: URL | str, **rest: Any) -> aiohttp.ClientResponse:
        requests[f"{method} {_HASH.sub('HASH', URL(url).path)}"] += 1
        return await send(self, method, url, **rest)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", counted)
    return requests
