"""Reads the records of swaps, and describes them as ``Transfer``."""

from __future__ import annotations

from layer2.errors import JournalError
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import FundingRequest
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import AssetId
from layer2.ports.journal import Role, SwapRecord
from layer2.swap_rules.outlook import Outlook, outlook
from layer2.swap_rules.states import State, TakerAgreed, TakerCollecting, TakerFunding, read_state
from layer2.terms.documents import SignedTerms
from layer2.terms.signing import read_signed_terms
from layer2.terms.transfers import Transfer, TransferRequest, TransferState

__all__ = [
    "describe",
    "has_arrived",
    "is_funded_by_others",
    "outlook_of",
    "read_request",
    "record_state",
    "record_terms",
    "write_request",
]


def write_request(request: TransferRequest) -> dict[str, object]:
    """The request as a record stores it."""
    # Only if it is set: a repeated request must equal one that was written before the field existed.
    more: dict[str, object] = {"funded_by_others": True} if request.funded_by_others else {}
    return more | {
        "asset": request.asset.code,
        "decimals": request.asset.decimals,
        "amount": _written(request.amount),
        "send_amount": _written(request.send_amount),
        "source": request.source.value,
        "destination": request.destination.value,
        "recipient": request.recipient,
        "max_fee": _written(request.max_fee),
    }


def read_request(record: SwapRecord) -> TransferRequest:
    """The taker's request.

    Raises:
        JournalError: the record is not a taker's, or this package did not write it.
    """
    fields = record.request
    try:
        return TransferRequest(
            asset=AssetId(fields["asset"], fields["decimals"]),
            amount=_amount(fields["amount"]),
            source=Layer2ProtocolType(fields["source"]),
            destination=Layer2ProtocolType(fields["destination"]),
            recipient=fields["recipient"],
            max_fee=_amount(fields["max_fee"]),
            send_amount=_amount(fields["send_amount"]),
            funded_by_others=is_funded_by_others(record),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError("the journal's request cannot be read", transfer_id=record.swap_id) from error


def is_funded_by_others(record: SwapRecord) -> bool:
    """Whether the record is a taker's, and others fund its source."""
    return record.role is Role.TAKER and record.request.get("funded_by_others") is True


def record_state(record: SwapRecord) -> State:
    """The machine's state in a record.

    Raises:
        FormatError: this version does not know the record's state.
    """
    return read_state(record.state)


def record_terms(record: SwapRecord) -> SignedTerms | None:
    """The signed terms of a record, or None before they are agreed."""
    return None if record.terms is None else read_signed_terms(record.terms)


def has_arrived(record: SwapRecord) -> bool:
    """Whether the record is a taker's, and what it receives has arrived and is not final yet."""
    state = record_state(record)
    return isinstance(state, TakerCollecting) and state.has_arrived


def outlook_of(record: SwapRecord, rules: TimelockSettings) -> Outlook:
    """The location of a record's money, the next actor and the deadline, for either role."""
    return _outlook_of(record, record_state(record), record_terms(record), rules)


def _outlook_of(record: SwapRecord, state: State, signed: SignedTerms | None, rules: TimelockSettings) -> Outlook:
    return outlook(
        state,
        None if signed is None else signed.terms,
        rules,
        planned_until=record.created_at + rules.quote_validity,
        is_foreign=record.role is Role.TAKER and record.request.get("recipient") is not None,
        funded_by_others=is_funded_by_others(record),
        from_old_copy=record.from_old_copy,
    )


def describe(record: SwapRecord, rules: TimelockSettings) -> Transfer:
    """A taker's record as a ``Transfer``.

    Raises:
        JournalError: the record is not a taker's.
    """
    if record.role is not Role.TAKER or record.provider_name is None:
        raise JournalError("the record is a provider's, not a transfer", transfer_id=record.swap_id)
    state, signed = record_state(record), record_terms(record)
    view = _outlook_of(record, state, signed, rules)
    return Transfer(
        transfer_id=record.swap_id,
        request=read_request(record),
        idempotency_key=record.idempotency_key,
        state=TransferState.ARRIVED if has_arrived(record) else TransferState(state.name),
        version=record.version,
        provider_name=record.provider_name,
        send_amount=None if signed is None else signed.terms.source_amount,
        fee=None if signed is None else signed.terms.source_amount - signed.terms.amount,
        next_actor=view.next_actor,
        deadline=view.deadline,
        refundable_from=view.refundable_from,
        funds=view.funds,
        source_tx_id=getattr(state, "source_tx_id", None),
        destination_tx_id=getattr(state, "destination_tx_id", None),
        reason=getattr(state, "reason", None),
        attention=record.attention,
        funding_request=_funding_request(record, state, signed),
        final_at=state.final_at if isinstance(state, TakerCollecting) else None,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def _funding_request(record: SwapRecord, state: State, signed: SignedTerms | None) -> FundingRequest | None:
    waits = isinstance(state, TakerAgreed | TakerFunding) and is_funded_by_others(record)
    return signed.terms.source.funding_request(signed.terms.fund_by) if waits and signed is not None else None


def _written(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


def _amount(text: str | None) -> int | None:
    return None if text is None else int(text)
