"""Quotes, transfers and balances, for people and for machines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layer2.cli.envelope import Line, Table
from layer2.cli.wording import amount_of, at_time, due, sat, short_hash, until
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance
from layer2.terms.transfers import Quote, Transfer, TransferRequest, TransferState

__all__ = [
    "BalanceRows",
    "asked_amount",
    "attention_line",
    "balance_rows",
    "event_line",
    "next_line",
    "quote_data",
    "quote_line",
    "refundable",
    "transfer_data",
    "transfer_lines",
    "transfers_table",
]


def asked_amount(request: TransferRequest) -> str:
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


def quote_data(quote: Quote) -> dict[str, Any]:
    """A quote for machines."""
    return {
        "quote_id": quote.offer.quote.quote_id,
        "provider": quote.provider_name,
        "source": quote.request.source.value,
        "destination": quote.request.destination.value,
        "send_amount": quote.send_amount,
        "receive_amount": quote.receive_amount,
        "fee": quote.fee,
        "max_fee": quote.max_fee,
        "valid_until": quote.valid_until,
    }


def event_line(transfer: Transfer, now: float, *, whole: bool = False) -> str:
    """A state in one line: where the money is, who acts next and by when; then ATTENTION, if a person must act."""
    parts = [f"{transfer.state.value:<15}{transfer.funds}"]
    tx_id = transfer.destination_tx_id or transfer.source_tx_id
    if tx_id is not None:
        parts.append(short_hash(tx_id, whole=whole))
    parts += _times(transfer, now)
    if transfer.reason:
        parts.append(transfer.reason)
    line = "; ".join(parts)
    return line if transfer.attention is None else f"{line}\n{attention_line(transfer)}"


def attention_line(transfer: Transfer) -> str:
    """``ATTENTION: transfer 01JD..: the BOB node cannot be read, and money depends on it``"""
    return f"ATTENTION: transfer {transfer.transfer_id}: {transfer.attention}"


def next_line(transfer: Transfer, now: float) -> str:
    """Which party must act, and by when; empty in a final state."""
    if transfer.state is TransferState.ARRIVED and transfer.final_at is not None:
        return f"final at about {until(transfer.final_at, now)}"
    # From that time on a refund is always possible, so it is not a time by which to act.
    if transfer.deadline is None or transfer.deadline == transfer.refundable_from:
        return ""
    return due(transfer.next_actor, transfer.deadline, now)


def _times(transfer: Transfer, now: float) -> list[str]:
    parts = [next_line(transfer, now)] if next_line(transfer, now) else []
    if transfer.refundable_from is not None and not transfer.state.is_final:
        parts.append(refundable(transfer.refundable_from, now))
    return parts


def refundable(seconds: int, now: float) -> str:
    """The time from which the money can be refunded without the provider."""
    return f"refundable without the provider {'since' if seconds < now else 'from'} {until(seconds, now)}"


def transfer_lines(transfer: Transfer, now: float, *, whole: bool = False) -> list[Line]:
    """Everything about one transfer."""
    request = transfer.request
    lines: list[Line] = [] if transfer.attention is None else [attention_line(transfer)]
    if transfer.state is TransferState.LOST:
        lines.append(f"LOST: {transfer.funds}; keep the journal and the data of both nodes as evidence")
    lines += [
        f"transfer     {transfer.transfer_id}",
        *([] if transfer.idempotency_key is None else [f"key          {transfer.idempotency_key}"]),
        f"moves        {asked_amount(request)} from {request.source.value} to {request.destination.value}",
        f"provider     {transfer.provider_name}",
        f"started      {at_time(transfer.created_at)}",
        f"state        {transfer.state.value}, since {at_time(transfer.updated_at)}",
        f"money        {transfer.funds}",
    ]
    if transfer.send_amount is not None:
        lines.append(
            f"you pay      {sat(transfer.send_amount)} on {request.source.value}, fee {sat(transfer.fee or 0)}"
        )
    if next_line(transfer, now):
        lines.append(f"next         {next_line(transfer, now)}")
    if transfer.refundable_from is not None and not transfer.state.is_final:
        lines.append(f"refund       {refundable(transfer.refundable_from, now)}")
    for name, tx_id in (("source", transfer.source_tx_id), ("destination", transfer.destination_tx_id)):
        if tx_id is not None:
            lines.append(f"{name:<13}{short_hash(tx_id, whole=whole)}")
    if transfer.reason:
        lines.append(f"reason       {transfer.reason}")
    return lines


def transfers_table(transfers: Sequence[Transfer], now: float) -> list[Line]:
    """Transfers, one in a row. Those that need a person are also listed above the table."""
    rows = tuple(
        (
            each.transfer_id,
            at_time(each.created_at),
            f"{each.request.source.value} -> {each.request.destination.value}",
            asked_amount(each.request),
            each.state.value.upper() if each.state is TransferState.LOST else each.state.value,
            next_line(each, now),
        )
        for each in transfers
    )
    table = Table(("transfer", "started", "from -> to", ">amount", "state", "next"), rows)
    return [*(attention_line(each) for each in transfers if each.attention is not None), table]


def transfer_data(transfer: Transfer) -> dict[str, Any]:
    """A transfer for machines."""
    request = transfer.request
    return {
        "transfer_id": transfer.transfer_id,
        "idempotency_key": transfer.idempotency_key,
        "state": transfer.state.value,
        "is_final": transfer.state.is_final,
        "version": transfer.version,
        "asset": request.asset.code,
        "amount": request.amount,
        "requested_send_amount": request.send_amount,
        "source": request.source.value,
        "destination": request.destination.value,
        "recipient": request.recipient,
        "max_fee": request.max_fee,
        "provider": transfer.provider_name,
        "send_amount": transfer.send_amount,
        "fee": transfer.fee,
        "next_actor": transfer.next_actor.value,
        "deadline": transfer.deadline,
        "refundable_from": transfer.refundable_from,
        "funds": transfer.funds,
        "source_tx_id": transfer.source_tx_id,
        "destination_tx_id": transfer.destination_tx_id,
        "reason": transfer.reason,
        "attention": transfer.attention,
        "final_at": transfer.final_at,
        "created_at": transfer.created_at,
        "updated_at": transfer.updated_at,
    }


@dataclass(frozen=True, slots=True)
class BalanceRows:
    """Balances in a fixed order."""

    entries: tuple[tuple[Layer2ProtocolType, AssetId, Balance], ...]

    @property
    def text(self) -> tuple[tuple[str, ...], ...]:
        """The rows of a table."""
        return tuple(
            (
                layer.value,
                asset.code if asset == BTC else f"{asset.code} (gas)",
                amount_of(asset, one.spendable),
                amount_of(asset, one.reserved),
                "no limit" if one.receivable is None else amount_of(asset, one.receivable),
            )
            for layer, asset, one in self.entries
        )


def balance_rows(owned: Mapping[Layer2ProtocolType, Mapping[AssetId, Balance]]) -> BalanceRows:
    """Balances by layer and asset, in a fixed order."""
    return BalanceRows(
        tuple(
            (layer, asset, balances[asset])
            for layer, balances in owned.items()
            for asset in sorted(balances, key=lambda asset: asset.code)
        )
    )
