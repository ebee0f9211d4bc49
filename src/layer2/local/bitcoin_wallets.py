"""The Bitcoin wallets of a local network's parties. For test money only."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import bdkpython as bdk

from layer2.protocols.bitcoin.wallet.bdk import Wallet

__all__ = ["COIN", "START_COINS", "mnemonic_of", "wallet_scripts", "write_seed"]

START_COINS: Final = 5
"""Coins of each party's wallet at the start."""
COIN: Final = 20_000_000
"""Satoshi in each of them."""


def mnemonic_of(seed: bytes, name: str) -> str:
    """A BIP 39 mnemonic of 12 words, derived from the network's seed."""
    return str(bdk.Mnemonic.from_entropy(hashlib.sha256(seed + f"bitcoin {name}".encode()).digest()[:16]))


async def wallet_scripts(words: str) -> list[bytes]:
    """The output scripts of a wallet's first addresses."""
    wallet = Wallet(words, "regtest", None)
    try:
        return [await wallet.fresh_script() for _ in range(START_COINS)]
    finally:
        await wallet.aclose()


def write_seed(path: Path, words: str) -> None:
    """Write a mnemonic to a file that only its owner can read."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(words + "\n")
