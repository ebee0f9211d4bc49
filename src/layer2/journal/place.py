"""Where a journal is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from layer2.errors import InvalidRequest

__all__ = ["JournalPlace"]


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """A SQLite file, or a database of a PostgreSQL server. As text it shows no password."""

    path: Path | None = None
    url: str | None = field(default=None, repr=False)
    """``postgresql://USER:PASSWORD@HOST/DATABASE``; what is missing comes from libpq's environment and files."""

    @classmethod
    def of(cls, place: JournalPlace | str | Path) -> JournalPlace:
        """A path or a URL as a place.

        Raises:
            InvalidRequest: ``place`` is neither.
        """
        if isinstance(place, JournalPlace):
            return place
        if not isinstance(place, str | Path):
            raise InvalidRequest(f"a {type(place).__name__} is not a path", remedy="pass a str or a pathlib.Path")
        return cls(url=place) if isinstance(place, str) and "://" in place else cls(path=Path(place))

    def exists(self) -> bool:
        """Whether the file exists. The database of a server has to exist."""
        return self.path is None or self.path.exists()

    def __str__(self) -> str:
        if self.url is None:
            return str(self.path)
        from layer2.journal.postgres import server_name

        return server_name(self.url)
