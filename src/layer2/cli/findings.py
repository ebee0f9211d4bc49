"""What an examination finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from layer2.errors import Layer2Error

__all__ = ["Finding", "Level", "failed"]


class Level(Enum):
    """The severity of a finding."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    level: Level
    subject: str
    text: str
    remedy: str | None = None
    error: Layer2Error | None = None
    """The reason for FAIL."""


def failed(subject: str, error: Layer2Error, remedy: str) -> Finding:
    """A finding that is FAIL, with the error's remedy if it has one."""
    error.remedy = error.remedy or remedy
    return Finding(Level.FAIL, subject, f"[{error.code}] {error.message}", error.remedy, error)
