"""``eth_simulateV1``: execute calls one after another on top of a block; each sees the effects of those before it.

A subset of the method: state overrides, and of the block overrides only ``time``; no validation and no traced
transfers. Options that the simnet does not have are refused. Source: the execution API specification; op-geth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from layer2.formats.evm_revert import decode_revert
from layer2.local.simnet.evm.answers import data, quantity
from layer2.local.simnet.evm.arguments import RpcError, call_request, expect_number, state_overrides
from layer2.local.simnet.evm.calls import CallFailed, CallRefused, CallRequest, EvmCalls, Overrides, SimulatedCall
from layer2.local.simnet.evm.chain import MinedBlock

__all__ = ["execution_error", "simulation_answer"]

_INVALID_PARAMS = -32602
_VM_ERROR = -32015
_EXECUTION_REVERTED = 3
_SECONDS_BETWEEN_BLOCKS = 12


@dataclass(frozen=True, slots=True)
class _WantedBlock:
    time: int | None
    calls: tuple[CallRequest, ...]
    overrides: Overrides


def simulation_answer(evm: EvmCalls, chain_id: int, block: MinedBlock, argument: Any) -> list[Any]:
    """Execute the blocks in the argument of ``eth_simulateV1`` and return each block with the results of its calls.

    Raises:
        RpcError: the argument is wrong, or a call could not begin.
    """
    number, time, root = block.number, block.timestamp, bytes(block.header.state_root)
    answers = []
    for wanted in _wanted_blocks(argument, chain_id):
        number += 1
        earliest = time + 1
        time = time + _SECONDS_BETWEEN_BLOCKS if wanted.time is None else wanted.time
        if time < earliest:
            raise RpcError(-38021, f"block timestamps must be in order: {time} <= {earliest - 1}")
        try:
            calls, root = evm.simulate(
                wanted.calls, block, root, number=number, timestamp=time, overrides=wanted.overrides
            )
        except CallRefused as error:
            raise RpcError(-32000, f"err: {error}") from error
        answers.append(
            {
                "number": quantity(number),
                "timestamp": quantity(time),
                "gasUsed": quantity(sum(call.gas_used for call in calls)),
                "calls": [_call_answer(call) for call in calls],
            }
        )
    return answers


def execution_error(error: CallFailed) -> RpcError:
    """The error with which op-geth answers a call that failed."""
    if error.revert_data is None:
        return RpcError(-32000, str(error))
    message = str(error)
    if error.revert_data[:4] == b"\x08\xc3\x79\xa0":
        message = f"{message}: {decode_revert(error.revert_data)}"
    return RpcError(_EXECUTION_REVERTED, message, data(error.revert_data))


def _wanted_blocks(argument: Any, chain_id: int) -> list[_WantedBlock]:
    if not isinstance(argument, dict) or not isinstance(argument.get("blockStateCalls"), list):
        raise RpcError(_INVALID_PARAMS, "invalid argument 0: expected blockStateCalls")
    for name in ("validation", "traceTransfers", "returnFullTransactions"):
        if argument.get(name):
            raise RpcError(_INVALID_PARAMS, f"the simnet's eth_simulateV1 does not have {name}")
    if not argument["blockStateCalls"]:
        raise RpcError(_INVALID_PARAMS, "empty input")
    return [_wanted_block(item, chain_id) for item in argument["blockStateCalls"]]


def _wanted_block(item: Any, chain_id: int) -> _WantedBlock:
    overrides = item.get("blockOverrides") or {}
    if set(overrides) - {"time"}:
        raise RpcError(_INVALID_PARAMS, "the simnet's eth_simulateV1 overrides only the time of a block")
    time = None if "time" not in overrides else expect_number(overrides["time"], 0)
    calls = tuple([call_request(call, chain_id) for call in item.get("calls") or []])
    return _WantedBlock(time, calls, state_overrides(item.get("stateOverrides"), 0))


def _call_answer(call: SimulatedCall) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "returnData": data(call.output),
        "gasUsed": quantity(call.gas_used),
        "status": quantity(0 if call.error else 1),
        "logs": [
            {
                "address": data(address),
                "topics": [data(topic.to_bytes(32, "big")) for topic in topics],
                "data": data(payload),
            }
            for address, topics, payload in call.logs
        ],
    }
    if call.error is not None:
        error = execution_error(call.error)
        answer["error"] = {"code": error.code if error.data else _VM_ERROR, "message": str(error)}
        if error.data is not None:
            answer["error"]["data"] = error.data
    return answer
