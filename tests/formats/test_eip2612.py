"""Permits. Oracle: eth-account's typed data."""

from __future__ import annotations

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats.eip2612 import Permit, SignedPermit, domain_separator

NUMBERS = st.integers(0, 2**256 - 1)
ADDRESSES = st.binary(min_size=20, max_size=20)
KEY = "0x" + "11" * 32


@given(st.text(max_size=40), st.text(max_size=4), ADDRESSES, ADDRESSES, NUMBERS, NUMBERS, NUMBERS)
def test_a_signature_is_that_of_the_typed_data_of_another_implementation(
    name: str, version: str, token: bytes, spender: bytes, value: int, nonce: int, deadline: int
) -> None:
    account = Account.from_key(KEY)
    owner = bytes.fromhex(account.address[2:])
    signable = encode_typed_data(
        {"name": name, "version": version, "chainId": 60808, "verifyingContract": "0x" + token.hex()},
        {
            "Permit": [
                {"name": "owner", "type": "address"},
                {"name": "spender", "type": "address"},
                {"name": "value", "type": "uint256"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ]
        },
        {
            "owner": account.address,
            "spender": "0x" + spender.hex(),
            "value": value,
            "nonce": nonce,
            "deadline": deadline,
        },
    )
    signed = Account.sign_message(signable, KEY)
    separator = domain_separator(name, version, 60808, token)
    assert separator == signable.header
    assert Permit(owner, spender, value, nonce, deadline).digest(separator) == bytes(signed.message_hash)


def test_what_has_another_size_is_refused() -> None:
    permit = Permit(bytes(20), bytes(20), 1, 0, 1)
    with pytest.raises(FormatError, match="separator of 31"):
        permit.digest(bytes(31))
    with pytest.raises(FormatError, match="address of 32"):
        Permit(bytes(32), bytes(20), 1, 0, 1).digest(bytes(32))
    with pytest.raises(FormatError, match="address of 19"):
        domain_separator("a", "1", 1, bytes(19))
    for signature in (bytes(64), bytes(64) + b"\x1b"):
        with pytest.raises(FormatError, match="recovery id"):
            SignedPermit(permit, signature).call()
