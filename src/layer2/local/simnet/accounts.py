"""The EVM accounts of a simnet: their keys, derived from the seed, and their balances at the start."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path

from coincurve import PrivateKey

from layer2.formats.evm_address import address_of_public_key
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.local.simnet.evm.chain import BOB_CHAIN_ID

__all__ = ["START_SATOSHIS", "START_WEI", "SimAccount"]

START_WEI = 10 * 10**18
"""Wei for gas that each account has in the genesis block of each chain."""
START_SATOSHIS = 100_000_000
"""Token units, the smallest ones, that taker and provider have on each chain at the start."""

_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_DEPLOYMENT_FEES = (1_000_000, 100_000_000)


@dataclass(frozen=True, slots=True)
class SimAccount:
    """A key and its address. For test money only."""

    key: PrivateKey = field(repr=False)
    address: bytes

    @classmethod
    def from_seed(cls, seed: bytes, name: str) -> SimAccount:
        """Derive the account with this name; the same seed and name give the same account."""
        digest = hmac.digest(seed, f"simnet evm {name}".encode(), hashlib.sha512)
        secret = int.from_bytes(digest, "big") % (_CURVE_ORDER - 1) + 1
        key = PrivateKey(secret.to_bytes(32, "big"))
        return cls(key, address_of_public_key(key.public_key.format()))

    def sign_call(self, nonce: int, to: bytes, data: bytes, gas_limit: int, *, chain_id: int = BOB_CHAIN_ID) -> bytes:
        """Sign a transaction without value, with fees for a new chain, and return its encoding."""
        tip, most = _DEPLOYMENT_FEES
        transaction = Eip1559Transaction(chain_id, nonce, tip, most, gas_limit, to, 0, data)
        return transaction.signed(self.key.sign_recoverable(transaction.signing_hash(), hasher=None)).raw

    def write_key(self, path: Path) -> None:
        """Write the key as 64 hexadecimal digits to a file that only its owner can read."""
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.key.secret.hex() + "\n")
