"""ERC-20 calls against eth-abi, strict answers, and the test token on a chain."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from contracts.chain import PROVIDER, STRANGER, TAKER, WEALTH, Reverted
from contracts.world import World
from layer2.contracts.erc20 import (
    TransferEvent,
    allowance_call,
    approve_call,
    balance_of_call,
    decimals_call,
    decode_accepted,
    decode_decimals,
    decode_uint256,
    parse_transfer,
    transfer_call,
    transfer_from_call,
)
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, TEST_TOKEN_DECIMALS, mint_call
from layer2.errors import FormatError

A, B = b"\x0a" * 20, b"\x0b" * 20
TRANSFER = keccak(b"Transfer(address,address,uint256)")


@pytest.mark.parametrize(
    ("call", "signature", "values"),
    [
        (transfer_call(A, 5), "transfer(address,uint256)", [A, 5]),
        (transfer_from_call(A, B, 5), "transferFrom(address,address,uint256)", [A, B, 5]),
        (approve_call(A, 5), "approve(address,uint256)", [A, 5]),
        (balance_of_call(A), "balanceOf(address)", [A]),
        (allowance_call(A, B), "allowance(address,address)", [A, B]),
        (decimals_call(), "decimals()", []),
        (mint_call(A, 5), "mint(address,uint256)", [A, 5]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_is_selector_and_abi_encoding(call: bytes, signature: str, values: list[object]) -> None:
    types = [name for name in signature.partition("(")[2].rstrip(")").split(",") if name]
    assert call == keccak(signature.encode())[:4] + encode(types, values)


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
    (log,) = moved.logs
    assert parse_transfer(log.address, log.topics, log.data) == TransferEvent(token, TAKER.address, PROVIDER.address, 7)
    chain.send(PROVIDER, token, approve_call(STRANGER.address, 5))
    chain.send(STRANGER, token, transfer_from_call(PROVIDER.address, STRANGER.address, 3))
    left = chain.call(token, allowance_call(PROVIDER.address, STRANGER.address))
    assert decode_uint256(left) == 2
    with pytest.raises(Reverted):
        chain.send(STRANGER, token, transfer_from_call(PROVIDER.address, STRANGER.address, 3))
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


def test_anyone_mints_the_test_token_and_the_supply_says_so(world: World) -> None:
    supply = keccak(b"totalSupply()")[:4]
    before = decode_uint256(world.chain.call(TEST_TOKEN_ADDRESS, supply))
    minted = world.chain.send(STRANGER, TEST_TOKEN_ADDRESS, mint_call(A, 9))
    (log,) = minted.logs
    assert parse_transfer(log.address, log.topics, log.data) == TransferEvent(TEST_TOKEN_ADDRESS, bytes(20), A, 9)
    assert decode_uint256(world.chain.call(TEST_TOKEN_ADDRESS, supply)) == before + 9


def test_transfers_of_another_kind_are_not_read_as_erc20() -> None:
    topics = [TRANSFER, A.rjust(32, b"\x00"), B.rjust(32, b"\x00")]
    amount = (5).to_bytes(32, "big")
    assert parse_transfer(B, topics, amount) == TransferEvent(B, A, B, 5)
    assert parse_transfer(B, [*topics, amount], b"") is None  # ERC-721
    assert parse_transfer(B, [b"\x01" * 32, *topics[1:]], amount) is None
    assert parse_transfer(B, [], b"") is None
    for data in (b"", amount + b"\x00", amount[:-1]):
        with pytest.raises(FormatError):
            parse_transfer(B, topics, data)
    with pytest.raises(FormatError):
        parse_transfer(B, [TRANSFER, b"\x01" * 32, topics[2]], amount)
