"""Test keys that sign with code that no verifier uses: BIP 340 and ECDSA over eth-keys' arithmetic of the curve."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

from eth_keys.backends.native.ecdsa import ecdsa_raw_sign
from eth_keys.backends.native.jacobian import fast_multiply
from eth_keys.constants import SECPK1_G, SECPK1_N

__all__ = ["Key", "tagged"]


def tagged(tag: str, data: bytes) -> bytes:
    """The tagged hash of BIP 340."""
    prefix = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(prefix + prefix + data).digest()


@cache
def _point(secret: int) -> tuple[int, int]:
    point: tuple[int, int] = fast_multiply(SECPK1_G, secret)
    return point


@dataclass(frozen=True, slots=True)
class Key:
    """A secret key, named by the text from which it is derived."""

    name: str

    @property
    def secret(self) -> int:
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest(), "big") % (SECPK1_N - 1) + 1

    @property
    def point(self) -> tuple[int, int]:
        return _point(self.secret)

    @property
    def x(self) -> bytes:
        """The key of BIP 340, 32 bytes."""
        return self.point[0].to_bytes(32, "big")

    @property
    def compressed(self) -> bytes:
        """33 bytes."""
        return bytes([2 + self.point[1] % 2]) + self.x

    def schnorr(self, digest: bytes) -> bytes:
        """A BIP 340 signature with zeros as auxiliary randomness."""
        secret = self.secret if self.point[1] % 2 == 0 else SECPK1_N - self.secret
        mask = int.from_bytes(tagged("BIP0340/aux", bytes(32)), "big")
        nonce = tagged("BIP0340/nonce", (secret ^ mask).to_bytes(32, "big") + self.x + digest)
        number = int.from_bytes(nonce, "big") % SECPK1_N
        commitment = fast_multiply(SECPK1_G, number)
        if commitment[1] % 2:
            number = SECPK1_N - number
        r = commitment[0].to_bytes(32, "big")
        challenge = int.from_bytes(tagged("BIP0340/challenge", r + self.x + digest), "big")
        return r + ((number + challenge * secret) % SECPK1_N).to_bytes(32, "big")

    def ecdsa(self, digest: bytes) -> tuple[bytes, int]:
        """``r || s`` with a low s, and the recovery id."""
        v, r, s = ecdsa_raw_sign(digest, self.secret.to_bytes(32, "big"))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big"), v
