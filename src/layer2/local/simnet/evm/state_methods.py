"""JSON-RPC methods that read a state or execute messages on it.

``eth_simulateV1`` is a subset of the method: state overrides, and of the block overrides only ``time``; no validation
and no traced transfers. Options that the simnet does not have are refused. Source: the execution API specification;
op-geth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eth.abc import StateAPI

from layer2.formats.evm_hex import format_data, format_quantity
from layer2.formats.evm_revert import decode_revert
from layer2.local.simnet.evm.arguments import (
    INVALID_PARAMS,
    Fields,
    RpcError,
    call_request,
    expect_address,
    expect_list,
    state_overrides,
    storage_key,
)
from layer2.local.simnet.evm.blocks import NamedBlocks
from layer2.local.simnet.evm.calls import CallFailed, CallRefused, CallRequest, Overrides
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.proofs import proof_answer
from layer2.local.simnet.evm.simulations import SimulatedCall, Simulation

__all__ = ["StateMethods"]

_MOST_PROOF_KEYS = 1024
_VM_ERROR = -32015
_EXECUTION_REVERTED = 3
_SECONDS_BETWEEN_BLOCKS = 12


class StateMethods:
    """Answers from the states of one node's blocks."""

    def __init__(self, node: EvmNode, blocks: NamedBlocks) -> None:
        self._node = node
        self._blocks = blocks
        self.methods: Mapping[str, Callable[..., object]] = {
            "eth_getTransactionCount": self._get_transaction_count,
            "eth_getBalance": self._get_balance,
            "eth_getCode": self._get_code,
            "eth_getStorageAt": self._get_storage_at,
            "eth_getProof": self._get_proof,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate_gas,
            "eth_simulateV1": self._simulate,
        }

    def _get_transaction_count(self, address: object, name: object = "latest") -> str:
        account, state = expect_address(address, 0), self._state(name, 1)
        pending = name == "pending"
        return format_quantity(self._node.pool.next_nonce(account, state) if pending else state.get_nonce(account))

    def _get_balance(self, address: object, name: object = "latest") -> str:
        return format_quantity(self._state(name, 1).get_balance(expect_address(address, 0)))

    def _get_code(self, address: object, name: object = "latest") -> str:
        return format_data(self._state(name, 1).get_code(expect_address(address, 0)))

    def _get_storage_at(self, address: object, key: object, name: object = "latest") -> str:
        account, state = expect_address(address, 0), self._state(name, 2)
        slot, _ = storage_key(key)
        return format_data(state.get_storage(account, slot).to_bytes(32, "big"))

    def _get_proof(self, address: object, keys: object, name: object = "latest") -> dict[str, object]:
        account, items = expect_address(address, 0), expect_list(keys, 1)
        if len(items) > _MOST_PROOF_KEYS:
            message = f"too many storage keys requested (max {_MOST_PROOF_KEYS}, got {len(items)})"
            raise RpcError(INVALID_PARAMS, message)
        slots = [storage_key(item) for item in items]
        root = bytes(self._blocks.with_state(name, 2).header.state_root)
        return proof_answer(self._node.chain.database, root, account, slots)

    def _call(self, message: object, name: object = None, state: object = None, block: object = None) -> str:
        request, found, overrides = self._message(message, name, state, block)
        try:
            return format_data(self._node.calls.call(request, found, overrides))
        except CallRefused as error:
            raise RpcError(-32000, f"err: {error} (supplied gas {request.gas})") from error
        except CallFailed as error:
            raise _execution_error(error) from error

    def _estimate_gas(self, message: object, name: object = None, state: object = None, block: object = None) -> str:
        request, found, overrides = self._message(message, name, state, block)
        try:
            return format_quantity(self._node.calls.estimate_gas(request, found, overrides))
        except CallFailed as error:
            raise _execution_error(error) from error

    def _simulate(self, options: object, name: object = None) -> list[dict[str, object]]:
        block = self._blocks.with_state("latest" if name is None else name, 1)
        return _simulation_answer(self._node, block, options)

    def _message(
        self, message: object, name: object, state: object, block: object
    ) -> tuple[CallRequest, MinedBlock, Overrides]:
        request = call_request(message, self._node.chain.chain_id)
        found = self._blocks.with_state("latest" if name is None else name, 1)
        if block:
            raise RpcError(INVALID_PARAMS, "invalid argument 3: the simnet has no block overrides for this method")
        return request, found, state_overrides(state, 2)

    def _state(self, name: object, index: int) -> StateAPI:
        return self._node.chain.state_at(self._blocks.with_state(name, index))


