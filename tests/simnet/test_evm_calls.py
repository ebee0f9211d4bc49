"""``eth_call``, ``eth_estimateGas`` and ``eth_simulateV1`` of the simnet honour every field that op-geth honours."""

from __future__ import annotations

from typing import Any

import pytest

from layer2.contracts.erc20 import balance_of_call, decimals_call, transfer_call
from layer2.formats.evm_address import to_checksum
from layer2.local.accounts import LocalAccount
from layer2.local.simnet.evm.chain import BOB_CHAIN_ID
from simnet.bob_client import NodeError, RunningBob, authorization
from simnet.token_chain import TOKEN, balance_slot, deploy_token, holder

_PLAIN = "0x" + "07" * 20
_CODE_AT = "0x" + "c0" * 20
# SLOAD(0), SLOAD(1), return both.
_READS_TWO_SLOTS = "0x5f545f526001546020526040" + "5ff3"
# Adds one to slot 0.
_COUNTS = "0x5f54600101" + "5f5500"


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _word(value: int) -> str:
    return _hex(value.to_bytes(32, "big"))


async def _estimate(bob: RunningBob, message: dict[str, Any], *more: Any) -> int:
    return int(await bob.client.call("eth_estimateGas", message, *more), 16)


async def test_an_access_list_costs_gas_and_is_estimated(bob: RunningBob) -> None:
    message = {"from": _hex(bob.taker.address), "to": _PLAIN, "value": "0x1"}
    access_list = [{"address": _PLAIN, "storageKeys": [_word(1)]}]
    # EIP-2930: 2,400 for the address and 1,900 for the slot.
    exact = 21_000 + 2_400 + 1_900
    assert exact <= await _estimate(bob, message | {"accessList": access_list}) <= exact * 1.015
    assert await _estimate(bob, message | {"accessList": []}) == 21_000
    with pytest.raises(NodeError, match=f"intrinsic gas too low: have 21000, want {exact}"):
        await bob.client.call("eth_call", message | {"accessList": access_list, "gas": "0x5208"}, "latest")


async def test_a_slot_of_the_access_list_is_warm(bob: RunningBob) -> None:
    # Returns GAS before SLOAD(0) minus GAS after it.
    overrides = {_CODE_AT: {"code": "0x5a5f545f525a90035f5260205ff3"}}
    cold = int(await bob.client.call("eth_call", {"to": _CODE_AT}, "latest", overrides), 16)
    access_list = [{"address": _CODE_AT, "storageKeys": [_word(0)]}]
    warm = int(await bob.client.call("eth_call", {"to": _CODE_AT, "accessList": access_list}, "latest", overrides), 16)
    assert cold - warm == 2_100 - 100


async def test_an_authorization_delegates_an_account_to_code(bob: RunningBob) -> None:
    deploy_token(bob, 1)
    account = LocalAccount.from_seed(b"tests", "delegating")
    message: dict[str, Any] = {
        "from": _hex(bob.taker.address),
        "to": _hex(account.address),
        "data": _hex(decimals_call()),
    }
    assert await bob.client.call("eth_call", message, "latest") == "0x"
    token = bytes.fromhex(TOKEN[2:])
    delegating = message | {"authorizationList": [authorization(account, token, 0)]}
    assert await bob.client.call("eth_call", delegating, "latest") == _word(8)
    assert await _estimate(bob, delegating) > 21_000 + 25_000
    # An authorization that is not valid has no effect.
    used = message | {"authorizationList": [authorization(account, token, 1)]}
    assert await bob.client.call("eth_call", used, "latest") == "0x"
    for wrong, reason in (
        (delegating | {"authorizationList": []}, "EIP-7702 transaction with empty auth list"),
        (delegating | {"to": None}, "EIP-7702 transaction cannot be used to create contract"),
    ):
        with pytest.raises(NodeError, match=reason):
            await bob.client.call("eth_call", wrong, "latest")


