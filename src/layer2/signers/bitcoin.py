"""The keys of hash-locked outputs on Bitcoin, derived from one secret and the payment hash."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from pathlib import Path
from typing import Final, Self

from coincurve import PrivateKey

from layer2.errors import SignerError
from layer2.signers.software import read_private_file

__all__ = ["BitcoinSeed", "BitcoinSwapKeys"]

_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_ROUNDS: Final = 2_048


class BitcoinSwapKeys:
    """Signs claims, refunds and releases.

    Each payment hash has a key for claims and refunds, and another one for releases. A provider's quote is made before
    the hash is known; its keys belong to no hash.

    Args:
        secret: at least 32 bytes. With it anyone can spend every open output of its owner.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise SignerError("the secret of Bitcoin's swap keys has fewer than 32 bytes")
        self._secret = secret

    def public_keys(self, payment_hash: bytes | None) -> tuple[bytes, bytes]:
        """The public keys, 33 bytes each: for claims and refunds, and for releases.

        Args:
            payment_hash: 32 bytes; None for the keys of quotes.
        """
        main, release = self._keys(payment_hash)
        return main.public_key.format(), release.public_key.format()

    def owns(self, key: bytes, payment_hash: bytes) -> bool:
        """Whether a public key, 33 bytes, is one of the keys of this hash or of quotes."""
        return self._find(key, payment_hash) is not None

    def sign(self, key: bytes, payment_hash: bytes, digest: bytes) -> bytes:
        """Sign 32 bytes with ECDSA, s in the lower half; return the DER encoding. RFC 6979 gives the nonce.

        Args:
            key: the public key, 33 bytes.

        Raises:
            SignerError: the key is not one of this hash or of quotes.
        """
        found = self._find(key, payment_hash)
        if found is None:
            raise SignerError("the key of the output is not this wallet's")
        return found.sign(digest, hasher=None)

    def _find(self, key: bytes, payment_hash: bytes) -> PrivateKey | None:
        known = (*self._keys(payment_hash), *self._keys(None))
        return next((each for each in known if each.public_key.format() == key), None)

    def _keys(self, payment_hash: bytes | None) -> tuple[PrivateKey, PrivateKey]:
        main, release = (self._derived(use, payment_hash or b"") for use in (b"claim", b"release"))
        return main, release

    def _derived(self, use: bytes, payment_hash: bytes) -> PrivateKey:
        digest = hmac.digest(self._secret, b"layer2/bitcoin/v1/" + use + b"/" + payment_hash, "sha512")
        return PrivateKey((int.from_bytes(digest, "big") % (_ORDER - 1) + 1).to_bytes(32, "big"))

    def __repr__(self) -> str:
        return "BitcoinSwapKeys(...)"


class BitcoinSeed:
    """The wallet's BIP 39 mnemonic, from which every key on Bitcoin follows.

    Args:
        words: 12 to 24 words, without a passphrase.

    Raises:
        SignerError: the number of words is wrong. The checksum is checked when the wallet is opened.
    """

    def __init__(self, words: str) -> None:
        normal = unicodedata.normalize("NFKD", " ".join(words.split()))
        if len(normal.split(" ")) not in (12, 15, 18, 21, 24):
            raise SignerError("the seed does not have 12, 15, 18, 21 or 24 words")
        self._words = normal

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read the words from a file that only its owner can access; see ``read_private_file``."""
        return cls(read_private_file(path).decode("utf-8", errors="replace"))

    @property
    def words(self) -> str:
        """The words, for the wallet."""
        return self._words

    def swap_keys(self) -> BitcoinSwapKeys:
        """The keys of hash-locked outputs.

        Their secret is the HMAC-SHA256 of a constant under the seed of BIP 39, so it reveals no key of the wallet.
        """
        seed = hashlib.pbkdf2_hmac("sha512", self._words.encode(), b"mnemonic", _ROUNDS)
        return BitcoinSwapKeys(hmac.digest(seed, b"layer2/bitcoin/swap-keys/v1", "sha256"))

    def __repr__(self) -> str:
        return "BitcoinSeed(...)"
