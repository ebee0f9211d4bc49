"""Fixtures for the tests of the EVM client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from protocols.evm.bob_network import BobNetwork, bob_network


@pytest.fixture
async def bob() -> AsyncIterator[BobNetwork]:
    async with bob_network() as network:
        yield network


@pytest.fixture
def requests_seen(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The body of every HTTP request that a client posts."""
    bodies: list[bytes] = []
    post = aiohttp.ClientSession.post

    def recording(session: aiohttp.ClientSession, url: Any, **options: Any) -> Any:
        bodies.append(options["data"])
        return post(session, url, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "post", recording)
    return bodies
