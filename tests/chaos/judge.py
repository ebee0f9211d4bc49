"""Compares the statements of journals, statuses and errors with the facts from the nodes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.auditor import Facts, Lock, Money
from layer2.model.transactions import Finality
from layer2.ports.journal import Role, SwapRecord
from layer2.swap_engine.records import record_terms
from layer2.terms.documents import Terms
from layer2.terms.transfers import Transfer, TransferState

__all__ = ["Judge", "Stated", "Verdict"]

_NOTHING_LEFT = frozenset({TransferState.PLANNED, TransferState.AGREED, TransferState.ABANDONED})
_ENDS_OF_ERRORS = {
    "TransferRefunded": TransferState.REFUNDED,
    "TransferAbandoned": TransferState.ABANDONED,
    "TransferLost": TransferState.LOST,
}


@dataclass(frozen=True, slots=True)
class Stated:
    """The statements at one time."""

    transfers: tuple[Transfer, ...]
    """The taker's statuses."""
    records: tuple[SwapRecord, ...]
    """Both parties' journals."""

    def hash_of(self, transfer: Transfer) -> str | None:
        """The payment hash of a transfer."""
        hashes = [each.payment_hash for each in self.records if each.swap_id == transfer.transfer_id]
        return next((each.hex() for each in hashes if each is not None), None)


@dataclass(slots=True)
class Verdict:
    """The result of a run; amounts are satoshi."""

    ends: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    reorganised_away: int = 0
    """What a party lost with a funding that it accepted at the latest block, and that a reorganisation removed."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, stuck, reported wrongly or paid twice."""
        return not (self.lost or self.stuck or self.wrong or self.twice)

    def __str__(self) -> str:
        ends = ", ".join(f"{number} {end}" for end, number in sorted(self.ends.items()))
        counts = f"{len(self.lost)} lost, {len(self.stuck)} stuck, {len(self.wrong)} wrong statements, "
        return f"{ends}: {counts}{len(self.twice)} paid twice, {self.reorganised_away} sat reorganised away"

    def details(self) -> str:
        """Every finding, one per line."""
        kinds = {"lost": self.lost, "stuck": self.stuck, "wrong": self.wrong, "twice": self.twice}
        return "\n".join(f"  {kind}: {one}" for kind, found in kinds.items() for one in found)


