"""``eth_simulateV1``: calls executed one after another on top of a block, each seeing what those before it did.

A subset of the method: of each block's overrides only ``time``; no state overrides, no validation, no traced
transfers. What is absent is refused. Source: the execution API specification; op-geth's answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from layer2.formats.evm_revert import decode_revert
from layer2.local.simnet.evm.answers import data, quantity
from layer2.local.simnet.evm.arguments import RpcError, call_request, expect_number
from layer2.local.simnet.evm.chain import CallFailed, CallRefused, CallRequest, EvmChain, MinedBlock, SimulatedCall

__all__ = ["execution_error", "simulation_answer"]

_INVALID_PARAMS = -32602
_VM_ERROR = -32015
_EXECUTION_REVERTED = 3
_SECONDS_BETWEEN_BLOCKS = 12


@dataclass(frozen=True, slots=True)
class _WantedBlock:
    time: int | None
    calls: tuple[CallRequest, ...]


def simulation_answer(chain: EvmChain, block: MinedBlock, argument: Any) -> list[Any]:
    """Execute what the argument of ``eth_simulateV1`` asks for, and answer with each block's calls.

    Raises:
        RpcError: the argument is wrong, or a call could not begin.
    """
    number, time, root = block.number, block.timestamp, bytes(block.header.state_root)
    answers = []
    for wanted in _wanted_blocks(argument):
        number += 1
        earliest = time + 1
        time = time + _SECONDS_BETWEEN_BLOCKS if wanted.time is None else wanted.time
        if time < earliest:
            raise RpcError(-38021, f"block timestamps must be in order: {time} <= {earliest - 1}")
        try:
            calls, root = chain.simulate(wanted.calls, block, root, number=number, timestamp=time)
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


def _wanted_blocks(argument: Any) -> list[_WantedBlock]:
    if not isinstance(argument, dict) or not isinstance(argument.get("blockStateCalls"), list):
        raise RpcError(_INVALID_PARAMS, "invalid argument 0: expected blockStateCalls")
    for name in ("validation", "traceTransfers", "returnFullTransactions"):
        if argument.get(name):
            raise RpcError(_INVALID_PARAMS, f"the simnet's eth_simulateV1 has no {name}")
    if not argument["blockStateCalls"]:
        raise RpcError(_INVALID_PARAMS, "empty input")
    return [_wanted_block(item) for item in argument["blockStateCalls"]]


def _wanted_block(item: Any) -> _WantedBlock:
    overrides = item.get("blockOverrides") or {}
    if item.get("stateOverrides") or set(overrides) - {"time"}:
        raise RpcError(_INVALID_PARAMS, "the simnet's eth_simulateV1 overrides nothing but a block's time")
    time = None if "time" not in overrides else expect_number(overrides["time"], 0)
    return _WantedBlock(time, tuple([call_request(call) for call in item.get("calls") or []]))


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
