"""The errors of transfers in the journal: their attributes are transfers and proofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from layer2.errors.base import Layer2Error, Outcome, TransferError

if TYPE_CHECKING:
    from layer2.proofs.model import TransferProof
    from layer2.terms.transfers import Transfer


class InitializationError(Layer2Error):
    """One or more layers could not be initialized; ``failures`` maps each to its error.

    The other layers stay usable, and a failed layer is added when it becomes reachable. Open transfers continue on the
    layers that are up: ``open_transfers`` lists them, and ``transfer_id``, ``funds`` and ``deadline`` are those of the
    most urgent one. With open transfers the outcome is UNKNOWN.
    """

    code = "initialization"

    def __init__(self, failures: Mapping[str, Layer2Error], open_transfers: Sequence[Transfer] = ()) -> None:
        listed = "; ".join(f"{name}: {error}" for name, error in failures.items())
        urgent = min(open_transfers, key=lambda each: each.deadline or 0, default=None)
        continuing = (
            f"; open transfers that continue on the other layers: {len(open_transfers)}" if open_transfers else ""
        )
        super().__init__(
            f"not every layer could be initialized: {listed}{continuing}",
            retryable=all(error.retryable for error in failures.values()),
            outcome=None if urgent is None else Outcome.UNKNOWN,
            transfer_id=None if urgent is None else urgent.transfer_id,
            funds=None if urgent is None else urgent.funds,
            deadline=None if urgent is None else urgent.deadline,
        )
        self.failures: Mapping[str, Layer2Error] = dict(failures)
        self.open_transfers: tuple[Transfer, ...] = tuple(open_transfers)


class IdempotencyConflict(TransferError):
    """The idempotency key belongs to another request, or the quote to a transfer with another key."""

    code = "idempotency_conflict"


class UnknownTransfer(TransferError):
    """The journal has no transfer with that id."""

    code = "unknown_transfer"


class TransferRefunded(TransferError):
    """The transfer did not complete and the money was refunded.

    ``proof`` is the refund's proof. It is None if the source is Lightning and nothing was locked on a chain, because a
    failed Lightning payment leaves no evidence that a third party could check.
    """

    code = "transfer_refunded"
    default_outcome = Outcome.REJECTED

    def __init__(self, message: str, *, transfer_id: str, proof: TransferProof | None) -> None:
        super().__init__(message, transfer_id=transfer_id)
        self.proof = proof


class TransferAbandoned(TransferError):
    """The transfer ended before any money was locked. Its idempotency key and its quote can be used again."""

    code = "transfer_abandoned"


class TransferLost(TransferError):
    """Money was lost: the provider collected the source, and the destination was refunded to the provider.

    The transactions of both legs are the evidence. Keep the journal and the data of both nodes.
    """

    code = "transfer_lost"
    default_outcome = Outcome.REJECTED

    def __init__(
        self,
        message: str,
        *,
        transfer_id: str | None = None,
        funds: str | None = None,
        send_amount: int | None = None,
        receive_amount: int | None = None,
        source_tx_id: str | None = None,
        destination_tx_id: str | None = None,
    ) -> None:
        super().__init__(
            message,
            transfer_id=transfer_id,
            tx_id=source_tx_id,
            funds=funds,
            remedy="keep the journal and the data of both nodes: they are the evidence",
        )
        self.send_amount = send_amount
        """The amount that the provider collected, in the asset's smallest unit."""
        self.receive_amount = receive_amount
        """The amount that did not arrive."""
        self.source_tx_id = source_tx_id
        self.destination_tx_id = destination_tx_id
