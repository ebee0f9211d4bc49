"""Arguments of any JSON type are answered: with a result, or with an error that has op-geth's code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from layer2.local.accounts import LocalAccount
from layer2.local.simnet.evm.arguments import RpcError
from layer2.local.simnet.evm.methods import EvmMethods
from simnet.bob_client import NodeError, RunningBob, authorization, signed
from simnet.token_chain import TOKEN, deploy_token

_ACCOUNT = "0x" + "07" * 20
_WORD = "0x" + "00" * 32
_ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 2**64 - 1, hex(2**64 - 1), hex(2**64), hex(2**256 - 1), hex(2**256)),
    *("", "0x", "0X1", "0x1", "0x01", "0xzz", "zz", "latest", "pending", _ACCOUNT, _WORD, "\N{ARABIC-INDIC DIGIT ONE}"),
    *([], [None], [[]], [{}], [5], ["0x1"], {}, {"": {}}, {_ACCOUNT: 5}, {_ACCOUNT: {}}, {_WORD: 5}),
    *({"blockHash": None}, {"blockNumber": {}}, {"blockHash": _WORD, "requireCanonical": 5}),
)
_DELEGATION = {"chainId": "0x0", "address": _ACCOUNT, "nonce": "0x0", "yParity": "0x0", "r": "0x1", "s": "0x1"}
_MESSAGE = {
    "from": _ACCOUNT,
    "to": _ACCOUNT,
    "value": "0x0",
    "gas": "0xffff",
    "maxFeePerGas": "0x0",
    "maxPriorityFeePerGas": "0x0",
    "nonce": "0x0",
    "chainId": hex(60808),
    "input": "0x",
    "data": "0x",
    "accessList": [{"address": _ACCOUNT, "storageKeys": [_WORD]}],
    "blobs": [],
}
_PRICED = {"to": _ACCOUNT, "gasPrice": "0x0", "authorizationList": [_DELEGATION]}
_OVERRIDES = {
    _ACCOUNT: {"balance": "0x1", "nonce": "0x1", "code": "0x", "state": {_WORD: _WORD}},
    TOKEN: {"stateDiff": {_WORD: _WORD}},
}
_CRITERIA = {"fromBlock": "0x0", "toBlock": "latest", "address": [TOKEN], "topics": [_WORD, [_WORD]]}
_SIMULATED = {
    "calls": [{"to": _ACCOUNT}],
    "stateOverrides": {_ACCOUNT: {}},
    "blockOverrides": {"time": hex(1_900_000_000)},
}
_CALLS: tuple[tuple[str, list[Any]], ...] = (
    ("web3_sha3", ["0x"]),
    ("eth_getBlockByNumber", ["0x0", True]),
    ("eth_getBlockByHash", [_WORD, True]),
    ("eth_getTransactionByBlockNumberAndIndex", ["0x0", "0x0"]),
    ("eth_getTransactionReceipt", [_WORD]),
    ("eth_getBlockReceipts", ["0x0"]),
    ("debug_getRawHeader", ["0x0"]),
    ("eth_sendRawTransaction", ["0x" + signed(LocalAccount.from_seed(b"tests", "taker"), 2).hex()]),
    ("eth_feeHistory", ["0x1", "latest", [1, 50.5]]),
    ("eth_getTransactionCount", [_ACCOUNT, "pending"]),
    ("eth_getBalance", [_ACCOUNT, {"blockNumber": "0x0"}]),
    ("eth_getStorageAt", [TOKEN, "0x1", "latest"]),
    ("eth_getProof", [TOKEN, ["0x1"], "latest"]),
    ("eth_call", [_MESSAGE, "latest", _OVERRIDES, {}]),
    ("eth_estimateGas", [_MESSAGE, "latest", _OVERRIDES, {}]),
    ("eth_simulateV1", [{"blockStateCalls": [_SIMULATED], "validation": False}, "latest"]),
    ("eth_getLogs", [_CRITERIA]),
    ("eth_newFilter", [_CRITERIA]),
    ("eth_getFilterChanges", ["0x1"]),
    ("eth_getFilterLogs", ["0x1"]),
    ("eth_uninstallFilter", ["0x1"]),
    ("eth_call", [_PRICED]),
    ("eth_estimateGas", [_PRICED]),
)


def _changed(value: Any) -> Iterator[Any]:
    """The value with itself, or one part of it at any depth, replaced by each odd value, or left out."""
    yield from _ODD
    match value:
        case dict():
            for name, part in value.items():
                rest = {key: other for key, other in value.items() if key != name}
                yield rest
                yield from (rest | {name: odd} for odd in _changed(part))
        case list():
            for place, part in enumerate(value):
                yield from ([*value[:place], odd, *value[place + 1 :]] for odd in _changed(part))


@pytest.mark.filterwarnings("ignore:SELFDESTRUCT opcode")
@pytest.mark.parametrize(
    ("method", "arguments"), _CALLS, ids=[f"{place} {name}" for place, (name, _) in enumerate(_CALLS)]
)
async def test_an_argument_of_another_form_is_refused_and_nothing_breaks(
    bob: RunningBob, method: str, arguments: list[Any]
) -> None:
    deploy_token(bob, 1)
    methods = EvmMethods(bob.node, lambda: None)
    methods.answer("eth_newFilter", [{}])
    methods.answer(method, arguments)
    refused = 0
    for changed in _changed(arguments):
        if isinstance(changed, list) and len(changed) <= len(arguments):
            try:
                methods.answer(method, changed)
            except RpcError:
                refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": hex(2**256)}, "hex number > 256 bits"),
        ({"nonce": hex(2**64)}, "hex number > 64 bits"),
        ({"from": ""}, "json: cannot unmarshal hex string without 0x prefix into Go value of type common.Address"),
        ({"accessList": {}}, "expected a list"),
        ({"accessList": [_ACCOUNT]}, "expected an object"),
        ({"accessList": [{"address": _ACCOUNT, "storageKeys": ["0x1"]}]}, "json: cannot unmarshal hex string of odd"),
        ({"authorizationList": [{"address": _ACCOUNT}]}, "hex string without 0x prefix"),
        ({"authorizationList": "0x"}, "expected a list"),
    ],
)
async def test_a_message_with_a_field_of_another_form_is_refused(
    bob: RunningBob, change: dict[str, Any], message: str
) -> None:
    for method, arguments in (
        ("eth_call", [{"to": _ACCOUNT} | change]),
        ("eth_estimateGas", [{"to": _ACCOUNT} | change]),
        ("eth_simulateV1", [{"blockStateCalls": [{"calls": [{"to": _ACCOUNT} | change]}]}]),
    ):
        with pytest.raises(NodeError) as caught:
            await bob.client.call(method, *arguments, "latest")
        assert caught.value.code == -32602
        assert str(caught.value).startswith(f"invalid argument 0: {message}")


# Source: go-ethereum, rpc/types.go.
@pytest.mark.parametrize(
    ("method", "before", "message"),
    [
        ("eth_getBlockByNumber", [], "invalid argument 0: block number larger than int64"),
        ("eth_getBalance", [_ACCOUNT], "invalid argument 1: blocknumber too high"),
    ],
)
async def test_a_height_that_does_not_fit_63_bits_is_refused(
    bob: RunningBob, method: str, before: list[str], message: str
) -> None:
    after = [] if before else [False]
    with pytest.raises(NodeError, match=message):
        await bob.client.call(method, *before, hex(1 << 63), *after)


async def test_fields_that_are_null_count_as_missing(bob: RunningBob) -> None:
    nulls = dict.fromkeys(_MESSAGE)
    assert await bob.client.call("eth_call", nulls | {"to": _ACCOUNT}, None, None, None) == "0x"
    assert await bob.client.call("eth_estimateGas", nulls | {"to": _ACCOUNT}) == hex(21_000)
    delegation = authorization(bob.taker, bytes.fromhex(_ACCOUNT[2:]), 0)
    with pytest.raises(NodeError, match="invalid argument 0: hex string without 0x prefix"):
        await bob.client.call("eth_call", {"to": _ACCOUNT, "authorizationList": [delegation | {"r": None}]})
