"""What one open swap of a provider reserves: its hash, a place, money, and the time by which it must run. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from layer2.errors import FormatError, JournalError
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.ports.journal import SwapRecord
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.outlook import must_be_back_by
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCounterFunding,
    ProviderReleasing,
    ProviderState,
    read_state,
    write_state,
)
from layer2.terms.documents import QuoteTerms, Terms
from layer2.terms.signing import read_signed_terms

__all__ = ["OpenSwap", "address_of", "as_accepted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSwap:
    """One open or pending swap. It keeps no terms: a provider can have very many open swaps."""

    version: int
    """That of its record; 0 while it is pending."""
    payment_hash: bytes
    taker: str
    """The account or key by which the taker is counted."""
    source: Layer2ProtocolType
    destination: Layer2ProtocolType
    binds_hash: bool
    """Whether another swap with the same hash must be refused: one could collect what the other has paid for. A
    released swap pays nothing under the hash."""
    place_until: float
    """Unix seconds until which it occupies a place, because money may still move for it: infinite while its state
    lasts, 0 if it occupies none."""
    pays: int
    """Satoshi that it may still spend on the destination. It counts while the swap has a place, as ``receives``."""
    receives: int
    """Satoshi of inbound capacity that it may still need on the source."""
    finality: Finality
    """The finality at which its source is accepted."""
    at_stake: int
    """Satoshi that are lost if a reorganisation removes the funding of the source."""
    address: str | None = None
    """The address of a source that others can fund."""
    must_be_back_by: int | None = None
    """Unix seconds by which this provider must run again, or it can lose money; None if no money is at risk."""

    @classmethod
    def pending(cls, quote: QuoteTerms, request: SwapRequest) -> Self:
        """A swap that is being accepted. It reserves everything that its terms will reserve."""
        return cls(
            version=0,
            payment_hash=request.payment_hash,
            taker=_taker_of(request.source, request.destination),
            source=quote.source.protocol,
            destination=quote.destination.protocol,
            binds_hash=True,
            place_until=math.inf,
            pays=quote.amount + quote.network_fee,
            receives=quote.source_amount,
            finality=quote.source.finality,
            at_stake=_at_stake(quote.amount, quote.source.finality),
        )

    @classmethod
    def read(cls, record: SwapRecord, rules: TimelockSettings) -> Self:
        """Read a record of the provider's role.

        Raises:
            JournalError: the record is of another role, or this version cannot read it.
        """
        try:
            state = read_state(record.state)
            terms = read_signed_terms(record.terms).terms
        except FormatError as error:
            raise JournalError(f"a swap in the journal cannot be read: {error.message}") from error
        if not isinstance(state, ProviderState):
            raise JournalError("a swap of the provider is in a taker's state")
        is_over = record.is_final or isinstance(state, ProviderReleasing)
        place_until = 0.0 if is_over else _place_until(record, state, terms, rules)
        is_ahead = isinstance(state, ProviderAgreed | ProviderCounterFunding) and place_until > 0
        return cls(
            version=record.version,
            payment_hash=terms.payment_hash,
            taker=_taker_of(str(record.request.get("source")), str(record.request.get("destination"))),
            source=terms.source.protocol,
            destination=terms.destination.protocol,
            binds_hash=not is_over,
            place_until=place_until,
            pays=terms.amount + terms.network_fee if is_ahead else 0,
            receives=terms.source_amount if is_ahead and isinstance(state, ProviderAgreed) else 0,
            finality=terms.source.finality,
            # A swap counts until the collection of its source is final, because the journal does not hold what a
            # single read shows of the funding.
            at_stake=0 if is_over else _at_stake(terms.amount, terms.source.finality),
            address=address_of(terms),
            must_be_back_by=must_be_back_by(state, terms, rules, from_old_copy=record.from_old_copy),
        )

    @property
    def has_place(self) -> bool:
        """Whether it occupies a place and, on both layers, gas."""
        return self.place_until > 0

    def without_place(self) -> Self:
        """This swap after the time at which it releases its place."""
        return replace(self, place_until=0.0, pays=0, receives=0)


def as_accepted(record: SwapRecord) -> SwapRecord:
    """The record of a swap as it was before its first version."""
    return replace(record, version=0, state=write_state(ProviderAgreed()), is_final=False, attention=None)


def address_of(terms: Terms) -> str | None:
    """The address of a source that others can fund."""
    asked = terms.source.funding_request(terms.fund_by)
    return None if asked is None else asked.address


def _place_until(record: SwapRecord, state: ProviderState, terms: Terms, rules: TimelockSettings) -> float:
    """Until when a swap that binds its hash occupies a place.

    An unfunded swap releases its place at the time by which a timely funding would be visible. A swap that has arrived
    only waits for finality, and one that needs a person waits for that person: neither occupies a place.
    """
    if isinstance(state, ProviderAgreed) and state.source_tx_id is None:
        return terms.source.lands_by(terms.fund_by, rules)
    has_arrived = isinstance(state, ProviderCollecting) and state.has_arrived
    return 0.0 if has_arrived or record.attention is not None else math.inf


def _at_stake(amount: int, finality: Finality) -> int:
    return 0 if finality is Finality.FINALIZED else amount


def _taker_of(source: str, destination: str) -> str:
    """The text by which a taker is counted. Accounts are free, so this limits mistakes and not attacks."""
    return (source or destination).lower()
