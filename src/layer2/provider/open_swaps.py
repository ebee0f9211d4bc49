"""What a provider's open swaps reserve: hashes, money, places, and the time by which it must run. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from layer2.errors import FormatError, JournalError
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.ports.journal import SwapRecord
from layer2.provider.pricing import Exposure
from layer2.swap_rules.outlook import must_be_back_by
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCounterFunding,
    ProviderReleasing,
    ProviderState,
    read_state,
)
from layer2.terms.documents import Terms
from layer2.terms.signing import read_signed_terms

__all__ = ["OpenSwap", "exposure_on", "taker_of"]


@dataclass(frozen=True, slots=True)
class OpenSwap:
    """One open swap, read from its record."""

    record: SwapRecord
    state: ProviderState
    terms: Terms
    rules: TimelockSettings

    @classmethod
    def read(cls, record: SwapRecord, rules: TimelockSettings) -> OpenSwap:
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
        return cls(record, state, terms, rules)

    @property
    def taker(self) -> str:
        """The account or key by which the taker is counted: that of the source, or else that of the destination."""
        return taker_of(str(self.record.request.get("source")), str(self.record.request.get("destination")))

    @property
    def binds_hash(self) -> bool:
        """Whether another swap with the same hash must be refused: one could collect what the other has paid for.

        A released swap pays nothing under the hash.
        """
        return not (self.record.is_final or isinstance(self.state, ProviderReleasing))

    def takes_place(self, now: int) -> bool:
        """Whether the swap occupies a place, because money may still move for it.

        An unfunded swap releases its place at the time by which a timely funding would be visible. A swap that has
        arrived only waits for finality, and one that needs a person waits for that person: neither occupies a place.
        """
        if isinstance(self.state, ProviderAgreed) and self.state.source_tx_id is None:
            return now <= self.terms.source.lands_by(self.terms.fund_by, self.rules)
        has_arrived = isinstance(self.state, ProviderCollecting) and self.state.has_arrived
        return self.binds_hash and not has_arrived and self.record.attention is None

    def uses(self, layer: Layer2ProtocolType) -> bool:
        """Whether one of its legs is on the layer."""
        return layer in (self.terms.source.protocol, self.terms.destination.protocol)

    def will_pay(self, layer: Layer2ProtocolType, now: int) -> int:
        """Satoshi that the swap may still spend on the layer."""
        is_ahead = isinstance(self.state, ProviderAgreed | ProviderCounterFunding)
        if not is_ahead or self.terms.destination.protocol is not layer or not self.takes_place(now):
            return 0
        return self.terms.amount + self.terms.network_fee

    def will_receive(self, layer: Layer2ProtocolType, now: int) -> int:
        """Satoshi of inbound capacity that the swap may still need on the layer."""
        if not isinstance(self.state, ProviderAgreed) or self.terms.source.protocol is not layer:
            return 0
        return self.terms.source_amount if self.takes_place(now) else 0

    @property
    def unsettled(self) -> tuple[Finality, int]:
        """The finality at which the source was accepted, and the satoshi lost if a reorganisation removes it."""
        finality = self.terms.source.finality
        is_at_stake = not self.record.is_final and not isinstance(self.state, ProviderReleasing)
        return finality, self.terms.amount if is_at_stake and finality is not Finality.FINALIZED else 0

    @property
    def must_be_back_by(self) -> int | None:
        """Unix seconds by which this provider must run again, or it can lose money; None if no money is at risk."""
        return must_be_back_by(self.state, self.terms, self.rules)


def exposure_on(layer: Layer2ProtocolType, swaps: Iterable[OpenSwap]) -> Exposure:
    """The amounts that depend on fundings on the layer which a reorganisation can still remove.

    A swap counts from its agreement until the collection of its source is final, because the journal does not hold
    what a single read shows of the funding.
    """
    exposure = Exposure()
    for swap in swaps:
        if swap.terms.source.protocol is layer:
            exposure = exposure.plus(*swap.unsettled)
    return exposure


def taker_of(source: str, destination: str) -> str:
    """The text by which a taker is counted. Accounts are free, so this limits mistakes and not attacks."""
    return (source or destination).lower()
