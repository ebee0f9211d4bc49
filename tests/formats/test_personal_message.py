"""Messages of EIP-191. Oracle: eth-account signs and recovers the same."""

from __future__ import annotations

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats.personal_message import message_digest, signer_of

KEY = "0x" + "11" * 32
ACCOUNT = bytes.fromhex(Account.from_key(KEY).address[2:])


@given(st.binary(max_size=300))
def test_the_digest_and_the_signer_are_those_of_another_implementation(message: bytes) -> None:
    signed = Account.sign_message(encode_defunct(message), KEY)
    digest = message_digest(message)
    assert digest == bytes(signed.message_hash)
    assert signer_of(digest, bytes(signed.signature)) == ACCOUNT


@pytest.mark.parametrize("last", [0, 27])
def test_the_last_byte_may_be_that_of_a_wallet_or_of_a_signer_of_digests(last: int) -> None:
    digest = message_digest(b"message")
    signature = bytes(Account.sign_message(encode_defunct(b"message"), KEY).signature)
    recovery_id = signature[64] - 27
    assert signer_of(digest, signature[:64] + bytes([last + recovery_id])) == ACCOUNT
    assert signer_of(digest, signature[:64] + bytes([last + 1 - recovery_id])) != ACCOUNT


@pytest.mark.parametrize("last", [2, 26, 29, 35, 255])
def test_another_last_byte_is_refused(last: int) -> None:
    signature = bytes(Account.sign_message(encode_defunct(b"message"), KEY).signature)
    with pytest.raises(FormatError, match="0, 1, 27 or 28"):
        signer_of(message_digest(b"message"), signature[:64] + bytes([last]))


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(66), bytes(65), b"\xff" * 64 + b"\x00"])
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(FormatError, match="EIP-191"):
        signer_of(message_digest(b"message"), signature)
