"""The seed of a new Bitcoin wallet, which ``layer2 config init`` creates for mainnet and testnet."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Final

from layer2.assembly import journal_place
from layer2.config import LayerSettings
from layer2.local.parties import write_new

__all__ = ["SEED_NAMES", "WALLET_NAMES", "lost_seed_remedy", "missing_seed", "write_seed"]

SEED_NAMES: Final = {"taker": "bitcoin-seed.txt", "provider": "provider-bitcoin-seed.txt"}
"""They differ, because two programs must not spend the coins of one wallet."""
WALLET_NAMES: Final = {"taker": "bitcoin-wallet.sqlite", "provider": "provider-bitcoin-wallet.sqlite"}
PUBLIC_NETWORKS: Final = ("mainnet", "testnet")
_RESTORE: Final = "restore it from your backup"


def write_seed(file: Path) -> str | None:
    """Create a wallet's seed unless the file exists, and describe it.

    Returns:
        None if nothing was done, because the extra ``layer2[bitcoin]`` is not installed.
    """
    try:
        # BDK is an extra.
        from layer2.protocols.bitcoin.wallet.mnemonic import new_words
    except ImportError:
        return None
    try:
        write_new(file, new_words() + "\n")
    except FileExistsError:
        return f"{file}: kept"
    return f"{file}: created, mode 0600. Back it up: the coins and open swaps on Bitcoin depend on it"


def missing_seed(config_file: Path, kind: type[LayerSettings]) -> Path | None:
    """The seed that ``layer2 config init`` could not create when it wrote this file; None if it is not missing.

    A seed that was used may have been lost, and a new one does not replace it. So it is missing only if the file names
    it as ``layer2 config init`` does, and there is neither a wallet's file nor a journal.
    """
    try:
        content = tomllib.loads(config_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    bitcoin, journal = content.get("bitcoin", {}), content.get("journal", {})
    if not isinstance(bitcoin, dict) or not isinstance(journal, dict):
        return None
    directory, name = config_file.parent, str(bitcoin.get("seed_file"))
    if content.get("network") not in PUBLIC_NETWORKS or name not in SEED_NAMES.values():
        return None
    others = [bitcoin.get("wallet_file"), journal.get("path", kind.default_journal)]
    is_new = not any((directory / each).exists() for each in (name, *others) if isinstance(each, str))
    return directory / name if is_new else None


def lost_seed_remedy(file: Path, settings: LayerSettings, wallet: Path | None) -> str:
    """What to do about a wallet's seed that cannot be read."""
    was_used = file.exists() or journal_place(settings).exists() or (wallet is not None and wallet.exists())
    if was_used or settings.network not in PUBLIC_NETWORKS or file.name not in SEED_NAMES.values():
        return _RESTORE
    command = shlex.join(
        ["layer2", "config", "init", "--network", settings.network, "--directory", str(file.parent)]
        + ([] if file.name == SEED_NAMES["taker"] else ["--role", "provider"])
    )
    return f"{_RESTORE}; if there never was one, create it: {command}"
