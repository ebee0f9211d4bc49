"""The proof of a swap at its end, with a limited wait for the other party's evidence.

Nothing here decides about money. A proof may lack a leg. Failures here are logged and do not stop the swap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

from layer2.legs.evidence import LegEvidence
from layer2.legs.views import Side
from layer2.model.transactions import Preimage
from layer2.proofs.model import TransferProof
from layer2.swap_engine.runner_context import LOG, LONGEST_CALL_SECONDS, PartyLegs, trace_of
from layer2.swap_rules.machine import LegEnd, Observed, holds_money
from layer2.swap_rules.states import (
    ProviderCompleted,
    ProviderReleased,
    State,
    TakerAbandoned,
    TakerCompleted,
    TakerRefunded,
)
from layer2.terms.documents import SignedTerms

__all__ = ["Endings"]


_Evidence: TypeAlias = Mapping[LegEnd, LegEvidence | None]
"""The available evidence of both legs; a leg whose node could not be read is missing."""


class Endings:
    """The proofs of one swap.

    Args:
        preimage: finds the swap's preimage in an observation; returns None while it is unknown.
    """

    def __init__(self, legs: PartyLegs, signed: SignedTerms, preimage: Callable[[Observed], Preimage | None]) -> None:
        self._legs = legs
        self._signed = signed
        self._preimage = preimage
        self._ended_at: float | None = None
        self._was_courteous = False
        self.complete_by: int | None = None
        """Unix seconds at which the final state is written even without complete evidence."""

    async def is_ready(self, state: State, observed: Observed) -> bool:
        """Whether a final state may be written: its proof is saved and complete, or the wait for more has ended.

        Raises:
            JournalError: the proof cannot be saved.
        """
        unfunded = isinstance(state, TakerAbandoned) or (
            isinstance(state, ProviderReleased) and state.source_tx_id is None
        )
        if unfunded:
            return True
        found = await self._find(observed)
        if not _is_complete(state, found):
            now, patience = asyncio.get_running_loop().time(), self._legs.context.rules.courtesy
            if self._ended_at is None:
                self._ended_at = now
                self.complete_by = int(self._legs.context.clock.now()) + patience
            waited = now - self._ended_at
            if waited >= patience / 2:
                await self._courtesy(state, observed)
            if waited < patience:
                return False
        await self._save(found, state, observed)
        return True

    def look_again_in(self) -> float | None:
        """Seconds until the next step while the end waits for evidence; None if it does not wait."""
        if self._ended_at is None:
            return None
        waited, patience = asyncio.get_running_loop().time() - self._ended_at, self._legs.context.rules.courtesy
        return max(0.0, (patience / 2 if waited < patience / 2 else patience) - waited)

    async def save_arrival(self, state: State, observed: Observed) -> None:
        """Save a proof of what has arrived; a later proof replaces it.

        Raises:
            JournalError: the proof cannot be saved.
        """
        await self._save(await self._find(observed), state, observed)

    async def _find(self, observed: Observed) -> _Evidence:
        found: dict[LegEnd, LegEvidence | None] = {}
        for end in LegEnd:
            if (side := self._legs.sides.get(end)) is None:
                found[end] = self._by_preimage(end, observed)
                continue
            async with self._trying(f"the evidence of the {end.value} cannot be read"):
                found[end] = await self._legs.layer(end).evidence(self._legs.htlcs[end], side)
        return found

    async def _courtesy(self, state: State, observed: Observed) -> None:
        """Collect a leg for the other party if it has not done so: that claim then completes the proof."""
        if self._was_courteous or not isinstance(state, TakerCompleted | ProviderCompleted):
            return
        self._was_courteous = True
        views, preimage = observed.views, self._preimage(observed)
        for end, side in self._legs.sides.items():
            view = views[end]
            pays = side is Side.PAYER and self._legs.swap.leg(end).anyone_collects
            if not pays or preimage is None or view is None or not holds_money(view):
                continue
            async with self._trying(f"the {end.value} cannot be collected for the other party"):
                await self._legs.layer(end).courtesy(self._legs.htlcs[end], preimage)

    async def _save(self, found: _Evidence, state: State, observed: Observed) -> None:
        # A completed leg whose node shows nothing has the evidence that the preimage alone gives.
        is_completed = isinstance(state, TakerCompleted | ProviderCompleted)
        source, destination = (
            found.get(end) or (self._by_preimage(end, observed) if is_completed else None) for end in LegEnd
        )
        if source is None and destination is None:
            return
        proof = None
        async with self._trying("no proof can be made from the evidence"):
            proof = TransferProof(self._signed, source, destination).to_bytes()
        if proof is not None:
            await self._legs.context.journal.save_proof(self._legs.swap_id, proof)

    def _by_preimage(self, end: LegEnd, observed: Observed) -> LegEvidence | None:
        preimage = self._preimage(observed)
        return None if preimage is None else self._legs.swap.leg(end).evidence_of(preimage)

    @asynccontextmanager
    async def _trying(self, problem: str) -> AsyncIterator[None]:
        """Run a block with a limit of time, and log its error as ``problem``."""
        try:
            async with asyncio.timeout(LONGEST_CALL_SECONDS):
                yield
        except Exception as error:  # noqa: BLE001 - logged, with its traceback
            LOG.warning("%s: %s: %s", self._legs.label, problem, error, exc_info=trace_of(error))


def _is_complete(state: State, found: _Evidence) -> bool:
    match state:
        case TakerCompleted() | ProviderCompleted():
            return all(found.get(end) is not None for end in LegEnd)
        case TakerRefunded():
            return LegEnd.SOURCE in found
        case _:
            return True
