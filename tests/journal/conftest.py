"""A journal's place: a SQLite file, and a database of a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from layer2.journal.sql_journal import SqlJournal
from postgres_server import Server, server

__all__ = ["server"]


@pytest_asyncio.fixture
async def url(server: Server) -> str:
    return await server.journal()


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "journal.db")
    server: Server = request.getfixturevalue("server")
    return await server.journal()


@pytest_asyncio.fixture
async def journal(place: str) -> AsyncIterator[SqlJournal]:
    opened = await SqlJournal.open(place)
    yield opened
    await opened.aclose()
