"""Processes of this machine that belong together: one that ends when another does. Needs Linux."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

__all__ = ["ending_with"]


@contextlib.contextmanager
def ending_with(process_id: int | None, end: Callable[[], None], *, is_parent: bool = True) -> Iterator[None]:
    """Call ``end`` in the running loop when that process ends, however it ends; None waits for nothing.

    A pidfd becomes readable at the death of a process. The kernel's parent-death signal would come at the death of
    the *thread* that started us, which may be a worker of a pool.

    Args:
        is_parent: whether that process started this one. If it is not our parent any more, it has died, and its id
            may be another's by now.
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
