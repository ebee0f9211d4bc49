"""Keys in this process's memory, read from files that only their owner can read.

Anyone who can read this process's memory, or backups of the files, has the keys: protect no more money with a key than
you can afford to lose.
"""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path
from typing import Self

from coincurve import PrivateKey, PublicKeyXOnly

from layer2.errors import SignerError
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.formats.tagged_signature import tagged_hash
from layer2.model.transactions import Preimage, SwapId
from layer2.ports.clock import Entropy, SystemEntropy

__all__ = ["SeedPreimages", "SoftwareEvmSigner", "SoftwareIdentity", "read_private_file", "read_secret_file"]

_LONGEST_FILE = 512
_FINGERPRINT_TAG = "layer2/seed/v1"


def read_private_file(path: str | Path) -> bytes:
    """The first 512 bytes of a file that only its owner can access (mode 0600 or 0400).

    Raises:
        SignerError: it cannot be read, or others can read or write it.
    """
    try:
        # O_NONBLOCK: otherwise a named pipe would block the program forever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SignerError(f"the key file {path} cannot be read: {error.strerror}") from error
    try:
        # Read from the open file, so that no one can replace it between the check and the read.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SignerError(f"the key file {path} is not a regular file")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = stat.S_IMODE(status.st_mode)
            raise SignerError(
                f"the key file {path} is open to others (mode {mode:04o})", remedy=f"run: chmod 600 {path}"
            )
        return os.read(descriptor, _LONGEST_FILE)
    finally:
        os.close(descriptor)


def read_secret_file(path: str | Path) -> bytes:
    """Read 32 secret bytes, written as 64 hex digits.

    Args:
        path: a file that only its owner can access (mode 0600 or 0400).

    Raises:
        SignerError: it cannot be read, others can read or write it, or its content is something else. The error never
            shows the content.
    """
    text = read_private_file(path).decode("ascii", errors="replace").strip().removeprefix("0x")
    if len(text) != 64:
        raise SignerError(f"the key file {path} does not hold 64 hex digits")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise SignerError(f"the key file {path} does not hold 64 hex digits") from None


class SoftwareEvmSigner:
    """An EVM account's key; implements ``EvmSigner``.

    Args:
        secret: 32 bytes.

    Raises:
        SignerError: the secret is not a key of secp256k1.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = _private_key(secret)
        self._address = address_of_public_key(self._key.public_key.format())

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read the key from a file; see ``read_secret_file``."""
        return cls(read_secret_file(path))

    @property
    def address(self) -> bytes:
        """20 bytes."""
        return self._address

    async def sign_digest(self, digest: bytes) -> bytes:
        """Sign 32 bytes; return r, s and the recovery id (65 bytes), s in the lower half (EIP-2).

        The nonce is derived from key and digest (RFC 6979), so the same digest gives the same signature.

        Raises:
            SignerError: the digest is not 32 bytes.
        """
        if len(digest) != 32:
            raise SignerError(f"a digest of {len(digest)} bytes cannot be signed, expected 32")
        return self._key.sign_recoverable(digest, hasher=None)

    def __repr__(self) -> str:
        return f"SoftwareEvmSigner({to_checksum(self._address)})"


class SoftwareIdentity:
    """A provider's identity key; implements ``IdentitySigner``.

    Args:
        secret: 32 bytes.
        entropy: the source of BIP 340's auxiliary randomness.

    Raises:
        SignerError: the secret is not a key of secp256k1.
    """

    def __init__(self, secret: bytes, entropy: Entropy | None = None) -> None:
        self._key = _private_key(secret)
        self._entropy: Entropy = SystemEntropy() if entropy is None else entropy
        self._public_key = PublicKeyXOnly.from_secret(secret).format()

    @classmethod
    def from_file(cls, path: str | Path, entropy: Entropy | None = None) -> Self:
        """Read the key from a file; see ``read_secret_file``."""
        return cls(read_secret_file(path), entropy)

    @property
    def public_key(self) -> bytes:
        """32 bytes, x-only (BIP 340)."""
        return self._public_key

    async def sign_schnorr(self, digest: bytes) -> bytes:
        """Sign 32 bytes; return a BIP 340 signature (64 bytes).

        Raises:
            SignerError: the digest is not 32 bytes.
        """
        if len(digest) != 32:
            raise SignerError(f"a digest of {len(digest)} bytes cannot be signed, expected 32")
        return self._key.sign_schnorr(digest, self._entropy.token(32))

    def __repr__(self) -> str:
        return f"SoftwareIdentity({self._public_key.hex()})"


class SeedPreimages:
    """Preimages and access tokens from the swap seed; implements ``PreimageSource``.

    Args:
        seed: 32 bytes. It gives access to every open swap of its owner, and without it no swap can be collected: back
            it up before the first transfer.

    Raises:
        SignerError: the seed is not 32 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise SignerError(f"a swap seed has 32 bytes, not {len(seed)}")
        self._seed = seed

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read the seed from a file; see ``read_secret_file``."""
        return cls(read_secret_file(path))

    def preimage(self, swap_id: SwapId) -> Preimage:
        """HMAC-SHA256(seed, the swap id's 32 hex digits in ASCII), the same at every call."""
        return Preimage(hmac.digest(self._seed, swap_id.encode("ascii"), "sha256"))

    def access_token(self, swap_id: SwapId) -> bytes:
        """HMAC-SHA256(seed, "access" and the swap id's 32 hex digits), 32 bytes, which gives read access to the swap at
        the provider. It reveals nothing about the preimage."""
        return hmac.digest(self._seed, b"access" + swap_id.encode("ascii"), "sha256")

    @property
    def fingerprint(self) -> str:
        """16 hex digits that identify the seed without revealing it: the start of a tagged hash (BIP 340)."""
        return tagged_hash(_FINGERPRINT_TAG, self._seed)[:8].hex()

    def __repr__(self) -> str:
        return "SeedPreimages(<secret>)"


def _private_key(secret: bytes) -> PrivateKey:
    if len(secret) != 32:
        raise SignerError(f"a key has 32 bytes, not {len(secret)}")
    try:
        return PrivateKey(secret)
    except ValueError:
        raise SignerError("these 32 bytes are not a key of secp256k1") from None
