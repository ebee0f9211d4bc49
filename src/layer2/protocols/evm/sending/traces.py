"""Finding why a transaction failed: the node executes it again at its position in the block.

A call on the state of the previous block may differ: earlier transactions of the block, the gas, or the block's time
may be the reason. Source: go-ethereum, ``debug_traceTransaction`` with ``callTracer``. op-geth and op-reth have it, and
public providers often refuse it.
"""

from __future__ import annotations

from layer2.errors import FormatError
from layer2.formats.evm_hex import format_data, parse_data
from layer2.formats.evm_revert import decode_revert
from layer2.formats.printable import printable
from layer2.protocols.evm.rpc.node import EvmNode

__all__ = ["failure_reason"]

_TRACER = {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}


async def failure_reason(node: EvmNode, tx_hash: bytes) -> str | None:
    """Ask the node why a transaction failed.

    Args:
        node: the party's own node.
        tx_hash: hash of a transaction in a block, 32 bytes. Its data is already public.

    Returns:
        The contract's reason, or that of the EVM ("out of gas"); None if the transaction did not fail.

    Raises:
        NodeRefused: the node does not trace, or does not know the transaction.
        BadAnswer: the answer is not a trace.
    """
    return await node.ask("debug_traceTransaction", _reason, format_data(tx_hash), _TRACER)


def _reason(trace: object, _: str) -> str | None:
    error = trace.get("error") if isinstance(trace, dict) else None
    if not isinstance(trace, dict) or not (error is None or isinstance(error, str)):
        raise FormatError("the answer is not a trace")
    if error is None:
        return None
    if "revert" not in error:
        return printable(error)
    return decode_revert(parse_data(trace.get("output", "0x"), "output"))
