"""Fixtures of the explorer's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def untraced() -> Iterator[None]:
    """Switch coverage off: the same lines run millions of times."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)
