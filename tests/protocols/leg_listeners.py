"""What a layer reports about a leg that it follows."""

from __future__ import annotations


class Noted:
    """A listener that notes what is reported."""

    def __init__(self) -> None:
        self.changes = 0
        self.misses = 0

    def changed(self) -> None:
        self.changes += 1

    def missed(self) -> None:
        self.misses += 1

    @property
    def heard(self) -> tuple[int, int]:
        return self.changes, self.misses
