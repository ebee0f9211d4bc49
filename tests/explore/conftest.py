"""What the tests of the explorer share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def untraced() -> Iterator[None]:
    """Without coverage: the same lines run millions of times."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)
