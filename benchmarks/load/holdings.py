"""The resources of this process: memory, sockets, tasks, waiters."""

from __future__ import annotations

import asyncio
import gc
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Holdings", "resident"]


def resident(process: int | str = "self") -> int:
    """The resident memory of a process, by default of this one, in bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Holdings:
    """The open resources of a process."""

    sockets: frozenset[str]
    tasks: int
    waiters: int

    @classmethod
    def now(cls) -> Holdings:
        gc.collect()
        futures = [each for each in gc.get_objects() if isinstance(each, asyncio.Future)]
        links = [_target(each) for each in Path("/proc/self/fd").iterdir()]
        return cls(
            sockets=frozenset([link for link in links if link.startswith("socket:")]),
            tasks=len(asyncio.all_tasks()),
            waiters=sum(not each.done() and not isinstance(each, asyncio.Task) for each in futures),
        )

    def over(self, before: Holdings) -> list[tuple[str, int]]:
        """The increase since ``before``, by kind."""
        return [
            # Compare names, because sockets of other clients may have been closed meanwhile.
            ("sockets", len(self.sockets - before.sockets)),
            ("tasks", self.tasks - before.tasks),
            ("waiters", self.waiters - before.waiters),
        ]


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:
        return ""  # the descriptor with which the directory was read
