"""How the command line says quotes, transfers and balances, to people and to machines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layer2.cli.envelope import Line
from layer2.cli.wording import at_time, sat, short_hash, until, wei
from layer2.layers import Layer2ProtocolType
from layer2.money import BTC, AssetId, Balance
from layer2.transfers import Actor, Quote, Transfer, TransferState

__all__ = [
    "BalanceRows",
    "balance_rows",
    "event_line",
    "quote_data",
    "quote_line",
    "transfer_data",
    "transfer_lines",
]

_ACTORS = {Actor.YOU: "you", Actor.PROVIDER: "the provider", Actor.NOBODY: "nobody"}


def quote_line(quote: Quote, now: float) -> str:
    """What is paid, what arrives, and until when that holds."""
    request = quote.request
    return (
        f"you pay {sat(quote.send_amount)} on {request.source.value}, {sat(quote.receive_amount)} arrive on "
        f"{request.destination.value} (fee {quote.fee:,}), offered by {quote.provider_name}, "
        f"valid {max(0, int(quote.valid_until - now))} s"
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
        "valid_until": quote.valid_until,
    }


def event_line(transfer: Transfer, now: float, *, whole: bool = False) -> str:
    """One state in one line: where the money is, who acts next and by when."""
    parts = [f"{transfer.state.value:<15}{transfer.funds}"]
    tx_id = _newest_id(transfer)
    if tx_id is not None:
        parts.append(short_hash(tx_id, whole=whole))
    if transfer.deadline is not None:
        parts.append(f"{_ACTORS[transfer.next_actor]} by {until(transfer.deadline, now)}")
    if transfer.refundable_from is not None and transfer.state is TransferState.FUNDED:
        parts.append(f"refundable by you alone from {until(transfer.refundable_from, now)}")
    if transfer.reason:
        parts.append(transfer.reason)
    return "; ".join(parts)


def transfer_lines(transfer: Transfer, now: float, *, whole: bool = False) -> list[Line]:
    """Everything about one transfer."""
    request = transfer.request
    lines: list[Line] = [
        f"transfer     {transfer.transfer_id}",
        f"moves        {sat(request.amount)} from {request.source.value} to {request.destination.value}",
        f"provider     {transfer.provider_name}",
        f"begun        {at_time(transfer.created_at)}",
        f"state        {transfer.state.value}, since {at_time(transfer.updated_at)}",
        f"money        {transfer.funds}",
    ]
    if transfer.send_amount is not None:
        lines.append(f"you pay      {sat(transfer.send_amount)} (fee {transfer.fee or 0:,})")
    if transfer.deadline is not None:
        lines.append(f"next         {_ACTORS[transfer.next_actor]}, by {until(transfer.deadline, now)}")
    if transfer.refundable_from is not None:
        lines.append(f"refundable   by you alone from {until(transfer.refundable_from, now)}")
    for name, tx_id in (("source", transfer.source_tx_id), ("destination", transfer.destination_tx_id)):
        if tx_id is not None:
            lines.append(f"{name:<13}{short_hash(tx_id, whole=whole)}")
    if transfer.reason:
        lines.append(f"reason       {transfer.reason}")
    return lines


def transfer_data(transfer: Transfer) -> dict[str, Any]:
    """A transfer for machines."""
    request = transfer.request
    return {
        "transfer_id": transfer.transfer_id,
        "state": transfer.state.value,
        "is_final": transfer.state.is_final,
        "version": transfer.version,
        "asset": request.asset.code,
        "amount": request.amount,
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
        "created_at": transfer.created_at,
        "updated_at": transfer.updated_at,
    }


@dataclass(frozen=True, slots=True)
class BalanceRows:
    """Balances in a fixed order."""

    entries: tuple[tuple[Layer2ProtocolType, AssetId, Balance], ...]

    @property
    def text(self) -> tuple[tuple[str, ...], ...]:
        """The same for people."""
        return tuple(
            (
                layer.value,
                asset.code if asset == BTC else f"{asset.code} (gas)",
                _amount(asset, one.spendable),
                _amount(asset, one.reserved),
                "any" if one.receivable is None else _amount(asset, one.receivable),
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


def _amount(asset: AssetId, amount: int) -> str:
    return sat(amount) if asset == BTC else wei(amount)


def _newest_id(transfer: Transfer) -> str | None:
    return transfer.destination_tx_id or transfer.source_tx_id
