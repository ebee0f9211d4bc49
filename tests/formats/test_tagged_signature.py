"""Tagged hashes and Schnorr signatures.

``bip340_vectors.csv`` is github.com/bitcoin/bips, bip-0340/test-vectors.csv at commit
7fe0b034ec967b52a5a28276419117326df93263: all 15 vectors whose message has 32 bytes, unchanged.
"""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path

import pytest
from coincurve import PrivateKey, PublicKeyXOnly
from coincurve.utils import GROUP_ORDER_INT
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats import canonical_json
from layer2.formats.tagged_signature import (
    compact_ecdsa,
    has_low_s,
    json_digest,
    sign,
    tagged_hash,
    verify,
    verify_ecdsa,
)

with (Path(__file__).parent / "bip340_vectors.csv").open(encoding="utf-8", newline="") as file:
    VECTORS = list(csv.DictReader(file))

SECRET = bytes(31) + b"\x03"
PUBLIC_KEY = PublicKeyXOnly.from_secret(SECRET).format()
DIGEST = tagged_hash("layer2/test", b"terms")
SIGNATURE = sign(SECRET, DIGEST, bytes(32))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["index"])
def test_the_vectors_of_bip_340_are_verified_as_they_say(vector: dict[str, str]) -> None:
    expected = {"TRUE": True, "FALSE": False}[vector["verification result"]]
    key, message, signature = (bytes.fromhex(vector[column]) for column in ("public key", "message", "signature"))
    assert verify(key, message, signature) is expected


@pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if vector["secret key"]], ids=lambda vector: vector["index"]
)
def test_the_vectors_of_bip_340_are_signed_as_they_say(vector: dict[str, str]) -> None:
    secret, aux, message = (bytes.fromhex(vector[column]) for column in ("secret key", "aux_rand", "message"))
    assert sign(secret, message, aux).hex().upper() == vector["signature"]


def test_the_vectors_are_all_there() -> None:
    assert [vector["index"] for vector in VECTORS] == [str(index) for index in range(15)]


# Source: BIP 340, "Design", tagged hashes.
def test_the_tagged_hash_is_that_of_bip_340() -> None:
    prefix = sha256(b"BIP0340/challenge").digest()
    assert tagged_hash("BIP0340/challenge", b"data") == sha256(prefix * 2 + b"data").digest()


def test_another_tag_gives_another_digest_and_its_signature_is_void() -> None:
    other = tagged_hash("layer2/other", b"terms")
    assert verify(PUBLIC_KEY, DIGEST, SIGNATURE)
    assert not verify(PUBLIC_KEY, other, SIGNATURE)


def test_a_json_digest_does_not_depend_on_the_order_of_keys() -> None:
    digest = json_digest("layer2/test", {"b": 1, "a": ["x"]})
    assert digest == json_digest("layer2/test", {"a": ["x"], "b": 1})
    assert digest == tagged_hash("layer2/test", b'{"a":["x"],"b":1}')
    assert digest != json_digest("layer2/test", {"a": ["x"], "b": 2})
    assert canonical_json.encode({"b": 1, "a": ["x"]}) == b'{"a":["x"],"b":1}'


def test_a_value_without_a_canonical_form_has_no_digest() -> None:
    with pytest.raises(FormatError):
        json_digest("layer2/test", {"amount": 1.5})  # type: ignore[dict-item]  # the fault that is tested


@given(st.integers(0, 64 * 8 - 1))
@settings(max_examples=60)
def test_a_flipped_bit_voids_the_signature(at: int) -> None:
    flipped = bytearray(SIGNATURE)
    flipped[at // 8] ^= 1 << at % 8
    assert not verify(PUBLIC_KEY, DIGEST, bytes(flipped))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
@settings(max_examples=40)
def test_the_same_arguments_give_the_same_signature_and_it_verifies(digest: bytes, aux: bytes) -> None:
    signature = sign(SECRET, digest, aux)
    assert signature == sign(SECRET, digest, aux)
    assert verify(PUBLIC_KEY, digest, signature)


def test_truncated_and_appended_signatures_and_keys_are_void() -> None:
    for length in (*range(64), 65, 96):
        assert not verify(PUBLIC_KEY, DIGEST, (SIGNATURE + bytes(32))[:length])
    for length in (*range(32), 33, 64):
        assert not verify((PUBLIC_KEY + bytes(32))[:length], DIGEST, SIGNATURE)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_digest_of_another_length_is_the_callers_fault(length: int) -> None:
    with pytest.raises(FormatError, match="digest"):
        verify(PUBLIC_KEY, bytes(length), SIGNATURE)
    with pytest.raises(FormatError, match="digest"):
        sign(SECRET, bytes(length), bytes(32))


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, b"\xab\xcd", b"", b"\xab\xcd" * 17], ids=len)
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: bytes) -> None:
    with pytest.raises(FormatError) as refusal:
        sign(secret, DIGEST, bytes(32))
    assert "abcd" not in str(refusal.value)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


@pytest.mark.parametrize("length", [0, 31, 33])
def test_auxiliary_randomness_is_never_made_up(length: int) -> None:
    with pytest.raises(FormatError, match="aux_randomness"):
        sign(SECRET, DIGEST, bytes(length))


def test_an_ecdsa_signature_in_der_has_the_same_numbers_in_64_bytes() -> None:
    key = PrivateKey(SECRET)
    for at in range(20):
        digest = tagged_hash("layer2/test", bytes([at]))
        signature = compact_ecdsa(key.sign(digest, hasher=None))
        assert has_low_s(signature)
        assert verify_ecdsa(key.public_key.format(), digest, signature)
        high = signature[:32] + (GROUP_ORDER_INT - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
        assert not has_low_s(high)
    for wrong in (b"", b"\x30", bytes(70)):
        with pytest.raises(FormatError, match="DER"):
            compact_ecdsa(wrong)
