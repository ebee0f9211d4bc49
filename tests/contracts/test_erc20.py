"""ERC-20 calls against eth-abi, strict answers, and the test token on a chain."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from contracts.chain import PROVIDER, STRANGER, TAKER, WEALTH, Log, Reverted
from contracts.world import World
from layer2.contracts.erc20 import (
    allowance_call,
    approve_call,
    balance_of_call,
    decimals_call,
    decode_accepted,
    decode_decimals,
    decode_string,
    decode_uint256,
    domain_separator_call,
    name_call,
    nonces_call,
    transfer_call,
    version_call,
)
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, TEST_TOKEN_DECIMALS, mint_call
from layer2.errors import FormatError

A, B = b"\x0a" * 20, b"\x0b" * 20


def transfer_log(sender: bytes, recipient: bytes, amount: int) -> Log:
    """The test token's log in a receipt, according to EIP-20 and the ABI."""
    topics = (
        keccak(b"Transfer(address,address,uint256)"),
        encode(["address"], [sender]),
        encode(["address"], [recipient]),
    )
    return Log(TEST_TOKEN_ADDRESS, topics, encode(["uint256"], [amount]))


@pytest.mark.parametrize(
    ("call", "signature", "values"),
    [
        (transfer_call(A, 5), "transfer(address,uint256)", [A, 5]),
        (approve_call(A, 5), "approve(address,uint256)", [A, 5]),
        (balance_of_call(A), "balanceOf(address)", [A]),
        (allowance_call(A, B), "allowance(address,address)", [A, B]),
        (decimals_call(), "decimals()", []),
        (name_call(), "name()", []),
        (version_call(), "version()", []),
        (nonces_call(A), "nonces(address)", [A]),
        (domain_separator_call(), "DOMAIN_SEPARATOR()", []),
        (mint_call(A, 5), "mint(address,uint256)", [A, 5]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_is_selector_and_abi_encoding(call: bytes, signature: str, values: list[object]) -> None:
    types = [name for name in signature.partition("(")[2].rstrip(")").split(",") if name]
    assert call == keccak(signature.encode())[:4] + encode(types, values)


@pytest.mark.parametrize("text", ["", "1", "Wrapped \u20bf", "x" * 32, "x" * 33, "x" * 256])
def test_a_string_is_read_as_the_abi_writes_it(text: str) -> None:
    assert decode_string(encode(["string"], [text])) == text


def test_an_invalid_string_is_refused() -> None:
    good = encode(["string"], ["name"])
    wrong = [b"", good[:-1], good + bytes(32), bytes(96), encode(["string"], ["x" * 257]), encode(["bytes"], [b"\xff"])]
    for answer in wrong:
        with pytest.raises(FormatError, match="string"):
            decode_string(answer)


def test_nothing_or_true_is_accepted_and_everything_else_is_not() -> None:
    assert decode_accepted(b"")
    assert decode_accepted((1).to_bytes(32, "big"))
    assert not decode_accepted(bytes(32))
    for answer in ((2).to_bytes(32, "big"), b"\x01", bytes(33)):
        with pytest.raises(FormatError):
            decode_accepted(answer)


def test_numbers_are_read_strictly() -> None:
    assert decode_uint256(b"\xff" * 32) == 2**256 - 1
    assert decode_decimals((18).to_bytes(32, "big")) == 18
    with pytest.raises(FormatError):
        decode_uint256(b"")
    with pytest.raises(FormatError):
        decode_decimals((256).to_bytes(32, "big"))


def test_the_test_token_moves_approves_and_logs_as_erc20_says(world: World) -> None:
    chain, token = world.chain, TEST_TOKEN_ADDRESS
    moved = chain.send(TAKER, token, transfer_call(PROVIDER.address, 7))
    assert decode_accepted(moved.output)
    assert moved.logs == (transfer_log(TAKER.address, PROVIDER.address, 7),)
    chain.send(PROVIDER, token, approve_call(STRANGER.address, 5))
    taking = keccak(b"transferFrom(address,address,uint256)")[:4] + encode(
        ["address", "address", "uint256"], [PROVIDER.address, STRANGER.address, 3]
    )
    chain.send(STRANGER, token, taking)
    left = chain.call(token, allowance_call(PROVIDER.address, STRANGER.address))
    assert decode_uint256(left) == 2
    with pytest.raises(Reverted):
        chain.send(STRANGER, token, taking)
    assert chain.token_balance(token, PROVIDER.address) == WEALTH + 7 - 3
    assert chain.token_balance(token, STRANGER.address) == WEALTH + 3


def test_the_test_token_moves_no_more_than_there_is(world: World) -> None:
    with pytest.raises(Reverted):
        world.chain.send(TAKER, TEST_TOKEN_ADDRESS, transfer_call(PROVIDER.address, WEALTH + 1))


def test_the_test_token_has_eight_decimals_and_calls_itself_worthless(world: World) -> None:
    chain = world.chain
    assert decode_decimals(chain.call(TEST_TOKEN_ADDRESS, decimals_call())) == TEST_TOKEN_DECIMALS == 8
    assert b"WORTHLESS" in chain.call(TEST_TOKEN_ADDRESS, keccak(b"name()")[:4])
    assert b"tBTCL" in chain.call(TEST_TOKEN_ADDRESS, keccak(b"symbol()")[:4])


def test_anyone_can_mint_the_test_token_and_the_supply_grows(world: World) -> None:
    supply = keccak(b"totalSupply()")[:4]
    before = decode_uint256(world.chain.call(TEST_TOKEN_ADDRESS, supply))
    minted = world.chain.send(STRANGER, TEST_TOKEN_ADDRESS, mint_call(A, 9))
    assert minted.logs == (transfer_log(bytes(20), A, 9),)
    assert decode_uint256(world.chain.call(TEST_TOKEN_ADDRESS, supply)) == before + 9
