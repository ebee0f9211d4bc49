"""JSON-RPC methods for logs and filters: a client creates a filter and asks for what is new since it asked before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from layer2.formats.evm_hex import format_data, format_quantity
from layer2.local.simnet.evm.answers import log_answers
from layer2.local.simnet.evm.arguments import INVALID_PARAMS, LogFilter, RpcError, log_filter
from layer2.local.simnet.evm.blocks import NamedBlocks
from layer2.local.simnet.evm.chain import EvmChain, MinedBlock
from layer2.local.simnet.evm.node import EvmNode

__all__ = ["LogMethods", "followed_logs", "log_changes"]


@dataclass(slots=True)
class _Filter:
    wanted: LogFilter | Literal["blocks", "transactions"]
    head: MinedBlock
    """The head when the client asked last, or when it created the filter."""
    arrivals: int
    """How many transactions had come into the pool then."""


class LogMethods:
    """Answers with the logs of one node's blocks, and keeps its filters. Unlike op-geth's they do not expire."""

    def __init__(self, node: EvmNode, blocks: NamedBlocks) -> None:
        self._node = node
        self._blocks = blocks
        self._names = itertools.count(1)
        self._filters: dict[str, _Filter] = {}
        self.methods: Mapping[str, Callable[..., object]] = {
            "eth_getLogs": lambda criteria: self._logs(log_filter(criteria)),
            "eth_newFilter": lambda criteria: self._add(followed_logs(criteria)),
            "eth_newBlockFilter": lambda: self._add("blocks"),
            "eth_newPendingTransactionFilter": lambda: self._add("transactions"),
            "eth_getFilterChanges": self._get_filter_changes,
            "eth_getFilterLogs": self._get_filter_logs,
            "eth_uninstallFilter": self._uninstall_filter,
        }

    def _add(self, wanted: LogFilter | Literal["blocks", "transactions"]) -> str:
        name = format_quantity(next(self._names))
        self._filters[name] = _Filter(wanted, self._node.chain.head, len(self._node.arrivals))
        return name

    def _get_filter_changes(self, name: object) -> Sequence[object]:
        found = self._find(name)
        head, arrivals = found.head, found.arrivals
        found.head, found.arrivals = self._node.chain.head, len(self._node.arrivals)
        match found.wanted:
            case "blocks":
                _, added = self._node.chain.path(head, found.head)
                return [format_data(block.hash) for block in added]
            case "transactions":
                return [format_data(transaction_hash) for transaction_hash in self._node.arrivals[arrivals:]]
            case LogFilter():
                return log_changes(self._node.chain, found.wanted, head, found.head)

    def _get_filter_logs(self, name: object) -> Sequence[object]:
        wanted = self._find(name).wanted
        if not isinstance(wanted, LogFilter):
            raise _not_found()
        return self._logs(wanted)

    def _uninstall_filter(self, name: object) -> bool:
        return isinstance(name, str) and self._filters.pop(name, None) is not None

    def _find(self, name: object) -> _Filter:
        if not isinstance(name, str) or name not in self._filters:
            raise _not_found()
        return self._filters[name]

    def _logs(self, wanted: LogFilter) -> Sequence[object]:
        return _selected_logs(self._selected_blocks(wanted), wanted)

    def _selected_blocks(self, wanted: LogFilter) -> Iterable[MinedBlock]:
        chain = self._node.chain
        if wanted.block_hash is not None:
            block = chain.block_by_hash(wanted.block_hash)
            if block is None:
                raise RpcError(-32000, "unknown block")
            return [block]
        first, last = (self._blocks.height(name) for name in (wanted.first, wanted.last))
        if first > last:
            raise RpcError(INVALID_PARAMS, "invalid block range params")
        if last > chain.head.number:
            raise RpcError(INVALID_PARAMS, "block range extends beyond current head block")
        return chain.blocks(first, last)


def log_changes(chain: EvmChain, wanted: LogFilter, start: MinedBlock, end: MinedBlock) -> list[dict[str, object]]:
    """The logs that changed between two heads: first those of replaced blocks with ``removed``, then the new ones."""
    removed, added = ([block for block in part if _is_in_range(block, wanted)] for part in chain.path(start, end))
    # Like op-geth, report the oldest of the replaced blocks first.
    gone = [answer | {"removed": True} for answer in _selected_logs(reversed(removed), wanted)]
    return gone + _selected_logs(added, wanted)


def followed_logs(criteria: object, index: int = 0) -> LogFilter:
    """Read argument ``index`` as the criteria of a filter or of a subscription, which select logs of future blocks.

    Raises:
        RpcError: the criteria are malformed, or their range of blocks cannot be followed.
    """
    wanted = log_filter(criteria, index)
    first, last = wanted.first, wanted.last
    if "pending" in (first, last):
        raise RpcError(INVALID_PARAMS, "pending logs are not supported")
    if first == "earliest":
        first = 0
    is_open = last == "latest" and (first == "latest" or isinstance(first, int))
    if not is_open and not (isinstance(first, int) and isinstance(last, int) and first <= last):
        raise RpcError(INVALID_PARAMS, "invalid block range params")
    return wanted


def _selected_logs(blocks: Iterable[MinedBlock], wanted: LogFilter) -> list[dict[str, object]]:
    """The logs of these blocks whose address and topics match."""
    return [
        answer
        for block in blocks
        if wanted.can_match(block.header.bloom)
        for index, receipt in enumerate(block.receipts)
        if wanted.can_match(receipt.bloom)
        for log, answer in log_answers(block, index)
        if wanted.matches(log)
    ]


def _is_in_range(block: MinedBlock, wanted: LogFilter) -> bool:
    """Whether the block is within the heights of the criteria; tags bound nothing."""
    starts = not isinstance(wanted.first, int) or wanted.first <= block.number
    return starts and (not isinstance(wanted.last, int) or block.number <= wanted.last)


def _not_found() -> RpcError:
    return RpcError(-32000, "filter not found")
