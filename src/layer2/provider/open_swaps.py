"""What a provider's open swaps bind: hashes, money, places and its own presence. Pure reading of the journal."""

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
    """One swap of this provider's, as its record has it."""

    record: SwapRecord
    state: ProviderState
    terms: Terms
    rules: TimelockSettings

    @classmethod
    def read(cls, record: SwapRecord, rules: TimelockSettings) -> OpenSwap:
        """Read a record of the provider's role.

        Raises:
            JournalError: it is another role's, or not what this version writes.
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
        """What the taker names on the legs: its account or key where it pays from one, or else where it is paid."""
        return taker_of(str(self.record.request.get("source")), str(self.record.request.get("destination")))

    @property
    def binds_hash(self) -> bool:
        """Whether another swap under the same hash would be one too many: one of the two could collect what the other
        has paid for. A swap that is released pays nothing under the hash."""
        return not (self.record.is_final or isinstance(self.state, ProviderReleasing))

    def takes_place(self, now: int) -> bool:
        """Whether it takes one of the places, and money may still move for it.

        A swap that nobody has funded gives its place back when a funding that was begun in time would be seen. What has
        arrived only waits for its finality, and what needs a human waits for that human: neither keeps others out.
        """
        if isinstance(self.state, ProviderAgreed) and self.state.source_tx_id is None:
            return now <= self.terms.source.lands_by(self.terms.fund_by, self.rules)
        has_arrived = isinstance(self.state, ProviderCollecting) and self.state.has_arrived
        return self.binds_hash and not has_arrived and self.record.attention is None

    def uses(self, layer: Layer2ProtocolType) -> bool:
        """Whether one of its legs is on that layer."""
        return layer in (self.terms.source.protocol, self.terms.destination.protocol)

    def will_pay(self, layer: Layer2ProtocolType, now: int) -> int:
        """Satoshi that it may still take out of what can be spent on that layer."""
        is_ahead = isinstance(self.state, ProviderAgreed | ProviderCounterFunding)
        if not is_ahead or self.terms.destination.protocol is not layer or not self.takes_place(now):
            return 0
        return self.terms.amount + self.terms.network_fee

    def will_receive(self, layer: Layer2ProtocolType, now: int) -> int:
        """Satoshi of room that it may still need to be paid on that layer."""
        if not isinstance(self.state, ProviderAgreed) or self.terms.source.protocol is not layer:
            return 0
        return self.terms.source_amount if self.takes_place(now) else 0

    @property
    def unsettled(self) -> tuple[Finality, int]:
        """At which finality its source is relied on, and satoshi that would be lost if that were reorganised away."""
        finality = self.terms.source.finality
        is_at_stake = not self.record.is_final and not isinstance(self.state, ProviderReleasing)
        return finality, self.terms.amount if is_at_stake and finality is not Finality.FINALIZED else 0

    @property
    def must_be_back_by(self) -> int | None:
        """Unix seconds by which this provider must run again lest it lose money; None where none is at stake."""
        return must_be_back_by(self.state, self.terms, self.rules)


def exposure_on(layer: Layer2ProtocolType, swaps: Iterable[OpenSwap]) -> Exposure:
    """What depends on fundings of that layer that can still be reorganised away.

    From its agreement on a swap counts until its source is collected for good: what one read shows of the funding
    meanwhile is not in the journal.
    """
    exposure = Exposure()
    for swap in swaps:
        if swap.terms.source.protocol is layer:
            exposure = exposure.plus(*swap.unsettled)
    return exposure


def taker_of(source: str, destination: str) -> str:
    """By which text a taker is counted. Accounts are free to make, so this bounds carelessness and not malice."""
    return (source or destination).lower()
