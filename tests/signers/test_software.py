"""Keys in files and memory: file permissions, signatures, and that nothing reveals a key."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

import pytest
from coincurve import PublicKey

from layer2.errors import SignerError
from layer2.formats import tagged_signature
from layer2.formats.evm_address import address_of_public_key
from layer2.model.transactions import SwapId
from layer2.signers.software import SeedPreimages, SoftwareEvmSigner, SoftwareIdentity, read_secret_file

SECRET = bytes(range(1, 33))
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class FixedEntropy:
    def token(self, length: int) -> bytes:
        return bytes(length)


def key_file(directory: Path, content: str = SECRET.hex() + "\n", mode: int = 0o600) -> Path:
    path = directory / "account.key"
    path.write_text(content)
    path.chmod(mode)
    return path


async def test_a_signature_recovers_to_the_signers_address_with_the_lower_s() -> None:
    signer = SoftwareEvmSigner(SECRET)
    for number in range(50):
        digest = hashlib.sha256(bytes([number])).digest()
        signature = await signer.sign_digest(digest)
        public_key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
        assert address_of_public_key(public_key.format()) == signer.address
        assert int.from_bytes(signature[32:64], "big") <= CURVE_ORDER // 2


def test_the_address_is_that_of_a_published_key() -> None:
    # The first account of the well-known mnemonic "test test test ... junk" of Ethereum's development tools.
    secret = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
    assert SoftwareEvmSigner(secret).address.hex() == "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"


async def test_an_identitys_signature_is_bip_340() -> None:
    identity = SoftwareIdentity(SECRET, FixedEntropy())
    digest = tagged_signature.tagged_hash("layer2/test", b"something")
    signature = await identity.sign_schnorr(digest)
    assert tagged_signature.verify(identity.public_key, digest, signature)
    assert signature == tagged_signature.sign(SECRET, digest, bytes(32))


async def test_only_digests_are_signed() -> None:
    for length in (0, 31, 33):
        with pytest.raises(SignerError):
            await SoftwareEvmSigner(SECRET).sign_digest(bytes(length))
        with pytest.raises(SignerError):
            await SoftwareIdentity(SECRET).sign_schnorr(bytes(length))


def test_a_preimage_is_the_same_for_ever_and_its_own_for_each_swap() -> None:
    first, second = SwapId("00" * 16), SwapId("01" * 16)
    preimages = SeedPreimages(SECRET)
    assert preimages.preimage(first).secret == hmac.new(SECRET, b"00" * 16, hashlib.sha256).digest()
    assert preimages.preimage(first) == SeedPreimages(SECRET).preimage(first)
    assert preimages.preimage(first) != preimages.preimage(second)


@pytest.mark.parametrize("content", [SECRET.hex(), "0x" + SECRET.hex(), SECRET.hex().upper() + "\n"])
def test_a_key_is_read_from_its_file(tmp_path: Path, content: str) -> None:
    path = key_file(tmp_path, content)
    assert SoftwareEvmSigner.from_file(path).address == SoftwareEvmSigner(SECRET).address
    assert SoftwareIdentity.from_file(path).public_key == SoftwareIdentity(SECRET).public_key
    assert SeedPreimages.from_file(path).preimage(SwapId("00" * 16)).secret


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o602])
def test_a_file_that_others_may_open_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SignerError, match="open to others") as refused:
        read_secret_file(key_file(tmp_path, mode=mode))
    assert refused.value.remedy == f"run: chmod 600 {tmp_path / 'account.key'}"


@pytest.mark.parametrize(
    "content",
    [
        "",
        SECRET.hex()[:-1],
        SECRET.hex() + "00",
        "z" * 64,
        "\u00e9" * 64,
        "00" * 300,
        f"{SECRET.hex()[:32]} {SECRET.hex()[:31]}",
    ],
    ids=["empty", "short", "long", "letters", "not-ascii", "huge", "blank"],
)
def test_a_file_that_holds_something_else_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    with pytest.raises(SignerError, match="does not hold 64 hex digits") as refused:
        read_secret_file(key_file(tmp_path, content))
    assert content == "" or content[:16] not in str(refused.value)


def test_a_missing_file_and_one_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="cannot be read"):
        read_secret_file(tmp_path / "none")
    with pytest.raises(SignerError, match="not a regular file"):
        read_secret_file(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SignerError, match="not a regular file"):
        read_secret_file(tmp_path / "pipe")


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, CURVE_ORDER.to_bytes(32, "big"), b"\x01" * 31])
def test_an_invalid_key_is_refused_without_showing_it(secret: bytes) -> None:
    for kind in (SoftwareEvmSigner, SoftwareIdentity):
        with pytest.raises(SignerError) as refused:
            kind(secret)
        assert secret.hex() not in str(refused.value)


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(SignerError):
        SeedPreimages(b"\x01" * 16)


def test_no_repr_shows_a_secret() -> None:
    shown = repr([SoftwareEvmSigner(SECRET), SoftwareIdentity(SECRET), SeedPreimages(SECRET)])
    assert SECRET.hex() not in shown
    assert repr(SECRET) not in shown


def test_this_process_keeps_the_files_mode_check_on_the_open_file(tmp_path: Path) -> None:
    """A link may be changed to another file after the check, so the check uses the open file."""
    path = key_file(tmp_path)
    link = tmp_path / "link"
    os.symlink(path, link)
    assert read_secret_file(link) == SECRET
    path.chmod(0o644)
    with pytest.raises(SignerError, match="open to others"):
        read_secret_file(link)
