"""Iterators that are followed within a block and end with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar, cast

__all__ = ["following"]

T = TypeVar("T")


@asynccontextmanager
async def following(items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """What ``aclosing`` does, for what is promised to be an iterator only and is a generator."""
    try:
        yield items
    finally:
        await cast("AsyncGenerator[T, None]", items).aclose()