async def test_another_chain_id_is_refused_and_any_nonce_is_accepted(bob: RunningBob) -> None:
    message = {"from": _hex(bob.taker.address), "to": _PLAIN, "value": "0x1"}
    own = message | {"chainId": hex(BOB_CHAIN_ID), "nonce": "0x63"}
    assert await _estimate(bob, own) == 21_000
    assert await bob.client.call("eth_call", own, "latest") == "0x"
    # Null is the latest block.
    assert await bob.client.call("eth_call", own, None) == "0x"
    for method in ("eth_call", "eth_estimateGas"):
        with pytest.raises(NodeError, match=r"^chainId does not match node's \(have=1, want=60808\)$"):
            await bob.client.call(method, message | {"chainId": "0x1"}, "latest")
        with pytest.raises(NodeError, match="invalid argument 0: "):
            await bob.client.call(method, message | {"nonce": "nine"}, "latest")


async def test_a_gas_price_is_given_once_and_limits_the_estimate_to_what_the_sender_has(bob: RunningBob) -> None:
    message = {"from": _hex(bob.taker.address), "to": _PLAIN, "value": "0x1"}
    with pytest.raises(NodeError, match=r"^both gasPrice and \(maxFeePerGas or maxPriorityFeePerGas\) specified$"):
        await _estimate(bob, message | {"gasPrice": "0x1", "maxFeePerGas": "0x1"})
    # 10 ETH buy 50,000,000 gas at 200 gwei, and less of it at 1,000 gwei.
    assert await _estimate(bob, message | {"maxFeePerGas": hex(10**12)}) == 21_000
    with pytest.raises(NodeError, match=r"^gas required exceeds allowance \(9999\)$"):
        await _estimate(bob, message | {"maxFeePerGas": hex(10**15)})
    with pytest.raises(NodeError, match=r"^insufficient funds for transfer$"):
        await _estimate(bob, message | {"maxFeePerGas": "0x1", "value": hex(10**19)})
    for price, reason in (
        ({"maxFeePerGas": "0x1"}, "max fee per gas less than block base fee: address .*, maxFeePerGas: 1, baseFee: "),
        ({"maxPriorityFeePerGas": "0x1"}, "max priority fee per gas higher than max fee per gas: address "),
    ):
        with pytest.raises(NodeError, match=reason):
            await bob.client.call("eth_call", message | price, "latest")


async def test_the_price_that_a_call_sees_is_the_base_fee_and_the_tip(bob: RunningBob) -> None:
    # GASPRICE, and BASEFEE.
    overrides = {_CODE_AT: {"code": "0x3a5f524860205260405ff3"}}
    message = {"from": _hex(bob.taker.address), "to": _CODE_AT}
    base_fee = int((await bob.client.call("eth_getBlockByNumber", "latest", False))["baseFeePerGas"], 16)
    for prices, seen in (
        ({}, (0, 0)),
        ({"maxFeePerGas": hex(10**9), "maxPriorityFeePerGas": "0x7"}, (base_fee + 7, base_fee)),
        ({"gasPrice": hex(10**9)}, (10**9, base_fee)),
    ):
        answer = await bob.client.call("eth_call", message | prices, "latest", overrides)
        assert answer == _word(seen[0]) + _word(seen[1])[2:]


async def test_data_is_estimated_at_its_floor(bob: RunningBob) -> None:
    data = b"\1" * 1000
    # EIP-7623: 10 for each of four tokens of a byte that is not zero.
    floor = 21_000 + 40 * 1000
    estimate = await _estimate(bob, {"from": _hex(bob.taker.address), "to": _PLAIN, "data": _hex(data)})
    assert floor <= estimate <= floor * 1.015


async def test_overrides_replace_balance_code_nonce_and_storage(bob: RunningBob) -> None:
    poor = {"from": _hex(bob.stranger.address), "to": _PLAIN, "value": hex(10**18)}
    rich = {_hex(bob.stranger.address): {"balance": hex(10**18)}}
    with pytest.raises(NodeError, match="insufficient funds"):
        await bob.client.call("eth_call", poor, "latest")
    assert await bob.client.call("eth_call", poor, "latest", rich) == "0x"
    assert await _estimate(bob, poor, "latest", rich) == 21_000
    reading = {"to": _CODE_AT}
    account: dict[str, Any] = {"code": _READS_TWO_SLOTS, "nonce": "0x5"}
    for change, values in (
        ({}, (0, 0)),
        ({"state": {_word(0): _word(7)}}, (7, 0)),
        ({"stateDiff": {_word(1): _word(9)}}, (0, 9)),
    ):
        answer = await bob.client.call("eth_call", reading, "latest", {_CODE_AT: account | change})
        assert answer == _word(values[0]) + _word(values[1])[2:]
    # The chain is as it was.
    assert await bob.client.call("eth_getCode", _CODE_AT, "latest") == "0x"
    assert await bob.client.call("eth_getBalance", _hex(bob.stranger.address), "latest") == "0x0"


