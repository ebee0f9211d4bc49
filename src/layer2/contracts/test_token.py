"""The worthless token that stands for wrapped bitcoin on local networks. Anyone can mint it."""

from __future__ import annotations

from layer2.contracts.artefact import load_artefact
from layer2.formats.evm_abi import encode_call

__all__ = [
    "TEST_TOKEN_ADDRESS",
    "TEST_TOKEN_DECIMALS",
    "TEST_TOKEN_SALT",
    "mint_call",
    "test_token_init_code",
]

TEST_TOKEN_SALT = bytes(32)
TEST_TOKEN_ADDRESS = bytes.fromhex("0ccb112f746bb53cacffc523f3a6ce1b42aef479")
"""20 bytes: where the factory puts the token. A configuration for a public network must never name it."""
TEST_TOKEN_DECIMALS = 8


def test_token_init_code() -> bytes:
    """Read the creation code from the package."""
    return load_artefact("test_token").init_code


def mint_call(recipient: bytes, amount: int) -> bytes:
    """Write the call that makes ``amount`` out of nothing; FormatError where an argument has another size."""
    return encode_call("mint(address,uint256)", recipient, amount)
