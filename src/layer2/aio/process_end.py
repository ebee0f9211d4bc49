"""Notice of another process's end, so that a process can end with it. Needs Linux."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

__all__ = ["ending_with"]


@contextlib.contextmanager
def ending_with(process_id: int | None, end: Callable[[], None], *, is_parent: bool = True) -> Iterator[None]:
    """Call ``end`` in the running loop when that process ends for any reason; with None, do nothing.

    A pidfd becomes readable when its process ends. The kernel's parent-death signal is sent when the *thread* that
    started this process ends, which may be a worker of a pool.

    Args:
        is_parent: whether that process started this one. If it is no longer the parent, it has ended, and its id may
            belong to another process.
    """
    if process_id is None:
        yield
        return
    try:
        descriptor = os.pidfd_open(process_id)
    except ProcessLookupError:
        end()
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, end)
    try:
        if is_parent and os.getppid() != process_id:
            end()
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
