"""Letting the node execute messages in order without sending them.

Source: ``eth_simulateV1`` of the execution API specification; op-geth and op-reth have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layer2.errors import FormatError, NodeRefused, TransactionError
from layer2.formats.evm_hex import format_data, format_quantity, parse_data, parse_quantity
from layer2.formats.evm_revert import decode_revert
from layer2.formats.printable import printable
from layer2.model.transactions import Finality
from layer2.protocols.evm.rpc.node import BlockRef, EvmNode, block_argument

__all__ = ["Simulated", "SimulatedBlock", "SimulatedMessage", "simulate"]

_METHOD = "eth_simulateV1"
_NO_SUCH_METHOD = (-32601, -32004)
"""Method not found (JSON-RPC 2.0), and not supported (EIP-1474)."""


@dataclass(frozen=True, slots=True)
class SimulatedMessage:
    """A message. The sender can be any account, because nothing is signed."""

    sender: bytes
    to: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class SimulatedBlock:
    """The messages of one simulated block, in order."""

    messages: Sequence[SimulatedMessage]
    time: int | None = None
    """Unix seconds, later than the previous block; None lets the node choose, at most 12 s later."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """The result of one message."""

    output: bytes
    """The returned bytes; empty if the message failed."""
    gas_used: int
    failure: str | None
    """The contract's or the node's reason for a failure; None if the message succeeded."""


async def simulate(
    node: EvmNode, blocks: Sequence[SimulatedBlock], *, after: BlockRef = Finality.LATEST
) -> list[Simulated]:
    """Let the node execute messages. Each message sees the effects of the earlier ones.

    Args:
        node: the party's own node. It sees all data: never a preimage.
        blocks: the messages, with ascending times.
        after: the block after which the simulation starts.

    Returns:
        The result of each message, in order.

    Raises:
        TransactionError: the node has no ``eth_simulateV1`` (``no_simulation``).
        BadAnswer: the answer is invalid or does not match the messages.
        NodeError: as every call.

    A later transaction may have another result, because the state may change before it is mined.
    """
    asked = {"blockStateCalls": [_block_argument(block) for block in blocks]}
    try:
        return await node.ask(_METHOD, lambda answer, _: _simulated(answer, blocks), asked, block_argument(after))
    except NodeRefused as error:
        if error.node_code not in _NO_SUCH_METHOD:
            raise
        raise TransactionError(
            "the node cannot simulate, so the effect of a transfer cannot be checked before; nothing was signed",
            code="no_simulation",
            operation=_METHOD,
            remedy="use a node that has eth_simulateV1, as op-geth and op-reth do",
        ) from error


def _block_argument(block: SimulatedBlock) -> dict[str, object]:
    argument: dict[str, object] = {
        "calls": [
            {"from": format_data(message.sender), "to": format_data(message.to), "input": format_data(message.data)}
            for message in block.messages
        ]
    }
    if block.time is not None:
        argument["blockOverrides"] = {"time": format_quantity(block.time)}
    return argument


def _simulated(answer: object, blocks: Sequence[SimulatedBlock]) -> list[Simulated]:
    if not isinstance(answer, list) or len(answer) != len(blocks):
        raise FormatError("it is not a list with one result for each block")
    read: list[Simulated] = []
    for block, fields in zip(blocks, answer, strict=True):
        calls = fields.get("calls") if isinstance(fields, dict) else None
        if not isinstance(calls, list) or len(calls) != len(block.messages):
            raise FormatError("a block does not have one result for each call")
        read.extend([_call(call) for call in calls])
    return read


def _call(call: object) -> Simulated:
    if not isinstance(call, dict):
        raise FormatError("a call's result is not an object")
    gas_used = parse_quantity(call.get("gasUsed"), "gasUsed")
    output = parse_data(call.get("returnData"), "returnData")
    match parse_quantity(call.get("status"), "status"):
        case 1:
            return Simulated(output, gas_used, None)
        case 0:
            return Simulated(b"", gas_used, _reason(call.get("error")))
        case _:
            raise FormatError("a call's status is neither 0 nor 1")


def _reason(error: object) -> str:
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        raise FormatError("a failed call has no error with a message")
    reverted = error.get("data")
    if isinstance(reverted, str) and reverted not in ("", "0x"):
        return decode_revert(parse_data(reverted, "error data"))
    return printable(error["message"])
