"""Closes iterators at the end of a block."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar, cast

__all__ = ["following"]

T = TypeVar("T")


@asynccontextmanager
async def following(items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Like ``aclosing``, for a generator that is typed as an iterator."""
    try:
        yield items
    finally:
        await cast("AsyncGenerator[T, None]", items).aclose()
