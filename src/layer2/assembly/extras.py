"""Parts of the package that are installed separately."""

from __future__ import annotations

from layer2.errors import ConfigurationError

__all__ = ["temporal_is_missing"]


def temporal_is_missing() -> ConfigurationError:
    """The error for a configuration whose swaps are on Temporal workers, without the extra for them."""
    return ConfigurationError(
        "swaps on Temporal workers need temporalio",
        code="missing_extra",
        remedy="install layer2 again, from where you got it, with its extra 'temporal'",
    )
