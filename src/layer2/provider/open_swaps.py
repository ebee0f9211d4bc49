"""What a provider's open swaps bind: hashes, money, places and its own presence. Pure reading of the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from layer2.errors import FormatError, JournalError
from layer2.formats.signed_terms import read_signed_terms
from layer2.interfaces import SwapRecord
from layer2.layers import Layer2ProtocolType
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCollecting,
    ProviderCompleted,
    ProviderCounterFunded,
    ProviderCounterFunding,
    ProviderHeld,
    ProviderLocked,
    ProviderRefunding,
    ProviderReleased,
    ProviderReleasing,
    ProviderState,
    read_state,
)
from layer2.swap_rules.timelocks import TimelockSettings
from layer2.terms import EvmLeg, Terms

__all__ = ["OpenSwap"]


@dataclass(frozen=True, slots=True)
class OpenSwap:
    """One swap of this provider's, as its record tells it."""

    record: SwapRecord
    state: ProviderState
    terms: Terms

    @classmethod
    def read(cls, record: SwapRecord) -> OpenSwap:
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
        return cls(record, state, terms)

    @property
    def taker(self) -> bytes:
        """20 bytes: the taker's account on the EVM side."""
        source, destination = self.terms.source, self.terms.destination
        if isinstance(source, EvmLeg):
            return source.payer
        assert isinstance(destination, EvmLeg), "every pair has an EVM side"
        return destination.payee

    def is_binding(self, now: int) -> bool:
        """Whether it binds its hash and takes up a place.

        A lock that has not come by ``fund_by`` is only watched for; one that waits for its finality binds. For a
        Lightning source the invoice exists at the node, and its hash serves once.
        """
        if self.record.is_final:
            return False
        if not isinstance(self.terms.source, EvmLeg):
            return True
        if isinstance(self.state, ProviderReleasing):
            return False
        is_begun = not isinstance(self.state, ProviderAgreed) or self.state.source_tx_id is not None
        return is_begun or now <= self.terms.fund_by

    def will_pay(self, layer: Layer2ProtocolType, now: int) -> int:
        """Satoshi that it may still take out of what can be spent on that layer."""
        is_ahead = isinstance(self.state, ProviderAgreed | ProviderHeld | ProviderLocked | ProviderCounterFunding)
        if not is_ahead or self.terms.destination.protocol is not layer or not self.is_binding(now):
            return 0
        return self.terms.amount + self.terms.network_fee

    def will_receive(self, layer: Layer2ProtocolType, now: int) -> int:
        """Satoshi of room that it may still need to be paid on that layer."""
        if not isinstance(self.state, ProviderAgreed) or self.terms.source.protocol is not layer:
            return 0
        return self.terms.source_amount if self.is_binding(now) else 0

    def must_be_back_by(self, settings: TimelockSettings) -> int | None:
        """Unix seconds by which this provider must run again lest it lose money; None where none is at stake."""
        match self.state:
            case ProviderCounterFunding() | ProviderCounterFunded() | ProviderCollecting() | ProviderRefunding():
                if isinstance(self.terms.source, EvmLeg):
                    # It has paid, and claims the lock before anybody can refund it.
                    return self.terms.source.deadline - settings.claim_margin - settings.rollup_clock_early
                assert isinstance(self.terms.destination, EvmLeg), "every pair has an EVM side"
                # The held payment outlives this by the time that a refund, or a late claim, takes.
                return self.terms.destination.deadline
            case (
                ProviderAgreed()
                | ProviderHeld()
                | ProviderLocked()
                | ProviderReleasing()
                | ProviderReleased()
                | ProviderCompleted()
            ):
                return None
            case _:
                assert_never(self.state)
