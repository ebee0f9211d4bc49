"""The swaps of a provider, for people and for machines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layer2.cli.envelope import Line, Table
from layer2.cli.wording import at_time, sat, until
from layer2.legs.timelock_settings import TimelockSettings
from layer2.ports.journal import SwapRecord
from layer2.swap_engine.records import outlook_of, record_terms
from layer2.terms.documents import Terms
from layer2.terms.transfers import Actor

__all__ = ["swap_data", "swaps_table"]

# The outlook of a provider's swap calls the provider YOU.
_ACTORS = {Actor.YOU: "you", Actor.PROVIDER: "the taker", Actor.NOBODY: "nobody"}


def swaps_table(records: Sequence[SwapRecord], rules: TimelockSettings, now: float) -> list[Line]:
    """A provider's swaps, one in a row. Those that need a person are also listed above the table."""
    table = Table(
        ("swap", "agreed", "from -> to", ">amount", ">fee", "state", "next"),
        tuple(_row(each, _terms(each), rules, now) for each in records),
    )
    urgent = [f"ATTENTION: swap {each.swap_id}: {each.attention}" for each in records if each.attention is not None]
    return [*urgent, table]


def swap_data(record: SwapRecord, rules: TimelockSettings) -> dict[str, Any]:
    """A provider's swap for machines."""
    terms, outlook = _terms(record), outlook_of(record, rules)
    return {
        "swap_id": record.swap_id,
        "state": record.state.get("state"),
        "is_final": record.is_final,
        "version": record.version,
        "source": terms.source.protocol.value,
        "destination": terms.destination.protocol.value,
        "receive_amount": terms.source_amount,
        "pay_amount": terms.amount,
        "fee": terms.provider_fee,
        "network_fee": terms.network_fee,
        "next_actor": {Actor.YOU: "provider", Actor.PROVIDER: "taker", Actor.NOBODY: "nobody"}[outlook.next_actor],
        "deadline": outlook.deadline,
        "funds": outlook.funds,
        "attention": record.attention,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }


def _row(record: SwapRecord, terms: Terms, rules: TimelockSettings, now: float) -> tuple[str, ...]:
    outlook = outlook_of(record, rules)
    following = "" if outlook.deadline is None else _due(outlook.next_actor, outlook.deadline, now)
    return (
        record.swap_id,
        at_time(record.created_at),
        f"{terms.source.protocol.value} -> {terms.destination.protocol.value}",
        sat(terms.amount),
        sat(terms.provider_fee),
        str(record.state.get("state")),
        following,
    )


def _due(actor: Actor, deadline: int, now: float) -> str:
    return f"{_ACTORS[actor]}, before {until(deadline, now)}"


def _terms(record: SwapRecord) -> Terms:
    signed = record_terms(record)
    assert signed is not None, "a provider journals a swap with its terms"
    return signed.terms