class Judge:
    """Compares repeatedly during a run and once at its end."""

    def __init__(self, before: Facts) -> None:
        self.verdict = Verdict()
        self._before = before
        self._seen: set[str] = set()
        self._facts = before
        self._stated = Stated((), ())
        self._proven: set[str] = set()

    def look(self, facts: Facts, stated: Stated) -> None:
        """Take facts, and the statements that were read after them."""
        for transfer in self._stated.transfers:
            # The end was stated before these facts were read, so they must confirm it.
            if transfer.state.is_final:
                self._check_end(transfer, self._stated, facts)
        for transfer in stated.transfers:
            self._check_now(transfer, stated, facts)
        self._facts, self._stated = facts, stated

    def hear(self, said: Mapping[str, Any]) -> None:
        """Take a line from the taker's program."""
        key = said.get("key")
        if "proof" in said:
            self._proven.add(str(key))
            return
        if said.get("error") == "other":
            self._wrong(f"{key}: no error of the package: {said['text']}")
            return
        held = [
            transfer
            for transfer in self._stated.transfers
            if (key is None or transfer.idempotency_key == key) and self._is_bound(transfer)
        ]
        if said.get("outcome") == "not_sent" and key is not None and held:
            self._wrong(f"{key}: {said['error']} {said['code']} states not_sent, and {held[0].funds}: {said['text']}")
        if said.get("error") == "InitializationError" and held and not said["open_transfers"]:
            self._wrong(f"start: no open transfer is named, and {held[0].funds}: {said['text']}")
        end = _ENDS_OF_ERRORS.get(str(said.get("error")))
        for transfer in self._stated.transfers:
            is_meant = end is not None and transfer.transfer_id == said["transfer_id"] and transfer.state.is_final
            if is_meant and transfer.state is not end:
                self._wrong(f"{key}: {said['error']} for a transfer that is {transfer.state.value}")

    def finish(self, facts: Facts, stated: Stated, ended: Iterable[str], wanted: Iterable[str]) -> Verdict:
        """The verdict after all faults have ended and nothing more can change.

        Args:
            ended: the keys for which a call has reported an end.
            wanted: all keys.
        """
        self.look(facts, stated)
        verdict = self.verdict
        for key in sorted(set(wanted) - set(ended)):
            states = [each.state.value for each in stated.transfers if each.idempotency_key == key]
            verdict.stuck.append(f"{key}: no call has come to an end; its transfers are {states or 'none'}")
        for transfer in stated.transfers:
            verdict.ends[transfer.state.value] += 1
            self._check_end(transfer, stated, facts)
            if transfer.attention is not None:
                self._wrong(f"{transfer.idempotency_key}: attention without cause: {transfer.attention}")
        completed = {each.idempotency_key for each in stated.transfers if each.state is TransferState.COMPLETED}
        for key in sorted(self._proven - completed):
            self._wrong(f"{key}: a proof was returned, and no transfer under the key is completed")
        for record in stated.records:
            self._check_record(record, facts)
        self._check_losses(facts, stated)
        self._check_twice(facts, stated)
        self._check_sums(facts, stated)
        return verdict

    def _wrong(self, what: str) -> None:
        if what not in self._seen:
            self._seen.add(what)
            self.verdict.wrong.append(what)

    def _is_bound(self, transfer: Transfer) -> bool:
        payment_hash = self._stated.hash_of(transfer)
        if transfer.state.is_final or payment_hash is None:
            return False
        return self._facts.money(transfer.request.source.value, payment_hash, "taker") is Money.HELD

    def _check_now(self, transfer: Transfer, stated: Stated, facts: Facts) -> None:
        name, payment_hash = f"{transfer.idempotency_key} {transfer.state.value}", stated.hash_of(transfer)
        if not transfer.state.is_final and transfer.deadline is None:
            self._wrong(f"{name}: an open state without a deadline")
        if payment_hash is None:
            return
        source, destination = transfer.request.source.value, transfer.request.destination.value
        money = facts.money(source, payment_hash, "taker")
        if transfer.state in _NOTHING_LEFT and money in (Money.HELD, Money.PAID):
            self._wrong(f"{name}: states {transfer.funds!r}, and the source's money is {money.value}")
        for lock in facts.locked(source, payment_hash, "taker"):
            if transfer.refundable_from not in (None, lock.deadline):
                self._wrong(f"{name}: refundable from {transfer.refundable_from}, and the lock ends at {lock.deadline}")
        for lock in facts.locked(destination, payment_hash, "provider"):
            is_late = transfer.deadline is not None and transfer.deadline > lock.deadline
            if transfer.state is TransferState.COLLECTING and is_late:
                self._wrong(f"{name}: deadline {transfer.deadline}, and the lock ends at {lock.deadline}")

    def _check_end(self, transfer: Transfer, stated: Stated, facts: Facts) -> None:
        payment_hash = stated.hash_of(transfer)
        if payment_hash is None:
            return
        source = facts.money(transfer.request.source.value, payment_hash, "taker")
        destination = facts.money(transfer.request.destination.value, payment_hash, "provider")
        match transfer.state:
            case TransferState.COMPLETED:
                holds = destination in (Money.PAID, None)
            case TransferState.REFUNDED:
                holds = source in (Money.RETURNED, Money.NOTHING, None)
            case TransferState.ABANDONED:
                holds = source in (Money.NOTHING, None)
            case TransferState.LOST:
                holds = destination is not Money.PAID
            case _:
                return
        if not holds:
            name = f"{transfer.idempotency_key} {transfer.state.value}"
            self._wrong(f"{name}: the source is {_word(source)}, the destination {_word(destination)}")

    def _check_record(self, record: SwapRecord, facts: Facts) -> None:
        terms, state = _terms(record), str(record.state["state"])
        name = f"{record.role.value} {record.idempotency_key or record.swap_id} {state}"
        if not record.is_final:
            self.verdict.stuck.append(name)
        if record.attention is not None:
            self._wrong(f"{name}: attention without cause: {record.attention}")
        if terms is None or record.role is not Role.PROVIDER:
            return
        source, destination = _monies(terms, facts)
        if state == "completed" and source is not Money.PAID:
            self._wrong(f"{name}: the source is {_word(source)}")
        if state == "released" and (source in (Money.HELD, Money.PAID) or destination in (Money.HELD, Money.PAID)):
            self._wrong(f"{name}: the source is {_word(source)}, the destination {_word(destination)}")

    def _check_losses(self, facts: Facts, stated: Stated) -> None:
        for terms in _all_terms(stated).values():
            source, destination = _monies(terms, facts)
            name = f"{terms.swap_id}: the source is {_word(source)}, the destination {_word(destination)}"
            if source is Money.HELD or destination is Money.HELD:
                self.verdict.stuck.append(name)
            elif source is Money.PAID and destination is not Money.PAID:
                self._lose("taker", terms.source_amount, destination, terms.destination.finality, name)
            elif destination is Money.PAID and source is not Money.PAID:
                self._lose("provider", terms.amount, source, terms.source.finality, name)

    def _lose(self, party: str, amount: int, other: Money | None, finality: Finality, name: str) -> None:
        if other is Money.NOTHING and finality is Finality.LATEST:
            self.verdict.reorganised_away += amount
        else:
            self.verdict.lost.append(f"{party} {amount} sat, {name}")

    def _check_twice(self, facts: Facts, stated: Stated) -> None:
        paid = Counter[str]()
        for transfer in stated.transfers:
            payment_hash = stated.hash_of(transfer)
            if payment_hash is None:
                continue
            source, destination = transfer.request.source.value, transfer.request.destination.value
            for payer, layer in (("taker", source), ("provider", destination)):
                if (number := _times_paid(facts, layer, payment_hash, payer)) > 1:
                    self.verdict.twice.append(f"{transfer.idempotency_key}: {payer} paid {number} times on {layer}")
            if facts.money(source, payment_hash, "taker") is Money.PAID:
                paid[str(transfer.idempotency_key)] += 1
        self.verdict.twice += [f"{key}: {number} transfers were paid" for key, number in paid.items() if number > 1]

    def _check_sums(self, facts: Facts, stated: Stated) -> None:
        """Whether every balance changed exactly by what the swaps moved."""
        expected = defaultdict[tuple[str, str], int](int)
        for terms in _all_terms(stated).values():
            source, destination = terms.source.protocol.value, terms.destination.protocol.value
            payment_hash = terms.payment_hash.hex()
            _move(expected, facts, source, payment_hash, ("taker", "provider"), terms.source_amount)
            _move(expected, facts, destination, payment_hash, ("provider", "taker"), terms.amount)
        for account, amount in _balances(facts).items():
            change = amount - _balances(self._before).get(account, 0)
            if change != expected[account]:
                layer, party = account
                text = f"{party} on {layer}: changed by {change} sat, and the swaps moved {expected[account]}"
                (self.verdict.lost if change < expected[account] else self.verdict.twice).append(text)


