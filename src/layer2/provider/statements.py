"""The completion statements of a provider: how it says that a swap ended, once its end is final on each leg.

It states only what its own nodes show when it is asked. The journal knows which evidence to show them. Nothing here
needs the swap's driver: it works for every ended swap, in every process that serves the provider.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from layer2.assembly import Layers
from layer2.errors import FormatError, JournalError, NodeUnreachable, ProofRefused, ProofUndecided, StatementRefused
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc
from layer2.legs.shown import BlockRef, EvidencePolicy, LegOutcome, Owed
from layer2.legs.views import LegState, LegView, Side, Verb
from layer2.model.transactions import Finality
from layer2.ports.clock import Clock
from layer2.ports.evidence import ConfirmsEvidence
from layer2.ports.journal import SwapJournal, SwapRecord
from layer2.ports.signing import IdentitySigner
from layer2.proofs.model import TransferProof, owed_of
from layer2.proofs.statement import (
    CompletionStatement,
    SignedStatement,
    StatedBlock,
    StatedFinality,
    StatedLeg,
    StatedOutcome,
    amounts_of,
    statement_digest,
)
from layer2.provider.swap_book import SwapBook
from layer2.swap_engine.records import record_state, record_terms
from layer2.swap_rules.machine import LegEnd
from layer2.swap_rules.states import ProviderCompleted, ProviderReleased
from layer2.terms.documents import Scheme, Signature, SignedTerms
from layer2.terms.signing import terms_hash

__all__ = ["StatementIssuer"]

LOG: Final = structlog.get_logger("layer2.provider")
_PAUSE_SECONDS: Final = 30.0
"""The pause that a taker is asked for while the end is not final."""
_OLDEST_SECONDS: Final = 7 * 24 * 3600
"""A leg of which the journal has no evidence is searched for until this long after the swap's end: the search reads the
blocks since the terms, and open swaps wait for it."""


@dataclass(frozen=True, slots=True)
class _End:
    """The final end of one leg."""

    outcome: LegOutcome | None
    """None if the leg was never funded."""
    stated: StatedLeg


@dataclass(frozen=True, slots=True)
class _Leg:
    """One leg from the provider's point of view."""

    end: LegEnd
    side: Side
    htlc: Htlc
    owed: Owed