def _simulation_answer(node: EvmNode, block: MinedBlock, argument: object) -> list[dict[str, object]]:
    """Execute the blocks in the argument of ``eth_simulateV1`` and return each block with the results of its calls.

    Raises:
        RpcError: the argument is wrong, or a call could not begin.
    """
    simulation, chain_id = Simulation(node.chain, node.calls, block), node.chain.chain_id
    number, time = block.number, block.timestamp
    answers: list[dict[str, object]] = []
    for fields in _wanted_blocks(argument):
        number += 1
        earliest = time + 1
        given = _given_time(fields)
        time = time + _SECONDS_BETWEEN_BLOCKS if given is None else given
        if time < earliest:
            raise RpcError(-38021, f"block timestamps must be in order: {time} <= {earliest - 1}")
        requests = [call_request(call, chain_id) for call in expect_list(fields.get("calls"), 0)]
        overrides = state_overrides(fields.get("stateOverrides"), 0)
        try:
            calls = simulation.execute(requests, number=number, timestamp=time, overrides=overrides)
        except CallRefused as error:
            raise RpcError(-32000, f"err: {error}") from error
        answers.append(
            {
                "number": format_quantity(number),
                "timestamp": format_quantity(time),
                "gasUsed": format_quantity(sum(call.gas_used for call in calls)),
                "calls": [_call_answer(call) for call in calls],
            }
        )
    return answers


def _execution_error(error: CallFailed) -> RpcError:
    """The error with which op-geth answers a call that failed."""
    if error.revert_data is None:
        return RpcError(-32000, str(error))
    message = str(error)
    if error.revert_data[:4] == b"\x08\xc3\x79\xa0":
        message = f"{message}: {decode_revert(error.revert_data)}"
    return RpcError(_EXECUTION_REVERTED, message, format_data(error.revert_data))


def _wanted_blocks(argument: object) -> list[Fields]:
    fields = Fields(argument, 0)
    for name in ("validation", "traceTransfers", "returnFullTransactions"):
        if fields.get(name):
            raise RpcError(INVALID_PARAMS, f"the simnet's eth_simulateV1 does not have {name}")
    if not (blocks := fields.objects("blockStateCalls")):
        raise RpcError(INVALID_PARAMS, "empty input")
    return blocks


def _given_time(block: Fields) -> int | None:
    overrides = Fields(block.get("blockOverrides") or {}, 0)
    if overrides.values.keys() - {"time"}:
        raise RpcError(INVALID_PARAMS, "the simnet's eth_simulateV1 overrides only the time of a block")
    return overrides.number("time")


def _call_answer(call: SimulatedCall) -> dict[str, object]:
    answer: dict[str, object] = {
        "returnData": format_data(call.output),
        "gasUsed": format_quantity(call.gas_used),
        "status": format_quantity(0 if call.error else 1),
        "logs": [
            {
                "address": format_data(address),
                "topics": [format_data(topic.to_bytes(32, "big")) for topic in topics],
                "data": format_data(payload),
            }
            for address, topics, payload in call.logs
        ],
    }
    if call.error is not None:
        error = _execution_error(call.error)
        answer["error"] = {
            "code": error.code if error.data else _VM_ERROR,
            "message": str(error),
            **({} if error.data is None else {"data": error.data}),
        }
    return answer
