"""The unconfirmed transactions of a node: Bitcoin Core's rules for relay and replacement, as far as swaps meet them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from layer2.formats.bitcoin_transaction import OutPoint, Transaction
from layer2.local.simnet.bitcoin.chain import CoinView, RegtestChain, TransactionRefused

__all__ = ["MIN_RELAY", "Entry", "Mempool", "dust_limit"]

MIN_RELAY: Final = 1_000
"""Satoshi per 1,000 virtual bytes."""
_DUST_RELAY: Final = 3_000
_MOST_REPLACED: Final = 100
_MAX_WEIGHT: Final = 400_000
_MAX_BLOCK_WEIGHT: Final = 3_900_000
_OP_RETURN: Final = b"\x6a"


@dataclass(frozen=True, slots=True)
class Entry:
    """An unconfirmed transaction."""

    transaction: Transaction
    fee: int
    """Satoshi."""
    arrived: int
    """Its position in the order of arrival."""

    @property
    def rate(self) -> int:
        """Satoshi per 1,000 virtual bytes, rounded down."""
        return self.fee * 1_000 // self.transaction.virtual_size


class Mempool:
    """The unconfirmed transactions on top of a chain.

    Args:
        chain: their parents and the next block's height come from it.
    """

    def __init__(self, chain: RegtestChain) -> None:
        self._chain = chain
        self._entries: dict[bytes, Entry] = {}
        self._arrivals = 0
        self._floor = MIN_RELAY

    @property
    def entries(self) -> Sequence[Entry]:
        """In the order of arrival, so that parents come first."""
        return sorted(self._entries.values(), key=lambda entry: entry.arrived)

    @property
    def floor(self) -> int:
        """The lowest fee rate that enters the pool, in satoshi per 1,000 virtual bytes."""
        return self._floor

    def set_floor(self, rate: int) -> None:
        """Fill the pool with others' transactions of this fee rate: cheaper ones are evicted, and are refused.

        Args:
            rate: satoshi per 1,000 virtual bytes; ``MIN_RELAY`` removes the pressure.
        """
        self._floor = max(rate, MIN_RELAY)
        for entry in self.entries:
            if entry.transaction.hash in self._entries and self._package_rate(entry) < self._floor:
                self._remove(self._with_descendants([entry]))

    def get(self, tx_hash: bytes) -> Transaction | None:
        """The transaction with that hash, or None."""
        entry = self._entries.get(tx_hash)
        return None if entry is None else entry.transaction

    def spender(self, outpoint: OutPoint) -> tuple[Transaction, int] | None:
        """The transaction that spends an output, and the index of its input; or None."""
        for entry in self._entries.values():
            for index, each in enumerate(entry.transaction.inputs):
                if each.prevout == outpoint:
                    return entry.transaction, index
        return None

    def add(self, transaction: Transaction) -> None:
        """Accept a transaction, and evict those that it replaces. A known one is accepted again.

        Raises:
            TransactionRefused: the rules do not allow it; nothing changed.
        """
        if transaction.hash in self._entries:
            return
        _check_standard(transaction)
        spent = {each.prevout for each in transaction.inputs}
        conflicts = [entry for entry in self.entries if any(each.prevout in spent for each in entry.transaction.inputs)]
        replaced = self._with_descendants(conflicts)
        fee = self._chain.check(transaction, self._coins(without=replaced))
        size = transaction.virtual_size
        if fee * 1_000 < self._floor * size:
            raise TransactionRefused("min relay fee not met" if self._floor == MIN_RELAY else "mempool min fee not met")
        self._check_replacement(transaction, fee, conflicts, replaced)
        self._remove(replaced)
        self._arrivals += 1
        self._entries[transaction.hash] = Entry(transaction, fee, self._arrivals)

    def for_block(self, least: int) -> Sequence[Transaction]:
        """The transactions of the next block, parents first.

        Args:
            least: the fee rate of a package, in satoshi per 1,000 virtual bytes, below which miners leave it out.
        """
        chosen: list[Transaction] = []
        weight = 0
        for entry in self.entries:
            transaction = entry.transaction
            parents = [self._entries.get(each.prevout.tx_hash) for each in transaction.inputs]
            missing = any(parent is not None and parent.transaction not in chosen for parent in parents)
            if missing or self._package_rate(entry) < least or weight + transaction.weight > _MAX_BLOCK_WEIGHT:
                continue
            chosen.append(transaction)
            weight += transaction.weight
        return chosen

    def confirm(self, transactions: Iterable[Transaction]) -> None:
        """Remove what a new block contains, and what it makes impossible."""
        spent: set[OutPoint] = set()
        for transaction in transactions:
            self._entries.pop(transaction.hash, None)
            spent.update(each.prevout for each in transaction.inputs)
        conflicts = [entry for entry in self.entries if any(each.prevout in spent for each in entry.transaction.inputs)]
        self._remove(self._with_descendants(conflicts))

    def readmit(self, transactions: Iterable[Transaction]) -> None:
        """Put the transactions of removed blocks back, as far as they are still valid, before the others."""
        waiting = [entry.transaction for entry in self.entries]
        self._entries.clear()
        for transaction in (*transactions, *waiting):
            try:
                self.add(transaction)
            except TransactionRefused:
                continue

    def _coins(self, *, without: Sequence[Entry]) -> CoinView:
        """The outputs that a new transaction can spend."""
        coins = CoinView(self._chain.coins, self._chain.height + 1)
        for entry in self.entries:
            if entry not in without:
                for each in entry.transaction.inputs:
                    coins.spend(each.prevout)
                coins.add(entry.transaction)
        return coins

    def _check_replacement(
        self, transaction: Transaction, fee: int, conflicts: Sequence[Entry], replaced: Sequence[Entry]
    ) -> None:
        """BIP 125's rules 3 to 5; every transaction can be replaced, as in Bitcoin Core since version 28."""
        if not conflicts:
            return
        size = transaction.virtual_size
        if len(replaced) > _MOST_REPLACED:
            raise TransactionRefused("too many potential replacements")
        if any(fee * 1_000 // size <= entry.rate for entry in conflicts):
            raise TransactionRefused("insufficient fee")
        if fee * 1_000 < sum(entry.fee for entry in replaced) * 1_000 + MIN_RELAY * size:
            raise TransactionRefused("insufficient fee")

    def _with_descendants(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        found = {entry.transaction.hash: entry for entry in entries}
        for entry in self.entries:
            if any(each.prevout.tx_hash in found for each in entry.transaction.inputs):
                found[entry.transaction.hash] = entry
        return list(found.values())

    def _package_rate(self, entry: Entry) -> int:
        """The best fee rate over the transaction with its descendants: a child can pay for its parent."""
        best = entry.rate
        package = self._with_descendants([entry])
        for child in package:
            members = [one for one in package if one.arrived <= child.arrived]
            size = sum(one.transaction.virtual_size for one in members)
            best = max(best, sum(one.fee for one in members) * 1_000 // size)
        return best

    def _remove(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._entries.pop(entry.transaction.hash, None)


def _check_standard(transaction: Transaction) -> None:
    if transaction.version not in (1, 2, 3):
        raise TransactionRefused("version")
    if transaction.weight > _MAX_WEIGHT:
        raise TransactionRefused("tx-size")
    for output in transaction.outputs:
        if output.script[:1] != _OP_RETURN and output.amount < dust_limit(output.script):
            raise TransactionRefused("dust")


def dust_limit(script: bytes) -> int:
    """The least amount of an output with this script that nodes relay, in satoshi."""
    spending = 67 if len(script) > 2 and script[0] in (0x00, *range(0x51, 0x61)) else 148
    return (9 + len(script) + spending) * _DUST_RELAY // 1_000