@dataclass(slots=True, kw_only=True, eq=False)
class StatementIssuer:
    """Issues the statements of ended swaps, each once: the journal keeps it with the provider's proof."""

    journal: SwapJournal
    layers: Layers
    signer: IdentitySigner
    book: SwapBook
    clock: Clock
    _searching: asyncio.Lock = field(default_factory=asyncio.Lock)
    _in_vain: dict[Htlc, float] = field(default_factory=dict)
    """When a search last found no final end, by leg; for the time of the pause."""

    async def make(self, record: SwapRecord) -> SignedStatement:
        """The statement of a swap.

        Raises:
            StatementRefused: code ``end_not_final`` (retryable) or ``no_statement``.
            NodeError, SignerError, JournalError: it cannot be made now.
        """
        signed = record_terms(record)
        if signed is None or not record.is_final:
            raise _not_final("the swap has not ended")
        state = record_state(record)
        if not isinstance(state, ProviderCompleted | ProviderReleased):
            raise StatementRefused("the swap neither completed nor was refunded")
        if isinstance(state, ProviderReleased) and state.source_tx_id is None and not record.from_old_copy:
            # Such a swap costs a taker nothing, so its legs are not searched for at each request.
            raise StatementRefused("the taker never paid")
        if signed.terms.provider != self.signer.public_key:
            raise StatementRefused("the provider has another key than the one that signed the terms")
        stored = await self._proof(record, signed)
        if stored.statement is not None:
            return stored.statement
        statement = await self._stated(record, stored)
        signature = Signature(Scheme.BIP340, await self.signer.sign_schnorr(statement_digest(statement)))
        made = SignedStatement(statement, signature)
        try:
            proof = stored.with_statement(made)
        except ProofRefused as error:
            raise StatementRefused(f"the provider's own proof says otherwise: {error.check}") from error
        try:
            await self.journal.save_proof(record.swap_id, proof.to_bytes())
        except (JournalError, FormatError) as error:
            # The next request makes another one, which is as true. A taker can make evidence that leaves it no space.
            LOG.warning("statement_not_kept", swap_id=record.swap_id, reason=error.message)
        return made

    async def _proof(self, record: SwapRecord, signed: SignedTerms) -> TransferProof:
        """The provider's own proof of the swap; one without evidence if the journal has none."""
        data = await self.journal.load_proof(record.swap_id)
        return TransferProof(signed, None, None) if data is None else TransferProof.from_bytes(data)

    async def _stated(self, record: SwapRecord, proof: TransferProof) -> CompletionStatement:
        terms, digest = proof.terms.terms, terms_hash(proof.terms.terms)
        # The provider is the payee of the source and the payer of the destination.
        owed = owed_of(terms)
        source = _Leg(LegEnd.SOURCE, Side.PAYEE, Htlc(terms.source, terms.payment_hash, digest), owed[0])
        destination = _Leg(LegEnd.DESTINATION, Side.PAYER, Htlc(terms.destination, terms.payment_hash, digest), owed[1])
        # One after the other: if one is refused, no search for the other continues without a request.
        ends = [
            await self._end(record, leg, evidence)
            for leg, evidence in ((source, proof.source_leg), (destination, proof.destination_leg))
        ]
        outcome = _outcome(ends[0].outcome, ends[1].outcome)
        if isinstance(record_state(record), ProviderCompleted) is not (outcome is StatedOutcome.COMPLETED):
            raise StatementRefused("the provider's journal and its nodes do not agree on the end")
        received, paid = amounts_of(outcome, terms)
        return CompletionStatement(
            terms_hash=digest,
            outcome=outcome,
            received=received,
            paid=paid,
            source=ends[0].stated,
            destination=ends[1].stated,
            stated_at=int(self.clock.now()),
        )

    async def _end(self, record: SwapRecord, leg: _Leg, evidence: LegEvidence | None) -> _End:
        """The end of a leg, as the provider's node shows it now.

        Raises:
            StatementRefused: it is not final, or it can no longer be found.
        """
        if not record.from_old_copy and await self._was_never_funded(record, leg):
            return _End(None, StatedLeg(None, StatedFinality.UNFUNDED))
        if evidence is not None and leg.htlc.leg.ends_in_block:
            known = await self._confirmed(leg, evidence)
            if known is not None:
                return known
        if leg.htlc.leg.ends_in_block and self.clock.now() - record.updated_at > _OLDEST_SECONDS:
            raise StatementRefused("the swap ended too long ago, and the journal has no evidence of it")
        async with self._searching:
            self._check_pause(leg)
            try:
                return await self._searched(leg)
            except StatementRefused:
                self._in_vain[leg.htlc] = self.clock.now()
                raise

    def _check_pause(self, leg: _Leg) -> None:
        """Check that a chain was not searched for the leg just before: a taker can leave a release unused, and ask.

        Raises:
            StatementRefused: it was.
        """
        now = self.clock.now()
        self._in_vain = {htlc: at for htlc, at in self._in_vain.items() if now - at < _PAUSE_SECONDS}
        if leg.htlc.leg.ends_in_block and leg.htlc in self._in_vain:
            raise _not_final(f"the end on {leg.htlc.leg.protocol.value} was not final when it was last searched for")

    async def _was_never_funded(self, record: SwapRecord, leg: _Leg) -> bool:
        """Whether the leg is the provider's to fund, and the journal shows that no funding ever left."""
        if leg.side is not Side.PAYER:
            return False
        intents = await self.journal.intents(record.swap_id)
        return not any(
            each.verb == Verb.FUND.value and each.end == leg.end.value and each.delivery.is_out for each in intents
        )

    async def _confirmed(self, leg: _Leg, evidence: LegEvidence) -> _End | None:
        """The end that evidence shows, if the node has its block; None if the node has another one.

        Raises:
            StatementRefused: the block is not final yet.
        """
        protocol = leg.htlc.leg.protocol
        client: object = self.layers.clients.get(protocol)
        if not isinstance(client, ConfirmsEvidence):
            return None
        await self.layers.legs[protocol].join()
        try:
            shown = leg.htlc.leg.check_evidence(evidence, leg.owed, EvidencePolicy())
            is_canonical = shown.header is not None and await client.confirm_evidence(
                evidence, contract=shown.contract, finality=Finality.FINALIZED
            )
        except ProofRefused as error:
            LOG.warning("evidence_unusable", layer=protocol.value, reason=error.message)
            return None
        except ProofUndecided as error:
            raise _not_final(f"the end on {protocol.value} is not final yet") from error
        return _in_block(shown.outcome, shown.header) if is_canonical and shown.header is not None else None

    async def _searched(self, leg: _Leg) -> _End:
        """The end that the node finds."""
        htlc, protocol = leg.htlc, leg.htlc.leg.protocol
        layer = self.layers.legs.get(protocol)
        if layer is None:
            raise NodeUnreachable("the layer is not configured", protocol=protocol.value)
        try:
            view = await layer.observe(htlc, leg.side)
            if view.state is LegState.NONE and view.over:
                if not htlc.leg.ends_in_block:
                    # A Lightning node can have deleted what it paid, or what it was paid.
                    raise StatementRefused(f"the node on {protocol.value} has no payment, and one may have been made")
                return _End(None, StatedLeg(None, StatedFinality.UNFUNDED))
            outcome = _final_outcome(view)
            if outcome is None:
                raise _not_final(f"the end on {protocol.value} is not final yet")
            if not htlc.leg.ends_in_block:
                return _End(outcome, StatedLeg(None, StatedFinality.SETTLED))
            evidence = await layer.evidence(htlc, leg.side)
            # The end is final, and yet the evidence can be of a newer block, whose state a pruned node still has.
            known = None if evidence is None else await self._confirmed(leg, evidence)
            if known is None or known.outcome is not outcome:
                raise _not_final(f"the node shows no final evidence of the end on {protocol.value} now")
            return known
        finally:
            if not self.book.under(htlc.payment_hash):
                # The search made the layer follow the leg.
                layer.free(htlc)


def _in_block(outcome: LegOutcome, block: BlockRef) -> _End:
    return _End(outcome, StatedLeg(StatedBlock(block.number, block.hash), StatedFinality.FINALIZED))


def _final_outcome(view: LegView) -> LegOutcome | None:
    """How a leg ended, if that is final."""
    match view.state:
        case LegState.COLLECTED if view.final:
            return LegOutcome.COLLECTED
        case LegState.RETURNED if view.final or view.over:
            return LegOutcome.RETURNED
        case _:
            return None


def _outcome(source: LegOutcome | None, destination: LegOutcome | None) -> StatedOutcome:
    outcomes = {source, destination}
    if outcomes == {LegOutcome.COLLECTED}:
        return StatedOutcome.COMPLETED
    if LegOutcome.COLLECTED not in outcomes and LegOutcome.RETURNED in outcomes:
        return StatedOutcome.REFUNDED
    raise StatementRefused("one leg was collected and the other was not, or neither was funded")


def _not_final(problem: str) -> StatementRefused:
    refused = StatementRefused(problem, code="end_not_final")
    refused.retryable = True
    refused.retry_after = _PAUSE_SECONDS
    return refused
