"""The test token on a simnet node, for tests of the EVM's JSON-RPC."""

from __future__ import annotations

from layer2.contracts.factory import DETERMINISTIC_FACTORY, deployment_call
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, TEST_TOKEN_SALT, mint_call
from layer2.contracts.test_token import test_token_init_code as token_init_code
from layer2.formats.keccak import keccak256
from simnet.bob_client import RunningBob, signed

__all__ = ["TOKEN", "balance_slot", "deploy_token", "holder", "mint"]

TOKEN = "0x" + TEST_TOKEN_ADDRESS.hex()


def holder(number: int) -> bytes:
    """The address that ``deploy_token`` mints ``number`` thousand units for."""
    return bytes([number]) * 20


def balance_slot(owner: bytes) -> str:
    """The storage key of an owner's balance: Vyper hashes the variable's slot (2) and then the key."""
    return "0x" + keccak256((2).to_bytes(32, "big") + owner.rjust(32, b"\0")).hex()


def deploy_token(bob: RunningBob, holders: int) -> None:
    """Deploy the token and mint for each holder, all in one block."""
    deployment = deployment_call(TEST_TOKEN_SALT, token_init_code())
    bob.node.send(signed(bob.taker, 0, to=DETERMINISTIC_FACTORY, value=0, gas=2_000_000, data=deployment))
    for number in range(1, holders + 1):
        mint(bob, number, holder(number), 1000 * number)
    bob.node.mine()


def mint(bob: RunningBob, nonce: int, recipient: bytes, amount: int) -> str:
    """Send a transaction of the taker that mints, and return its hash."""
    raw = signed(bob.taker, nonce, to=TEST_TOKEN_ADDRESS, value=0, gas=100_000, data=mint_call(recipient, amount))
    return "0x" + bob.node.send(raw).hex()
