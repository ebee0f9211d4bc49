"""The simnet's state roots are real, and ``eth_getProof`` proves accounts and storage slots against them."""

from __future__ import annotations

from typing import Any

import pytest
import rlp  # type: ignore[import-untyped]  # a test oracle without types
from trie.hexary import HexaryTrie

from layer2.formats.keccak import keccak256
from layer2.formats.merkle_patricia import EMPTY_ROOT
from simnet.bob_client import NodeError, RunningBob, signed
from simnet.token_chain import TOKEN, balance_slot, deploy_token, holder, mint

_NO_HASH = "0x" + "00" * 32
_ROOT_OF_SPECIFICATION = "0x6fb2fda8e30ee72b03ba528282772a4fab16143d625597f3bf942f700433086a"
"""What the package ethereum-execution 2.20.0 (forks.prague) computes for ``deploy_token`` with 5 holders."""


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _proved(root: str, key: bytes, nodes: list[str]) -> bytes:
    """The value that the nodes prove for a key under a root; empty if they prove that there is none."""
    encoded = [_bytes(node) for node in nodes]
    assert all(len(node) >= 32 for node in encoded[1:])
    decoded = [rlp.decode(node) for node in encoded]
    value: bytes = HexaryTrie.get_from_proof(_bytes(root), keccak256(key), decoded)  # type: ignore[no-untyped-call]  # the package carries no types
    return value


def _check_account(answer: dict[str, Any], state_root: str) -> None:
    """Verify an answer of ``eth_getProof`` for an account that exists, against a block's state root."""
    account = rlp.decode(_proved(state_root, _bytes(answer["address"]), answer["accountProof"]))
    assert [int.from_bytes(item, "big") for item in account[:2]] == [
        int(answer["nonce"], 16),
        int(answer["balance"], 16),
    ]
    assert account[2:] == [_bytes(answer["storageHash"]), _bytes(answer["codeHash"])]
    for entry in answer["storageProof"]:
        _check_slot(answer["storageHash"], entry)


def _check_slot(storage_root: str, entry: dict[str, Any]) -> None:
    if not entry["proof"]:
        assert (_bytes(storage_root), entry["value"]) == (EMPTY_ROOT, "0x0")
        return
    value = _proved(storage_root, int(entry["key"], 16).to_bytes(32, "big"), entry["proof"])
    assert (int.from_bytes(rlp.decode(value), "big") if value else 0) == int(entry["value"], 16)


async def _state_root(bob: RunningBob, block: str) -> str:
    return str((await bob.client.call("eth_getBlockByNumber", block, False))["stateRoot"])


async def test_the_state_root_is_the_one_that_the_specification_computes(bob: RunningBob) -> None:
    deploy_token(bob, 5)
    assert await _state_root(bob, "latest") == _ROOT_OF_SPECIFICATION


async def test_balances_of_a_token_are_proved_against_the_state_root(bob: RunningBob) -> None:
    deploy_token(bob, 40)
    keys = [balance_slot(holder(number)) for number in range(1, 41)]
    answer = await bob.client.call("eth_getProof", TOKEN, keys, "latest")
    assert [entry["value"] for entry in answer["storageProof"]] == [hex(1000 * number) for number in range(1, 41)]
    assert [entry["key"] for entry in answer["storageProof"]] == keys
    assert min(len(entry["proof"]) for entry in answer["storageProof"]) > 1
    assert _bytes(answer["codeHash"]) == keccak256(_bytes(await bob.client.call("eth_getCode", TOKEN, "latest")))
    _check_account(answer, await _state_root(bob, "latest"))


async def test_an_account_without_code_has_an_empty_storage(bob: RunningBob) -> None:
    await bob.client.send(signed(bob.taker, 0))
    bob.node.mine()
    answer = await bob.client.call("eth_getProof", "0x" + bob.taker.address.hex(), ["0x1"], "latest")
    assert answer["nonce"] == "0x1"
    assert _bytes(answer["storageHash"]) == EMPTY_ROOT
    assert answer["storageProof"] == [{"key": "0x1", "value": "0x0", "proof": []}]
    _check_account(answer, await _state_root(bob, "latest"))


