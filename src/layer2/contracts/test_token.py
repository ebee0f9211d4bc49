"""The worthless token that represents bitcoin on local networks. Anyone can mint it."""

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
"""The token's address on local networks, 20 bytes. Never configure it for a public network."""
TEST_TOKEN_DECIMALS = 8


def test_token_init_code() -> bytes:
    """The creation code."""
    return load_artefact("test_token").init_code


def mint_call(recipient: bytes, amount: int) -> bytes:
    """Encode the call that mints ``amount``. Raises: FormatError if an argument has a wrong size."""
    return encode_call("mint(address,uint256)", recipient, amount)
