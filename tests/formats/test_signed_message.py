"""Messages signed with a node's key: zbase32, recovery, and refused signatures."""

from __future__ import annotations

from hashlib import sha256

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import FormatError, ProofRefused
from layer2.formats.signed_message import encode_signature, message_digest, signer_of, verify_message

KEY = PrivateKey(sha256(b"a node for tests").digest())
NODE_KEY = KEY.public_key.format()
ZBASE32 = "ybndrfg8ejkmcpqxot1uwisza345h769"

# Made by lnd 0.21.2 (signmessage) on a regtest of this project's devnet; its verifymessage returns the same key.
LND_MESSAGE, LND_KEY = "hi", "0347d9540b7039f8a6ced83bbfbd168e98dc3665d6c2c537c779b848659576d861"
LND_SIGNATURE = (
    "rbi7snueimatdxasp4emqpkd9emda31dkor7614epaekzjqqs61hawtjgz94zxo9uhobzhsow6qkk5n1egop6auo1raf7863ntdowjo6"
)


def signed(message: str | bytes, key: PrivateKey = KEY) -> str:
    return encode_signature(key.sign_recoverable(message_digest(message), hasher=None))


def test_a_signature_that_lnd_made_is_its_nodes() -> None:
    assert signer_of(LND_MESSAGE, LND_SIGNATURE).hex() == LND_KEY
    verify_message(LND_MESSAGE, LND_SIGNATURE, LND_KEY)
    verify_message(LND_MESSAGE.encode(), LND_SIGNATURE, bytes.fromhex(LND_KEY))


@given(st.binary(min_size=1, max_size=300), st.binary(min_size=32, max_size=32).filter(any))
def test_whoever_signs_is_recovered(message: bytes, secret: bytes) -> None:
    key = PrivateKey(sha256(secret).digest())
    text = signed(message, key)
    assert len(text) == 104
    assert signer_of(message, text) == key.public_key.format()


def test_text_and_its_utf8_are_one_message() -> None:
    verify_message("Grüße".encode(), signed("Grüße"), NODE_KEY)


@pytest.mark.parametrize("message", ["hi ", "h", "Hi", b"hi\0"])
def test_another_message_is_refused(message: str | bytes) -> None:
    with pytest.raises(ProofRefused, match="did not sign this message"):
        verify_message(message, signed("hi"), NODE_KEY)


def test_another_key_is_refused() -> None:
    with pytest.raises(ProofRefused):
        verify_message("hi", signed("hi"), LND_KEY)


@pytest.mark.parametrize("place", range(104))
def test_no_character_can_be_changed(place: int) -> None:
    text = signed("hi")
    for other in ZBASE32:
        if other == text[place]:
            continue
        with pytest.raises((FormatError, ProofRefused)):
            verify_message("hi", text[:place] + other + text[place + 1 :], NODE_KEY)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(LND_SIGNATURE[:-1], id="cut"),
        pytest.param(LND_SIGNATURE + "y", id="too long"),
        pytest.param(LND_SIGNATURE.upper(), id="upper case"),
        pytest.param("l" + LND_SIGNATURE[1:], id="a character outside zbase32"),
        pytest.param("é" + LND_SIGNATURE[1:], id="a character outside ASCII"),
        pytest.param("y" * 104, id="zeros"),
        pytest.param("9" * 104, id="ones"),
    ],
)
def test_an_invalid_signature_is_a_format_error(text: str) -> None:
    with pytest.raises(FormatError):
        signer_of(LND_MESSAGE, text)


@given(st.text(max_size=120))
def test_any_text_gives_a_key_or_a_format_error(text: str) -> None:
    try:
        key = signer_of("hi", text)
    except FormatError:
        return
    assert len(key) == 33


@pytest.mark.parametrize("message", ["", b"", "\ud800"], ids=["no text", "no bytes", "a lone surrogate"])
def test_what_cannot_be_signed_is_a_format_error(message: str | bytes) -> None:
    with pytest.raises(FormatError):
        message_digest(message)


@pytest.mark.parametrize("key", ["", "02", "zz" * 33, LND_KEY[:-2], LND_KEY + "00", "05" + LND_KEY[2:], b"\2" * 32])
def test_an_invalid_key_is_a_format_error(key: str | bytes) -> None:
    with pytest.raises(FormatError, match="a node's key is 33 bytes"):
        verify_message("hi", LND_SIGNATURE, key)