async def test_the_absence_of_an_account_and_of_a_value_is_proved(bob: RunningBob) -> None:
    deploy_token(bob, 40)
    root = await _state_root(bob, "latest")
    absent = await bob.client.call("eth_getProof", "0x" + "77" * 20, ["0x0"], "latest")
    assert (absent["balance"], absent["codeHash"], absent["storageHash"]) == ("0x0", _NO_HASH, _NO_HASH)
    assert _proved(root, b"\x77" * 20, absent["accountProof"]) == b""
    answer = await bob.client.call("eth_getProof", TOKEN, [balance_slot(b"\x77" * 20), "0x5"], "latest")
    assert [entry["value"] for entry in answer["storageProof"]] == ["0x0", "0x0"]
    assert all(entry["proof"] for entry in answer["storageProof"])
    _check_account(answer, root)


async def test_a_proof_for_an_earlier_block_has_the_values_of_that_block(bob: RunningBob) -> None:
    deploy_token(bob, 3)
    for nonce in range(4, 8):
        mint(bob, nonce, holder(2), 7)
        bob.node.mine()
    for number in range(1, 6):
        block = hex(number)
        answer = await bob.client.call("eth_getProof", TOKEN, [balance_slot(holder(2))], block)
        assert int(answer["storageProof"][0]["value"], 16) == 2000 + 7 * (number - 1)
        _check_account(answer, await _state_root(bob, block))
    before = await bob.client.call("eth_getProof", TOKEN, [], "earliest")
    assert _proved(await _state_root(bob, "earliest"), _bytes(TOKEN), before["accountProof"]) == b""


async def test_a_replaced_block_is_still_proved_by_its_hash(bob: RunningBob) -> None:
    deploy_token(bob, 3)
    mint(bob, 4, holder(2), 7)
    bob.node.mine()
    replaced = await bob.client.call("eth_getBlockByNumber", "latest", False)
    bob.node.reorganise(1, keep_transactions=False)
    key = balance_slot(holder(2))
    answer = await bob.client.call("eth_getProof", TOKEN, [key], {"blockHash": replaced["hash"]})
    assert answer["storageProof"][0]["value"] == hex(2007)
    _check_account(answer, replaced["stateRoot"])
    now = await bob.client.call("eth_getProof", TOKEN, [key], "latest")
    assert now["storageProof"][0]["value"] == hex(2000)
    _check_account(now, await _state_root(bob, "latest"))


async def test_a_changed_node_proves_nothing(bob: RunningBob) -> None:
    deploy_token(bob, 40)
    answer = await bob.client.call("eth_getProof", TOKEN, [balance_slot(holder(9))], "latest")
    proof = answer["storageProof"][0]["proof"]
    damaged = bytearray(_bytes(proof[-1]))
    damaged[-1] ^= 1
    proof[-1] = "0x" + damaged.hex()
    with pytest.raises(Exception, match="Missing proof node"):
        _check_account(answer, await _state_root(bob, "latest"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([TOKEN, ["0x" + "1" * 65], "latest"], -32602, 'storage key too long (want at most 32 bytes): "0x1111'),
        ([TOKEN, ["0xzz"], "latest"], -32602, 'invalid hex in storage key: "0xzz"'),
        ([TOKEN, "0x1", "latest"], -32602, "invalid argument 1"),
        ([TOKEN, ["0x1"] * 1025, "latest"], -32602, "too many storage keys requested (max 1024, got 1025)"),
        ([TOKEN, [], "0x99"], -32000, "header not found"),
    ],
    ids=["long key", "no hex", "no list", "many keys", "no block"],
)
async def test_a_proof_that_cannot_be_made_is_refused(
    bob: RunningBob, arguments: list[Any], code: int, message: str
) -> None:
    with pytest.raises(NodeError) as caught:
        await bob.client.call("eth_getProof", *arguments)
    assert (caught.value.code, str(caught.value)[: len(message)]) == (code, message)
