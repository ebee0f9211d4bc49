"""Quotes, transfers and the swaps of a provider, for people and for machines. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from layer2.cli.output import Line, table
from layer2.cli.wording import at_time, due, fields_of, sat, short_hash, until
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import FundingRequest
from layer2.ports.journal import Role, SwapRecord
from layer2.swap_engine.records import describe, outlook_of, record_state, record_terms
from layer2.terms.documents import Terms
from layer2.terms.transfers import Actor, Quote, Transfer, TransferRequest, TransferState

__all__ = [
    "event_line",
    "funding_lines",
    "news_of",
    "next_line",
    "quote_data",
    "quote_line",
    "refundable",
    "state_name",
    "swap_data",
    "swap_line",
    "swap_news",
    "swaps_table",
    "transfer_data",
    "transfer_lines",
    "transfers_table",
]


def _asked_amount(request: TransferRequest) -> str:
    """``100,000 sat``; ``100,000 sat sent`` if the request names the amount to leave the source."""
    return f"{sat(request.send_amount or 0)} sent" if request.amount is None else sat(request.amount)


def quote_line(quote: Quote, now: float) -> str:
    """The amounts, the fee, and for how long the quote is valid."""
    request = quote.request
    return (
        f"you pay {sat(quote.send_amount)} on {request.source.value}, {sat(quote.receive_amount)} arrive on "
        f"{request.destination.value}; fee {sat(quote.fee)}, maximum fee {sat(quote.max_fee)}; "
        f"provider {quote.provider_name}; valid {max(0, int(quote.valid_until - now))} s"
    )


def quote_data(quote: Quote) -> dict[str, object]:
    """A quote for machines."""
    return {
        "quote_id": quote.offer.quote.quote_id,
        "provider": quote.provider_name,
        **fields_of(quote.request, "source", "destination"),
        **fields_of(quote, "send_amount", "receive_amount", "fee", "max_fee", "valid_until"),
    }


def event_line(transfer: Transfer, now: float, *, whole: bool = False) -> str:
    """A state in one line: where the money is, who acts next and by when; then ATTENTION, if a person must act."""
    parts = [f"{transfer.state.value:<15}{transfer.funds}"]
    tx_id = transfer.destination_tx_id or transfer.source_tx_id
    if tx_id is not None:
        parts.append(short_hash(tx_id, whole=whole))
    parts += [line for line in (next_line(transfer, now), _refund_line(transfer, now)) if line]
    if transfer.reason:
        parts.append(transfer.reason)
    line = "; ".join(parts)
    return line if transfer.attention is None else f"{line}\n{_attention_line(transfer)}"


def news_of(transfer: Transfer) -> tuple[object, ...]:
    """What a line about a transfer tells its user. A later transaction of the same act, such as a claim with a higher
    fee, and a new estimate of a time are not news."""
    has_tx = (transfer.source_tx_id is not None, transfer.destination_tx_id is not None)
    return (transfer.state, transfer.funds, transfer.next_actor, has_tx, transfer.reason, transfer.attention)


def _attention_line(transfer: Transfer) -> str:
    """``ATTENTION: transfer 01JD..: the BOB node cannot be read, and money depends on it``"""
    return f"ATTENTION: transfer {transfer.transfer_id}: {transfer.attention}"


def swap_line(record: SwapRecord, rules: TimelockSettings, now: float, *, whole: bool = False) -> str:
    """A swap of either role in one line, as ``event_line``."""
    if record.role is Role.TAKER:
        return event_line(describe(record, rules), now, whole=whole)
    outlook = outlook_of(record, rules)
    parts = [f"{state_name(record, rules):<15}{outlook.funds}"]
    if outlook.deadline is not None:
        parts.append(due(outlook.next_actor, outlook.deadline, now, other="the taker"))
    if reason := getattr(record_state(record), "reason", None):
        parts.append(reason)
    line = "; ".join(parts)
    return line if record.attention is None else f"{line}\nATTENTION: swap {record.swap_id}: {record.attention}"


def swap_news(record: SwapRecord, rules: TimelockSettings) -> tuple[object, ...]:
    """What a line about a swap of either role tells its user, as ``news_of``."""
    if record.role is Role.TAKER:
        return news_of(describe(record, rules))
    outlook = outlook_of(record, rules)
    return (state_name(record, rules), outlook.funds, outlook.next_actor, record.attention)


def next_line(transfer: Transfer, now: float) -> str:
    """Which party must act, and by when; empty in a final state."""
    if transfer.state is TransferState.ARRIVED and transfer.final_at is not None:
        return f"final at about {until(transfer.final_at, now)}"
    # From that time on a refund is always possible, so it is not a time by which to act.
    if transfer.deadline is None or transfer.deadline == transfer.refundable_from:
        return ""
    return due(transfer.next_actor, transfer.deadline, now)


def refundable(seconds: int, now: float) -> str:
    """The time from which the money can be refunded without the provider."""
    return f"refundable without the provider {'since' if seconds < now else 'from'} {until(seconds, now)}"


def _refund_line(transfer: Transfer, now: float) -> str:
    is_over = transfer.state.is_final and not transfer.request.funded_by_others
    if transfer.refundable_from is None or is_over:
        return ""
    return refundable(transfer.refundable_from, now)


def funding_lines(transfer: Transfer, now: float) -> list[str]:
    """How others pay the source; nothing if they do not, or have."""
    request = transfer.funding_request
    if request is None:
        return []
    return [
        f"pay          exactly {sat(request.amount)} to {request.address}, by {until(request.fund_by, now)}",
        f"uri          {request.uri}",
        f"psbt         {_base64(request)}",
    ]


def _base64(request: FundingRequest) -> str:
    return b64encode(request.psbt).decode()


def transfer_lines(transfer: Transfer, now: float, *, whole: bool = False) -> list[str]:
    """Everything about one transfer."""
    request = transfer.request
    lines = [] if transfer.attention is None else [_attention_line(transfer)]
    if transfer.state is TransferState.LOST:
        lines.append(f"LOST: {transfer.funds}; keep the journal and the data of both nodes as evidence")
    paid = transfer.send_amount
    rows = {
        "transfer": transfer.transfer_id,
        "key": transfer.idempotency_key,
        "moves": f"{_asked_amount(request)} from {request.source.value} to {request.destination.value}",
        "provider": transfer.provider_name,
        "started": at_time(transfer.created_at),
        "state": f"{transfer.state.value}, since {at_time(transfer.updated_at)}",
        "money": transfer.funds,
        "you pay": paid and f"{sat(paid)} on {request.source.value}, fee {sat(transfer.fee or 0)}",
        "next": next_line(transfer, now),
        "refund": _refund_line(transfer, now),
        "source": transfer.source_tx_id and short_hash(transfer.source_tx_id, whole=whole),
        "destination": transfer.destination_tx_id and short_hash(transfer.destination_tx_id, whole=whole),
        "reason": transfer.reason,
    }
    shown = [f"{name:<13}{text}" for name, text in rows.items() if text]
    return [*lines, *shown, *funding_lines(transfer, now)]


def transfers_table(transfers: Sequence[Transfer], now: float) -> list[Line]:
    """Transfers, one in a row. Those that need a person are also listed above the table."""
    rows = tuple(
        (
            each.transfer_id,
            at_time(each.created_at),
            f"{each.request.source.value} -> {each.request.destination.value}",
            _asked_amount(each.request),
            each.state.value.upper() if each.state is TransferState.LOST else each.state.value,
            next_line(each, now),
        )
        for each in transfers
    )
    shown = table(("transfer", "started", "from -> to", ">amount", "state", "next"), rows)
    return [*(_attention_line(each) for each in transfers if each.attention is not None), shown]


def _funding_data(request: FundingRequest | None) -> dict[str, object] | None:
    if request is None:
        return None
    return {**fields_of(request, "address", "amount", "fund_by", "uri"), "psbt": _base64(request)}


def transfer_data(transfer: Transfer) -> dict[str, object]:
    """A transfer for machines."""
    request = transfer.request
    return {
        **fields_of(transfer, "transfer_id", "idempotency_key", "state", "version", "send_amount", "fee"),
        "is_final": transfer.state.is_final,
        "provider": transfer.provider_name,
        "asset": request.asset.code,
        **fields_of(request, "amount", "source", "destination", "recipient", "max_fee"),
        "requested_send_amount": request.send_amount,
        "funded_by_others": request.funded_by_others,
        "funding_request": _funding_data(transfer.funding_request),
        **fields_of(transfer, "next_actor", "deadline", "refundable_from", "funds", "source_tx_id"),
        **fields_of(transfer, "destination_tx_id", "reason", "attention", "final_at", "created_at", "updated_at"),
    }


def swaps_table(records: Sequence[SwapRecord], rules: TimelockSettings, now: float) -> list[Line]:
    """A provider's swaps, one in a row. Those that need a person are also listed above the table."""
    rows = []
    for record in records:
        terms, outlook = _agreed(record), outlook_of(record, rules)
        rows.append(
            (
                record.swap_id,
                at_time(record.created_at),
                f"{terms.source.protocol.value} -> {terms.destination.protocol.value}",
                sat(terms.amount),
                sat(terms.provider_fee),
                state_name(record, rules),
                "" if outlook.deadline is None else due(outlook.next_actor, outlook.deadline, now, other="the taker"),
            )
        )
    urgent = [f"ATTENTION: swap {each.swap_id}: {each.attention}" for each in records if each.attention is not None]
    return [*urgent, table(("swap", "agreed", "from -> to", ">amount", ">fee", "state", "next"), rows)]


def swap_data(record: SwapRecord, rules: TimelockSettings) -> dict[str, object]:
    """A provider's swap for machines."""
    terms, outlook = _agreed(record), outlook_of(record, rules)
    # The outlook of a provider's swap calls the provider YOU.
    actors = {Actor.YOU: "provider", Actor.PROVIDER: "taker", Actor.NOBODY: "nobody"}
    return {
        "state": state_name(record, rules),
        "source": terms.source.protocol.value,
        "destination": terms.destination.protocol.value,
        "receive_amount": terms.source_amount,
        "pay_amount": terms.amount,
        "fee": terms.provider_fee,
        "network_fee": terms.network_fee,
        "next_actor": actors[outlook.next_actor],
        **fields_of(outlook, "deadline", "funds"),
        **fields_of(record, "swap_id", "is_final", "version", "attention", "created_at", "updated_at"),
    }


def state_name(record: SwapRecord, rules: TimelockSettings) -> str:
    """The state of a record as every command shows it."""
    if record.role is Role.TAKER:
        return describe(record, rules).state.value
    return record_state(record).name


def _agreed(record: SwapRecord) -> Terms:
    signed = record_terms(record)
    assert signed is not None, "a provider journals a swap with its terms"
    return signed.terms
