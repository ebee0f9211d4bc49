"""The demo's live view: every leg of the transfer under way, its state and its deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layer2.cli.terminal import Terminal
from layer2.cli.transfer_wording import event_line
from layer2.cli.wording import sat, until
from layer2.transfers import Transfer, TransferState

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["LiveView", "leg_rows"]

_SOURCE = {
    TransferState.PLANNED: "nothing paid",
    TransferState.AGREED: "nothing paid",
    TransferState.FUNDING: "being paid",
    TransferState.FUNDED: "held",
    TransferState.COUNTER_FUNDED: "held",
    TransferState.COLLECTING: "the provider may collect it",
    TransferState.COMPLETED: "collected by the provider",
    TransferState.ABANDONED: "nothing paid",
    TransferState.REFUNDING: "on its way back",
    TransferState.REFUNDED: "back",
}
_DESTINATION = {
    TransferState.COUNTER_FUNDED: "held for you",
    TransferState.COLLECTING: "being collected by you",
    TransferState.COMPLETED: "yours",
}


def leg_rows(transfer: Transfer, now: float) -> tuple[tuple[str, str, str, str], ...]:
    """Layer, amount, state and deadline of each leg, for people. Pure."""
    request, deadline = transfer.request, "-"
    if transfer.deadline is not None:
        deadline = f"{transfer.next_actor.value} by {until(transfer.deadline, now)}"
    refund = "-" if transfer.refundable_from is None else f"refundable from {until(transfer.refundable_from, now)}"
    return (
        (request.source.value, sat(transfer.send_amount or request.amount), _SOURCE[transfer.state], refund),
        (
            request.destination.value,
            sat(request.amount),
            _DESTINATION.get(transfer.state, "not paid yet" if not transfer.state.is_final else "nothing was paid"),
            deadline,
        ),
    )


class LiveView:
    """Follows one transfer: a table that is redrawn on a terminal, a line for each change elsewhere."""

    def __init__(self, terminal: Terminal, *, whole: bool) -> None:
        self._terminal = terminal
        self._whole = whole
        self._transfer: Transfer | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the view as long as the block runs."""
        if not self._terminal.progress.is_terminal:
            yield
            return
        from rich.live import Live

        # Redrawn by itself, so that the time that is left runs down while nothing else changes.
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
