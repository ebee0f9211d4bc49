"""Finds the process that acts on a journal, without disturbing it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

__all__ = ["guard_holder"]


def guard_holder(journal: Path) -> str | None:
    """The pid of the process that acts on the journal, or None; ``"unknown"`` if it has not written its pid.

    The answer can be outdated when it is read.
    """
    try:
        descriptor = os.open(journal.with_name(f"{journal.name}.lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A shared lock, so that two readers do not find each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(descriptor)
    return None
