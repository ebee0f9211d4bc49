"""JSON-RPC methods for logs and filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from layer2.local.simnet.evm.arguments import LogFilter, RpcError, log_filter
from layer2.local.simnet.evm.blocks import NamedBlocks
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.filters import EvmFilters
from layer2.local.simnet.evm.logs import followed_logs, selected_logs
from layer2.local.simnet.evm.node import EvmNode

__all__ = ["LogMethods"]

_INVALID_PARAMS = -32602


class LogMethods:
    """Answers with the logs of one node's blocks, and keeps its filters."""

    def __init__(self, node: EvmNode, blocks: NamedBlocks) -> None:
        self._node = node
        self._blocks = blocks
        filters = self._filters = EvmFilters(node)
        self.methods: Mapping[str, Callable[..., Any]] = {
            "eth_getLogs": lambda criteria: self._logs(log_filter(criteria)),
            "eth_newFilter": lambda criteria: filters.add_logs(followed_logs(criteria)),
            "eth_newBlockFilter": filters.add_heads,
            "eth_newPendingTransactionFilter": filters.add_transactions,
            "eth_getFilterChanges": filters.changes,
            "eth_getFilterLogs": lambda name: self._logs(filters.criteria(name)),
            "eth_uninstallFilter": filters.remove,
        }

    def _logs(self, wanted: LogFilter) -> list[dict[str, Any]]:
        return selected_logs(self._selected_blocks(wanted), wanted)

    def _selected_blocks(self, wanted: LogFilter) -> Iterable[MinedBlock]:
        chain = self._node.chain
        if wanted.block_hash is not None:
            block = chain.block_by_hash(wanted.block_hash)
            if block is None:
                raise RpcError(-32000, "unknown block")
            return [block]
        first, last = (self._blocks.height(name) for name in (wanted.first, wanted.last))
        if first > last:
            raise RpcError(_INVALID_PARAMS, "invalid block range params")
        if last > chain.head.number:
            raise RpcError(_INVALID_PARAMS, "block range extends beyond current head block")
        blocks = (chain.block_by_number(number) for number in range(first, last + 1))
        return [block for block in blocks if block is not None]
