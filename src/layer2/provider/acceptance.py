"""Accepts swaps: checks a taker's request, signs the terms and journals them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from layer2.assembly import Layers
from layer2.errors import BadAnswer, IdempotencyConflict, InvalidRequest, QuoteRefused
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import LegState, Side
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock
from layer2.ports.journal import Json, Role, SwapJournal, SwapRecord
from layer2.ports.signing import IdentitySigner
from layer2.provider.bounds import Limits
from layer2.provider.inventory import check_inventory
from layer2.provider.open_swaps import OpenSwap, exposure_on, taker_of
from layer2.provider.quotes import QuoteBook
from layer2.swap_engine.records import record_terms
from layer2.swap_rules.agreement import SwapRequest, build_terms, check_request_named, provider_request
from layer2.swap_rules.states import ProviderAgreed, write_state
from layer2.terms.documents import QuoteTerms, Scheme, Signature, SignedTerms, Terms
from layer2.terms.signing import terms_hash, write_signed_terms

__all__ = ["Acceptance", "stored_terms"]


@dataclass(slots=True, kw_only=True, eq=False)
class Acceptance:
    """Accepts one swap at a time.

    The caller serialises the calls, so that limits, money and hash are checked and reserved together.
    """

    limits: Limits
    rules: TimelockSettings
    quotes: QuoteBook
    layers: Layers
    """All layers; those of the swap must be up."""
    journal: SwapJournal
    signer: IdentitySigner
    clock: Clock
    _known: dict[SwapId, OpenSwap] = field(default_factory=dict)
    """The open swaps, because reading terms costs more than comparing records."""

    async def open_swaps(self) -> Sequence[OpenSwap]:
        """This provider's swaps that have not ended.

        Raises:
            JournalError: the journal cannot be read.
        """
        records = await self.journal.list(role=Role.PROVIDER, open_only=True)
        known, self._known = self._known, {}
        for record in records:
            before = known.get(record.swap_id)
            if before is None or before.record != record:
                before = OpenSwap.read(record, self.rules)
            self._known[record.swap_id] = before
        return tuple(self._known.values())

    async def accept(self, quote: QuoteTerms, request: SwapRequest) -> SwapRecord:
        """Check, sign and journal a swap.

        Raises:
            InvalidRequest: a value of the taker is invalid; the code names it.
            IdempotencyConflict: code ``payment_hash_used``: by an open swap, or on a leg according to a node.
            QuoteRefused: code ``too_many_swaps``.
            QuoteExpired: the swap requires a longer wait than the quote.
            FundsRulesError: the deadlines leave too little margin.
            InsufficientFunds, NodeError, SignerError, JournalError: the swap could not be completed now.
        """
        now = int(self.clock.now())
        # Before a node does any work for a stranger.
        check_request_named(quote, request, now, self.rules)
        swaps = await self.open_swaps()
        self._check_places(swaps, request, now)
        self.quotes.check_finality(quote, exposure_on(quote.source.protocol, swaps))
        await check_inventory(self.layers.clients, self.limits.gas_per_swap_wei, quote, swaps, now)
        terms = await self._terms(quote, request, now)
        await self._check_unreleased(terms, swaps)
        digest = terms_hash(terms)
        htlcs = [
            (Htlc(leg, terms.payment_hash, digest), side)
            for leg, side in ((terms.source, Side.PAYEE), (terms.destination, Side.PAYER))
        ]
        try:
            for htlc, side in htlcs:
                legs = self.layers.legs[htlc.leg.protocol]
                await self._check_unused(htlc, side)
                await legs.check_can_finish(htlc, side)
                await legs.reserve(htlc, side)
            return await self._journaled(terms, digest, request, now)
        except BaseException:
            for htlc, _ in htlcs:
                self.layers.legs[htlc.leg.protocol].free(htlc)
            raise

    def _check_places(self, swaps: Sequence[OpenSwap], request: SwapRequest, now: int) -> None:
        if any(swap.terms.payment_hash == request.payment_hash for swap in swaps if swap.binds_hash):
            raise IdempotencyConflict("another open swap has this payment hash", code="payment_hash_used")
        taken = [swap for swap in swaps if swap.takes_place(now)]
        if len(taken) >= self.limits.max_open_swaps or len(swaps) >= self.limits.max_unfinished_swaps:
            raise QuoteRefused("too many swaps are open", code="too_many_swaps")
        taker = taker_of(request.source, request.destination)
        if sum(swap.taker == taker for swap in taken) >= self.limits.max_open_swaps_per_taker:
            raise QuoteRefused("this account has too many open swaps here", code="too_many_swaps")

    async def _check_unreleased(self, terms: Terms, swaps: Sequence[OpenSwap]) -> None:
        """Check that no signature which released an earlier swap can return the funding of this one.

        The signature fits every swap with the same address: the taker could be paid and take the source back.

        Raises:
            IdempotencyConflict: code ``payment_hash_used``.
            JournalError: the journal cannot be read.
        """
        address = _address_of(terms)
        if address is None:
            return
        ended = [record_terms(each) for each in await self.journal.released_under(terms.payment_hash)]
        earlier = [*(each.terms for each in swaps), *(each.terms for each in ended if each is not None)]
        if any(_address_of(each) == address for each in earlier):
            raise IdempotencyConflict("this payment hash was used before", code="payment_hash_used")

    async def _check_unused(self, htlc: Htlc, side: Side) -> None:
        """Check that nothing was paid on the leg and that the preimage was not shown there.

        A payment for another purpose must not count for this swap.

        Raises:
            IdempotencyConflict: code ``payment_hash_used``.
            NodeError: the leg cannot be read.
        """
        view = await self.layers.legs[htlc.leg.protocol].observe(htlc, side)
        if view.state is not LegState.NONE or view.preimage is not None:
            raise IdempotencyConflict("this payment hash was used before", code="payment_hash_used")

    async def _terms(self, quote: QuoteTerms, request: SwapRequest, now: int) -> Terms:
        source, layer = self.layers.legs[quote.source.protocol], quote.height_from
        height = 0 if layer is None else (await self.layers.legs[layer].read_clock()).height
        named = await source.offer(provider_request(quote, request, now, height, self.rules))
        try:
            return build_terms(quote, request, now, self.rules, provider_named=named, height=height)
        except InvalidRequest as error:
            if not named:
                raise
            # The taker's values were checked before, so the value of this provider's node is invalid.
            name = quote.source.protocol.value
            raise BadAnswer(f"our {name} node returned an invalid offer: {error.message}", protocol=name) from error

    async def _journaled(self, terms: Terms, digest: bytes, request: SwapRequest, now: int) -> SwapRecord:
        signature = Signature(Scheme.BIP340, await self.signer.sign_schnorr(digest))
        return await self.journal.create(
            SwapRecord(
                swap_id=request.swap_id,
                role=Role.PROVIDER,
                state=write_state(ProviderAgreed()),
                payment_hash=request.payment_hash,
                terms=write_signed_terms(SignedTerms(terms, signature)),
                request=_write_request(request),
                quote_id=request.quote_id,
                access=request.access_hash,
                created_at=now,
                updated_at=now,
            )
        )


def stored_terms(record: SwapRecord, request: SwapRequest) -> Json:
    """The signed terms of a swap that was accepted for exactly this request.

    Raises:
        IdempotencyConflict: code ``swap_conflict``.
    """
    is_same = (
        record.role is Role.PROVIDER
        and record.swap_id == request.swap_id
        and dict(record.request) == _write_request(request)
        and record.access == request.access_hash
    )
    if not is_same or record.terms is None:
        raise IdempotencyConflict("another request has this swap id", code="swap_conflict")
    return record.terms


def _address_of(terms: Terms) -> str | None:
    """The address of a source that others can fund."""
    asked = terms.source.funding_request(terms.fund_by)
    return None if asked is None else asked.address


def _write_request(request: SwapRequest) -> dict[str, str]:
    return {
        "quote_id": request.quote_id,
        "payment_hash": request.payment_hash.hex(),
        "source": request.source,
        "destination": request.destination,
    }