async def test_state_replaces_the_whole_storage_and_state_diff_a_part(bob: RunningBob) -> None:
    deploy_token(bob, 2)
    balance = {"to": TOKEN, "data": _hex(balance_of_call(holder(2)))}
    slots = {balance_slot(holder(1)): _word(5)}
    for change, expected in (({"stateDiff": slots}, 2000), ({"state": slots}, 0)):
        assert await bob.client.call("eth_call", balance, "latest", {TOKEN: change}) == _word(expected)
    given = {TOKEN: {"stateDiff": {balance_slot(bob.stranger.address): _word(3)}}}
    transfer = {"from": _hex(bob.stranger.address), "to": TOKEN, "data": _hex(transfer_call(holder(1), 3))}
    assert await bob.client.call("eth_call", transfer, "latest", given) == _word(1)
    with pytest.raises(NodeError, match="execution reverted"):
        await bob.client.call("eth_call", transfer, "latest")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {_CODE_AT: {"state": {}, "stateDiff": {}}},
            f"account {to_checksum(bytes.fromhex(_CODE_AT[2:]))} has both 'state' and 'stateDiff'",
        ),
        ({_CODE_AT: {"state": {"0x01": _word(1)}}}, "invalid argument 2: hex string has length"),
        ({_CODE_AT: {"movePrecompileToAddress": _PLAIN}}, "invalid argument 2: a precompiled contract"),
        ({"0x" + "00" * 19 + "02": {"balance": "0x1"}}, "invalid argument 2: a precompiled contract"),
        ({"0x12": {}}, "invalid argument 2: hex string has length"),
        ([], "invalid argument 2: expected an object"),
    ],
    ids=["both", "short slot", "moved precompile", "precompile", "short address", "no object"],
)
async def test_malformed_overrides_are_refused(bob: RunningBob, overrides: Any, message: str) -> None:
    for method in ("eth_call", "eth_estimateGas"):
        with pytest.raises(NodeError) as caught:
            await bob.client.call(method, {"to": _PLAIN}, "latest", overrides)
        assert str(caught.value).startswith(message)


async def test_block_overrides_are_refused_and_not_ignored(bob: RunningBob) -> None:
    with pytest.raises(NodeError, match="no block overrides"):
        await bob.client.call("eth_call", {"to": _PLAIN}, "latest", {}, {"time": "0x1"})


async def test_each_simulated_call_begins_with_cold_slots_and_sees_the_values_of_those_before(bob: RunningBob) -> None:
    calls = [{"to": _CODE_AT, "gas": "0x186a0"}] * 3
    block = {"stateOverrides": {_CODE_AT: {"code": _COUNTS, "stateDiff": {_word(0): _word(7)}}}, "calls": calls}
    reading = {"stateOverrides": {_CODE_AT: {"code": _READS_TWO_SLOTS}}, "calls": [{"to": _CODE_AT}]}
    first, second = await bob.client.call("eth_simulateV1", {"blockStateCalls": [block, reading]}, "latest")
    # SLOAD of a cold slot 2,100, and SSTORE to a warm one with a value other than zero 2,900.
    assert len({call["gasUsed"] for call in first["calls"]}) == 1
    assert int(first["calls"][0]["gasUsed"], 16) > 21_000 + 2_100 + 2_900
    assert second["calls"][0]["returnData"] == _word(10) + _word(0)[2:]


async def test_a_storage_key_may_be_padded_or_short(bob: RunningBob) -> None:
    deploy_token(bob, 1)
    supply = _word(1000)
    for key in ("0x1", "0x01", _word(1), "1", "0X1"):
        assert await bob.client.call("eth_getStorageAt", TOKEN, key, "latest") == supply
    for key, reason in (("0x" + "1" * 65, "storage key too long"), ("0xzz", "invalid hex in storage key")):
        with pytest.raises(NodeError, match=reason):
            await bob.client.call("eth_getStorageAt", TOKEN, key, "latest")