def _move(
    expected: dict[tuple[str, str], int],
    facts: Facts,
    layer: str,
    payment_hash: str,
    parties: tuple[str, str],
    amount: int,
) -> None:
    payer, payee = parties
    money = facts.money(layer, payment_hash, payer)
    if money in (Money.PAID, Money.HELD):
        fees = 0
        if layer == "LIGHTNING":
            fees = sum(each.fee for each in facts.lightning[payer].payments.get(payment_hash, ()))
        expected[layer, payer] -= amount + fees
    if money is Money.PAID:
        expected[layer, payee] += amount


def _times_paid(facts: Facts, layer: str, payment_hash: str, payer: str) -> int:
    sent: Sequence[Lock | Any] = facts.locked(layer, payment_hash, payer)
    if layer == "LIGHTNING" and payer in facts.lightning:
        sent = facts.lightning[payer].payments.get(payment_hash, ())
    return sum(each.money is Money.PAID for each in sent)


def _balances(facts: Facts) -> dict[tuple[str, str], int]:
    channels = {("LIGHTNING", party): node.channel.owned for party, node in facts.lightning.items()}
    return dict(facts.tokens) | channels


def _monies(terms: Terms, facts: Facts) -> tuple[Money | None, Money | None]:
    payment_hash = terms.payment_hash.hex()
    return (
        facts.money(terms.source.protocol.value, payment_hash, "taker"),
        facts.money(terms.destination.protocol.value, payment_hash, "provider"),
    )


def _terms(record: SwapRecord) -> Terms | None:
    signed = record_terms(record)
    return None if signed is None else signed.terms


def _all_terms(stated: Stated) -> dict[str, Terms]:
    found = {record.swap_id: _terms(record) for record in stated.records}
    return {str(swap_id): terms for swap_id, terms in found.items() if terms is not None}


def _word(money: Money | None) -> str:
    return "unknown" if money is None else money.value
