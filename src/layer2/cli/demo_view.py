"""The demo's live view: the state and the deadline of each leg of the current transfer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layer2.cli.terminal import Terminal
from layer2.cli.transfer_wording import event_line, next_line, refundable
from layer2.cli.wording import sat
from layer2.terms.transfers import Transfer, TransferState

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["LiveView", "leg_rows"]

_SOURCE = {
    TransferState.PLANNED: "nothing paid",
    TransferState.AGREED: "nothing paid",
    TransferState.FUNDING: "being paid",
    TransferState.FUNDED: "held",
    TransferState.COLLECTING: "the provider may collect it",
    TransferState.ARRIVED: "the provider may collect it",
    TransferState.COMPLETED: "collected by the provider",
    TransferState.ABANDONED: "nothing paid",
    TransferState.REFUNDING: "being refunded",
    TransferState.REFUNDED: "refunded",
    TransferState.LOST: "collected by the provider",
}
_DESTINATION = {
    TransferState.COLLECTING: "being collected by you",
    TransferState.ARRIVED: "yours, not final yet",
    TransferState.COMPLETED: "yours",
    TransferState.LOST: "LOST: returned to the provider",
}


def leg_rows(transfer: Transfer, now: float) -> tuple[tuple[str, str, str, str], ...]:
    """The layer, amount, state and deadline of each leg, for people. Pure."""
    request = transfer.request
    refund = "-" if transfer.refundable_from is None else refundable(transfer.refundable_from, now)
    arrives = request.amount if request.amount is not None else (transfer.send_amount or 0) - (transfer.fee or 0)
    leaves = transfer.send_amount or request.send_amount or arrives
    return (
        (request.source.value, sat(leaves), _SOURCE[transfer.state], refund),
        (
            request.destination.value,
            sat(arrives),
            _DESTINATION.get(transfer.state, "not paid yet" if not transfer.state.is_final else "nothing was paid"),
            next_line(transfer, now) or "-",
        ),
    )


class LiveView:
    """Follows one transfer: a live table on a terminal, otherwise a line for each change."""

    def __init__(self, terminal: Terminal, *, whole: bool) -> None:
        self._terminal = terminal
        self._whole = whole
        self._transfer: Transfer | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the view while the block runs."""
        if not self._terminal.progress.is_terminal:
            yield
            return
        from rich.live import Live

        # Redrawn continuously, so that the remaining time is current.
        with Live(get_renderable=self._table, console=self._terminal.progress, refresh_per_second=4, transient=True):
            yield

    def update(self, transfer: Transfer) -> None:
        """The transfer has changed."""
        self._transfer = transfer
        self._terminal.say(f"  {event_line(transfer, time.time(), whole=self._whole)}")

    def _table(self) -> Table:
        from rich.table import Table

        table = Table("leg", "layer", "amount", "state", "deadline", box=None, pad_edge=False)
        if self._transfer is not None:
            for name, row in zip(("source", "destination"), leg_rows(self._transfer, time.time()), strict=True):
                table.add_row(name, *row)
        return table
