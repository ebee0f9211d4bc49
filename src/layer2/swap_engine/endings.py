"""The proof of a swap at its end, with a limited wait for the other party's evidence.

Nothing here decides about money. A proof may lack a leg. Failures here are logged and do not stop the swap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from layer2.errors import Layer2Error
from layer2.legs.evidence import LegEvidence
from layer2.legs.views import LegView, Side
from layer2.model.transactions import Preimage, SwapId
from layer2.swap_engine.surroundings import LONGEST_CALL_SECONDS, PartyLegs
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

LOG: Final = logging.getLogger("layer2.swap_engine")


@dataclass(frozen=True, slots=True)
class _Found:
    """The available evidence of both legs."""

    evidence: dict[LegEnd, LegEvidence | None]
    unread: frozenset[LegEnd]
    """Legs whose node could not be read."""


class Endings:
    """The proofs of one swap.

    Args:
        preimage: finds the swap's preimage in an observation; returns None while it is unknown.
    """

    def __init__(
        self,
        legs: PartyLegs,
        signed: SignedTerms,
        swap_id: SwapId,
        preimage: Callable[[Observed], Preimage | None],
        label: str,
    ) -> None:
        self._legs = legs
        self._signed = signed
        self._swap_id = swap_id
        self._preimage = preimage
        self._label = label
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
        if self._legs.around.make_proof is None or unfunded:
            return True
        found = await self._find(state, observed)
        if not self._is_complete(state, found):
            now, patience = asyncio.get_running_loop().time(), self._legs.around.rules.courtesy
            if self._ended_at is None:
                self._ended_at = now
                self.complete_by = int(self._legs.around.clock.now()) + patience
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
        waited, patience = asyncio.get_running_loop().time() - self._ended_at, self._legs.around.rules.courtesy
        return max(0.0, (patience / 2 if waited < patience / 2 else patience) - waited)

    async def save_arrival(self, state: State, observed: Observed) -> None:
        """Save a proof of what has arrived; a later proof replaces it.

        Raises:
            JournalError: the proof cannot be saved.
        """
        if self._legs.around.make_proof is not None:
            await self._save(await self._find(state, observed), state, observed)

    def _is_complete(self, state: State, found: _Found) -> bool:
        match state:
            case TakerCompleted() | ProviderCompleted():
                return None not in found.evidence.values()
            case TakerRefunded():
                return LegEnd.SOURCE not in found.unread
            case _:
                return True

    async def _find(self, state: State, observed: Observed) -> _Found:
        evidence: dict[LegEnd, LegEvidence | None] = {}
        unread: set[LegEnd] = set()
        for end in LegEnd:
            evidence[end], side = None, self._legs.sides.get(end)
            if side is None:
                preimage = self._preimage(observed)
                if preimage is not None:
                    evidence[end] = self._legs.swap.leg(end).evidence_of(preimage)
                continue
            try:
                async with asyncio.timeout(LONGEST_CALL_SECONDS):
                    evidence[end] = await self._legs.layer(end).evidence(self._legs.htlcs[end], side)
            except Exception as error:  # noqa: BLE001 - logged, with its traceback
                self._log(f"the evidence of the {end.value} cannot be read", error)
                unread.add(end)
        return _Found(evidence, frozenset(unread))

    async def _courtesy(self, state: State, observed: Observed) -> None:
        """Collect a leg for the other party if it has not done so: that claim then completes the proof."""
        if self._was_courteous or not isinstance(state, TakerCompleted | ProviderCompleted):
            return
        self._was_courteous = True
        views: dict[LegEnd, LegView | None] = {
            LegEnd.SOURCE: observed.source,
            LegEnd.DESTINATION: observed.destination,
        }
        preimage = self._preimage(observed)
        for end, side in self._legs.sides.items():
            view = views[end]
            pays = side is Side.PAYER and self._legs.swap.leg(end).anyone_collects
            if not pays or preimage is None or view is None or not holds_money(view):
                continue
            try:
                async with asyncio.timeout(LONGEST_CALL_SECONDS):
                    await self._legs.layer(end).courtesy(self._legs.htlcs[end], preimage)
            except Exception as error:  # noqa: BLE001 - logged, with its traceback
                self._log(f"the {end.value} cannot be collected for the other party", error)

    async def _save(self, found: _Found, state: State, observed: Observed) -> None:
        source, destination = (
            evidence or self._by_preimage(end, state, observed) for end, evidence in found.evidence.items()
        )
        make_proof = self._legs.around.make_proof
        if make_proof is None or (source is None and destination is None):
            return
        try:
            proof = make_proof(self._signed, source, destination)
        except Exception as error:  # noqa: BLE001 - logged, with its traceback
            self._log("no proof can be made from the evidence", error)
            return
        await self._legs.around.journal.save_proof(self._swap_id, proof)

    def _by_preimage(self, end: LegEnd, state: State, observed: Observed) -> LegEvidence | None:
        """The evidence that the preimage alone gives of a completed leg whose node shows nothing."""
        if not isinstance(state, TakerCompleted | ProviderCompleted):
            return None
        preimage = self._preimage(observed)
        return None if preimage is None else self._legs.swap.leg(end).evidence_of(preimage)

    def _log(self, what: str, error: Exception) -> None:
        trace = None if isinstance(error, Layer2Error | TimeoutError) else error
        LOG.warning("%s: %s: %s", self._label, what, error, exc_info=trace)
