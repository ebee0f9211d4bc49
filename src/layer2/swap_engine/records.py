"""Journal records of swaps: made for a plan or for agreed terms, and read as what users see."""

from __future__ import annotations

from layer2.errors import JournalError
from layer2.formats.signed_terms import read_signed_terms
from layer2.interfaces import Json, Role, SwapRecord
from layer2.layers import Layer2ProtocolType
from layer2.money import AssetId
from layer2.swap_rules.outlook import Outlook, outlook
from layer2.swap_rules.states import (
    ProviderAgreed,
    State,
    TakerAbandoned,
    TakerAgreed,
    TakerPlanned,
    read_state,
    write_state,
)
from layer2.swap_rules.timelocks import TimelockSettings
from layer2.terms import SignedTerms
from layer2.transactions import SwapId
from layer2.transfers import Transfer, TransferRequest, TransferState

__all__ = [
    "abandoned_state",
    "agreed_record",
    "agreed_state",
    "describe",
    "outlook_of",
    "planned_record",
    "read_request",
    "record_state",
    "record_terms",
    "write_request",
]


def planned_record(
    *,
    swap_id: SwapId,
    request: TransferRequest,
    provider_name: str,
    payment_hash: bytes,
    idempotency_key: str | None,
    now: int,
) -> SwapRecord:
    """A taker's new swap, for ``SwapJournal.create``."""
    return SwapRecord(
        swap_id=swap_id,
        role=Role.TAKER,
        version=0,
        state=write_state(TakerPlanned()),
        is_final=False,
        payment_hash=payment_hash,
        terms=None,
        request=write_request(request, provider_name),
        idempotency_key=idempotency_key,
        created_at=now,
        updated_at=now,
    )


def agreed_state() -> Json:
    """The taker's state once the signed terms are checked, for ``SwapJournal.advance(..., terms=...)``."""
    return write_state(TakerAgreed())


def abandoned_state(reason: str) -> Json:
    """The taker's final state where the terms were refused or nothing was agreed. Never after *agreed*: from
    there on the machine alone decides."""
    return write_state(TakerAbandoned(reason))


def agreed_record(
    *, signed_terms: Json, payment_hash: bytes, swap_id: SwapId, request: Json, idempotency_key: str | None, now: int
) -> SwapRecord:
    """A provider's new swap under terms that it has signed, for ``SwapJournal.create``.

    Args:
        signed_terms: as ``formats.signed_terms.write_signed_terms`` writes them.
        request: what the taker asked for, word for word.
    """
    return SwapRecord(
        swap_id=swap_id,
        role=Role.PROVIDER,
        version=0,
        state=write_state(ProviderAgreed()),
        is_final=False,
        payment_hash=payment_hash,
        terms=signed_terms,
        request=request,
        idempotency_key=idempotency_key,
        created_at=now,
        updated_at=now,
    )


def write_request(request: TransferRequest, provider_name: str) -> dict[str, object]:
    """What was asked for, as the record keeps it; ``provider`` says who serves."""
    return {
        "asset": request.asset.code,
        "decimals": request.asset.decimals,
        "amount": str(request.amount),
        "source": request.source.value,
        "destination": request.destination.value,
        "recipient": request.recipient,
        "max_fee": None if request.max_fee is None else str(request.max_fee),
        "provider": provider_name,
    }


def read_request(record: SwapRecord) -> tuple[TransferRequest, str]:
    """The taker's request and the provider's name.

    Raises:
        JournalError: the record is not a taker's, or not one that this package wrote.
    """
    fields = record.request
    try:
        request = TransferRequest(
            asset=AssetId(fields["asset"], fields["decimals"]),
            amount=int(fields["amount"]),
            source=Layer2ProtocolType(fields["source"]),
            destination=Layer2ProtocolType(fields["destination"]),
            recipient=fields["recipient"],
            max_fee=None if fields["max_fee"] is None else int(fields["max_fee"]),
        )
        return request, fields["provider"]
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError("the journal's request cannot be read", transfer_id=record.swap_id) from error


def record_state(record: SwapRecord) -> State:
    """The machine's state in a record.

    Raises:
        FormatError: the record holds a state that this version does not know.
    """
    return read_state(record.state)


def record_terms(record: SwapRecord) -> SignedTerms | None:
    """The signed terms of a record, None before they are agreed."""
    return None if record.terms is None else read_signed_terms(record.terms)


def outlook_of(record: SwapRecord, settings: TimelockSettings) -> Outlook:
    """Where the money of a record is, who acts next and until when, for either role."""
    signed = record_terms(record)
    return outlook(record_state(record), None if signed is None else signed.terms, settings)


def describe(record: SwapRecord, settings: TimelockSettings) -> Transfer:
    """A taker's record as its user sees it.

    Raises:
        JournalError: the record is not a taker's.
    """
    if record.role is not Role.TAKER:
        raise JournalError("the record is a provider's, not a transfer", transfer_id=record.swap_id)
    request, provider_name = read_request(record)
    state, signed = record_state(record), record_terms(record)
    view = outlook(state, None if signed is None else signed.terms, settings)
    return Transfer(
        transfer_id=record.swap_id,
        request=request,
        state=TransferState(state.name),
        version=record.version,
        provider_name=provider_name,
        send_amount=None if signed is None else signed.terms.source_amount,
        fee=None if signed is None else signed.terms.source_amount - signed.terms.amount,
        next_actor=view.next_actor,
        deadline=view.deadline,
        refundable_from=view.refundable_from,
        funds=view.funds,
        source_tx_id=getattr(state, "source_tx_id", None),
        destination_tx_id=getattr(state, "destination_tx_id", None),
        reason=getattr(state, "reason", None),
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
