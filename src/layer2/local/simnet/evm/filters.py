"""Filters: a client creates one and asks for what is new since it asked before."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

from layer2.local.simnet.evm.answers import data, quantity
from layer2.local.simnet.evm.arguments import LogFilter, RpcError
from layer2.local.simnet.evm.logs import log_changes
from layer2.local.simnet.evm.node import EvmNode

__all__ = ["EvmFilters"]


class _Filter(Protocol):
    def changes(self) -> list[Any]: ...


class _Heads:
    def __init__(self, node: EvmNode) -> None:
        self._chain = node.chain
        self._seen = node.chain.head

    def changes(self) -> list[Any]:
        _, added = self._chain.path(self._seen, self._chain.head)
        self._seen = self._chain.head
        return [data(block.hash) for block in added]


class _Transactions:
    def __init__(self, node: EvmNode) -> None:
        self._arrivals = node.arrivals
        self._seen = len(self._arrivals)

    def changes(self) -> list[Any]:
        new = self._arrivals[self._seen :]
        self._seen = len(self._arrivals)
        return [data(transaction_hash) for transaction_hash in new]


class _Logs:
    def __init__(self, node: EvmNode, wanted: LogFilter) -> None:
        self._chain = node.chain
        self._seen = node.chain.head
        self.wanted = wanted

    def changes(self) -> list[Any]:
        changed = log_changes(self._chain, self.wanted, self._seen, self._chain.head)
        self._seen = self._chain.head
        return changed


class EvmFilters:
    """The filters of one node. Unlike op-geth's they do not expire."""

    def __init__(self, node: EvmNode) -> None:
        self._node = node
        self._names = itertools.count(1)
        self._filters: dict[str, _Filter] = {}

    def add_heads(self) -> str:
        """Create a filter for the hashes of new blocks and return its id."""
        return self._add(_Heads(self._node))

    def add_transactions(self) -> str:
        """Create a filter for the hashes of transactions that come into the pool and return its id."""
        return self._add(_Transactions(self._node))

    def add_logs(self, wanted: LogFilter) -> str:
        """Create a filter for logs and return its id."""
        return self._add(_Logs(self._node, wanted))

    def changes(self, name: Any) -> list[Any]:
        """What is new since the last call, or since the filter was created.

        Raises:
            RpcError: there is no such filter.
        """
        return self._find(name).changes()

    def criteria(self, name: Any) -> LogFilter:
        """The criteria of a filter for logs.

        Raises:
            RpcError: there is no such filter for logs.
        """
        found = self._find(name)
        if not isinstance(found, _Logs):
            raise _not_found()
        return found.wanted

    def remove(self, name: Any) -> bool:
        """Remove a filter. Returns whether there was one."""
        return isinstance(name, str) and self._filters.pop(name, None) is not None

    def _add(self, new: _Filter) -> str:
        name = quantity(next(self._names))
        self._filters[name] = new
        return name

    def _find(self, name: Any) -> _Filter:
        if not isinstance(name, str) or name not in self._filters:
            raise _not_found()
        return self._filters[name]


def _not_found() -> RpcError:
    return RpcError(-32000, "filter not found")
