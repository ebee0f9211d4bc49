"""Checks the files that a configuration names: that they exist, and that only their owner can read the keys."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from layer2.config.definitions import settings_of
from layer2.errors import ConfigurationError
from layer2.signers.bitcoin import BitcoinSeed
from layer2.signers.software import read_secret_file

__all__ = ["check_files", "key_files", "named_files", "open_to_others", "read_key"]

_KEYS: Final = frozenset({"key_file", "swap_seed_file", "identity_key_file"})
"""Fields whose files hold 32 secret bytes in hexadecimal."""
_MADE_LATER: Final = "wallet_file"
"""The wallet creates it at its first start."""


def named_files(settings: object, table: str = "") -> Iterator[tuple[str, str, Path]]:
    """Every named file: its key for messages, the field's name and the path."""
    for setting in settings_of(type(settings)):
        name, value = setting.name, getattr(settings, setting.name)
        if setting.table is not None and not setting.is_list and value is not None:
            yield from named_files(value, f"[{name}] ")
        elif name.endswith("_file") and value is not None:
            yield f"{table}{name}", name, Path(value)


def key_files(settings: object) -> list[tuple[str, Path]]:
    """The files that hold keys."""
    return [(key, path) for key, name, path in named_files(settings) if name in _KEYS or name == "seed_file"]


def read_key(path: Path, key: str) -> None:
    """Read a file that holds a key, or a wallet's mnemonic.

    Args:
        key: its key in the configuration, from ``key_files``.

    Raises:
        SignerError: it has another mode or content. The content is never shown.
    """
    if key.endswith(" seed_file"):
        BitcoinSeed.from_file(path)
    else:
        read_secret_file(path)


def check_files(settings: object) -> None:
    """Check that every file exists, that only its owner can read a key file, and that it holds 64 hex digits or words.

    Raises:
        ConfigurationError: a file is missing.
        SignerError: a key file has another mode or content. The content is never shown.
    """
    for key, name, path in named_files(settings):
        if not path.is_file() and name != _MADE_LATER:
            raise ConfigurationError(
                f"{key}: there is no file {path}", code="missing_file", remedy=f"create it, or correct {name}"
            )
    for key, path in key_files(settings):
        read_key(path, key)


def open_to_others(path: Path) -> bool:
    """Whether users other than the owner can read or write the file."""
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
