"""Logs of blocks: those that criteria select, and those that a client missed between two heads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from layer2.local.simnet.evm.answers import log_answers
from layer2.local.simnet.evm.arguments import LogFilter, RpcError, log_filter
from layer2.local.simnet.evm.chain import EvmChain, MinedBlock

__all__ = ["followed_logs", "log_changes", "selected_logs"]

_INVALID_PARAMS = -32602


def selected_logs(blocks: Iterable[MinedBlock], wanted: LogFilter) -> list[dict[str, Any]]:
    """The logs of these blocks whose address and topics match."""
    return [
        answer
        for block in blocks
        for index in range(len(block.receipts))
        for log, answer in log_answers(block, index)
        if wanted.matches(log)
    ]


def log_changes(chain: EvmChain, wanted: LogFilter, start: MinedBlock, end: MinedBlock) -> list[dict[str, Any]]:
    """The logs that changed between two heads: first those of replaced blocks with ``removed``, then the new ones."""
    removed, added = ([block for block in part if _is_in_range(block, wanted)] for part in chain.path(start, end))
    # Like op-geth, report the oldest of the replaced blocks first.
    gone = [answer | {"removed": True} for answer in selected_logs(reversed(removed), wanted)]
    return gone + selected_logs(added, wanted)


def followed_logs(criteria: Any, index: int = 0) -> LogFilter:
    """Read argument ``index`` as the criteria of a filter or of a subscription, which select logs of future blocks.

    Raises:
        RpcError: the criteria are malformed, or their range of blocks cannot be followed.
    """
    wanted = log_filter(criteria, index)
    first, last = wanted.first, wanted.last
    if "pending" in (first, last):
        raise RpcError(_INVALID_PARAMS, "pending logs are not supported")
    if first == "earliest":
        first = 0
    is_open = last == "latest" and (first == "latest" or isinstance(first, int))
    if not is_open and not (isinstance(first, int) and isinstance(last, int) and first <= last):
        raise RpcError(_INVALID_PARAMS, "invalid block range params")
    return wanted


def _is_in_range(block: MinedBlock, wanted: LogFilter) -> bool:
    """Whether the block is within the heights of the criteria; tags bound nothing."""
    starts = not isinstance(wanted.first, int) or wanted.first <= block.number
    return starts and (not isinstance(wanted.last, int) or block.number <= wanted.last)
