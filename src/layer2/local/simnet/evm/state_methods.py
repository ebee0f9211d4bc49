"""JSON-RPC methods that read a state or execute a message on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eth_typing import Address

from layer2.local.simnet.evm.answers import data, quantity
from layer2.local.simnet.evm.arguments import (
    RpcError,
    call_request,
    expect_bytes,
    state_overrides,
    storage_key,
)
from layer2.local.simnet.evm.blocks import NamedBlocks
from layer2.local.simnet.evm.calls import CallFailed, CallRefused, Overrides
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.proofs import prove_account
from layer2.local.simnet.evm.simulation import execution_error, simulation_answer

__all__ = ["StateMethods"]

_MOST_PROOF_KEYS = 1024


class StateMethods:
    """Answers from the states of one node's blocks."""

    def __init__(self, node: EvmNode, blocks: NamedBlocks) -> None:
        self._node = node
        self._blocks = blocks
        self.methods: Mapping[str, Callable[..., Any]] = {
            "eth_getTransactionCount": self._get_transaction_count,
            "eth_getBalance": self._get_balance,
            "eth_getCode": self._get_code,
            "eth_getStorageAt": self._get_storage_at,
            "eth_getProof": self._get_proof,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate_gas,
            "eth_simulateV1": self._simulate,
        }

    def _get_transaction_count(self, address: Any, name: Any = "latest") -> str:
        account = expect_bytes(address, 0, 20)
        state = self._node.chain.state_at(self._blocks.with_state(name, 1))
        if name == "pending":
            return quantity(self._node.pool.next_nonce(account, state))
        return quantity(state.get_nonce(Address(account)))

    def _get_balance(self, address: Any, name: Any = "latest") -> str:
        account = Address(expect_bytes(address, 0, 20))
        return quantity(self._node.chain.state_at(self._blocks.with_state(name, 1)).get_balance(account))

    def _get_code(self, address: Any, name: Any = "latest") -> str:
        account = Address(expect_bytes(address, 0, 20))
        return data(self._node.chain.state_at(self._blocks.with_state(name, 1)).get_code(account))

    def _get_storage_at(self, address: Any, key: Any, name: Any = "latest") -> str:
        account = Address(expect_bytes(address, 0, 20))
        state = self._node.chain.state_at(self._blocks.with_state(name, 2))
        slot, _ = storage_key(key)
        return data(state.get_storage(account, slot).to_bytes(32, "big"))

    def _get_proof(self, address: Any, keys: Any, name: Any = "latest") -> dict[str, Any]:
        account = expect_bytes(address, 0, 20)
        if not isinstance(keys, list):
            raise RpcError(-32602, "invalid argument 1: expected a list of storage keys")
        if len(keys) > _MOST_PROOF_KEYS:
            raise RpcError(-32602, f"too many storage keys requested (max {_MOST_PROOF_KEYS}, got {len(keys)})")
        slots = [storage_key(key) for key in keys]
        block = self._blocks.with_state(name, 2)
        root = bytes(block.header.state_root)
        proof = prove_account(self._node.chain.database, root, account, [slot for slot, _ in slots])
        return {
            "address": data(account),
            "accountProof": [data(node) for node in proof.nodes],
            "balance": quantity(proof.balance),
            "codeHash": data(proof.code_hash),
            "nonce": quantity(proof.nonce),
            "storageHash": data(proof.storage_root),
            "storageProof": [
                {
                    # Like op-geth: a key of 32 bytes is repeated as given, a shorter one as a number.
                    "key": data(one.slot.to_bytes(32, "big")) if size == 32 else quantity(one.slot),
                    "value": quantity(one.value),
                    "proof": [data(node) for node in one.nodes],
                }
                for one, (_, size) in zip(proof.slots, slots, strict=True)
            ],
        }

    def _call(self, message: Any, name: Any = None, state: Any = None, block: Any = None) -> str:
        request = call_request(message, self._node.chain.chain_id)
        found, overrides = self._optional_block(name), _overrides(state, block)
        try:
            return data(self._node.calls.call(request, found, overrides))
        except CallRefused as error:
            raise RpcError(-32000, f"err: {error} (supplied gas {request.gas})") from error
        except CallFailed as error:
            raise execution_error(error) from error

    def _estimate_gas(self, message: Any, name: Any = None, state: Any = None, block: Any = None) -> str:
        request = call_request(message, self._node.chain.chain_id)
        found, overrides = self._optional_block(name), _overrides(state, block)
        try:
            return quantity(self._node.calls.estimate_gas(request, found, overrides))
        except CallFailed as error:
            raise execution_error(error) from error

    def _simulate(self, options: Any, name: Any = None) -> list[Any]:
        return simulation_answer(self._node.calls, self._node.chain.chain_id, self._optional_block(name), options)

    def _optional_block(self, name: Any) -> MinedBlock:
        return self._node.chain.head if name is None else self._blocks.with_state(name, 1)


def _overrides(state: Any, block: Any) -> Overrides:
    if block:
        raise RpcError(-32602, "invalid argument 3: the simnet has no block overrides for this method")
    return state_overrides(state, 2)
