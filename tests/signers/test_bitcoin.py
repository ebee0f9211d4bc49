"""The seed of the Bitcoin wallet, and the keys of hash-locked outputs that follow from it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from coincurve import PublicKey

from layer2.errors import SignerError
from layer2.signers.bitcoin import BitcoinSeed, BitcoinSwapKeys

WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
HASHES = [bytes([at]) * 32 for at in range(4)]
ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


def keys() -> BitcoinSwapKeys:
    return BitcoinSeed(WORDS).swap_keys()


def test_every_hash_and_every_use_has_its_own_key() -> None:
    found = [key for payment_hash in (None, *HASHES) for key in keys().public_keys(payment_hash)]
    assert len(set(found)) == 2 * 5
    assert {len(key) for key in found} == {33}


def test_the_keys_follow_from_the_words_alone() -> None:
    assert keys().public_keys(HASHES[0]) == keys().public_keys(HASHES[0])
    other = BitcoinSeed("legal winner thank year wave sausage worth useful legal winner thank yellow").swap_keys()
    assert other.public_keys(HASHES[0]) != keys().public_keys(HASHES[0])


def test_the_derivation_never_changes() -> None:
    # A changed derivation would make open outputs unspendable.
    main, release = keys().public_keys(HASHES[1])
    assert (main.hex(), release.hex()) == (
        "0261aa2d84f13ca5c34506d018a78c0f96e4c785c19f2513bfb293c1bcf471675a",
        "028cfc257976f28cc639ce9c800fa1ddff6d22a2cfbfd86dca696379de685d91c2",
    )
    quoted, _ = keys().public_keys(None)
    assert quoted.hex() == "035b8c04fbe6c5d9f77de98ed2d40212601312140ae9aed46dea2e3e2385c468b0"


def test_a_signature_is_valid_low_and_always_the_same() -> None:
    for key in (*keys().public_keys(HASHES[0]), *keys().public_keys(None)):
        for text in (b"one", b"two", b"three"):
            digest = hashlib.sha256(text).digest()
            signature = keys().sign(key, HASHES[0], digest)
            assert PublicKey(key).verify(signature, digest, hasher=None)
            assert signature == keys().sign(key, HASHES[0], digest)
            start = 4 + signature[3]
            assert int.from_bytes(signature[start + 2 :], "big") <= ORDER // 2


def test_a_key_of_another_hash_or_party_is_refused() -> None:
    for key in (keys().public_keys(HASHES[1])[0], b"\x02" * 33, b""):
        assert not keys().owns(key, HASHES[0])
        with pytest.raises(SignerError):
            keys().sign(key, HASHES[0], bytes(32))
    assert all(keys().owns(key, HASHES[0]) for key in (*keys().public_keys(HASHES[0]), *keys().public_keys(None)))


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(SignerError):
        BitcoinSwapKeys(b"\x01" * 31)


@pytest.mark.parametrize("count", [0, 1, 11, 13, 25])
def test_a_wrong_number_of_words_is_refused(count: int) -> None:
    with pytest.raises(SignerError):
        BitcoinSeed(" ".join(["abandon"] * count))


def test_blanks_between_words_do_not_matter() -> None:
    spread = BitcoinSeed("\n " + WORDS.replace(" ", " \t ") + "\n")
    assert spread.words == WORDS
    assert spread.swap_keys().public_keys(None) == keys().public_keys(None)


def test_the_words_are_read_from_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "seed"
    path.write_text(WORDS + "\n")
    path.chmod(0o600)
    assert BitcoinSeed.from_file(path).words == WORDS
    path.chmod(0o644)
    with pytest.raises(SignerError):
        BitcoinSeed.from_file(path)
    path.unlink()
    with pytest.raises(SignerError):
        BitcoinSeed.from_file(path)


def test_no_secret_is_shown() -> None:
    for shown in (repr(BitcoinSeed(WORDS)), str(BitcoinSeed(WORDS)), repr(keys()), str(keys())):
        assert "abandon" not in shown
        assert shown.endswith("(...)")
