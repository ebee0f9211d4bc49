"""Parts of the package that are installed separately."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from layer2.errors import ConfigurationError

__all__ = ["needing_temporal"]


@contextmanager
def needing_temporal() -> Iterator[None]:
    """Import in this block what needs the extra for swaps on Temporal workers.

    Raises:
        ConfigurationError: code ``missing_extra``: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "swaps on Temporal workers need temporalio",
            code="missing_extra",
            remedy="install layer2 again, from where you got it, with its extra 'temporal'",
        ) from error
