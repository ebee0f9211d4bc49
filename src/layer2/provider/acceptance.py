"""Accepts swaps: checks a taker's request, signs the terms and journals them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layer2.errors import BadAnswer, IdempotencyConflict, InvalidRequest, QuoteRefused
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import LegState, Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock
from layer2.ports.journal import Json, Role, SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.ports.signing import IdentitySigner
from layer2.provider.bounds import Limits
from layer2.provider.inventory import Inventory
from layer2.provider.open_swaps import OpenSwap, exposure_on, taker_of
from layer2.provider.quotes import QuoteBook
from layer2.swap_engine.records import agreed_record
from layer2.swap_rules.agreement import SwapRequest, build_terms, check_request_named, provider_request
from layer2.terms.documents import QuoteTerms, Scheme, Signature, SignedTerms, Terms
from layer2.terms.signing import terms_hash, write_signed_terms

__all__ = ["Acceptance", "stored_terms"]


class Acceptance:
    """Accepts one swap at a time.

    The caller serialises the calls, so that limits, money and hash are checked and reserved together.

    Args:
        legs: the parts in swaps of all layers; those of the swap must be up.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        rules: TimelockSettings,
        quotes: QuoteBook,
        inventory: Inventory,
        legs: Mapping[Layer2ProtocolType, HtlcLayer],
        journal: SwapJournal,
        signer: IdentitySigner,
        clock: Clock,
    ) -> None:
        self._limits = limits
        self._rules = rules
        self._quotes = quotes
        self._inventory = inventory
        self._legs = legs
        self._journal = journal
        self._signer = signer
        self._clock = clock
        # Reading terms costs more than comparing records.
        self._known: dict[SwapId, OpenSwap] = {}

    async def open_swaps(self) -> Sequence[OpenSwap]:
        """This provider's swaps that have not ended.

        Raises:
            JournalError: the journal cannot be read.
        """
        records = await self._journal.list(role=Role.PROVIDER, open_only=True)
        known, self._known = self._known, {}
        for record in records:
            before = known.get(record.swap_id)
            if before is None or before.record != record:
                before = OpenSwap.read(record, self._rules)
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
        now = int(self._clock.now())
        # Before a node does any work for a stranger.
        check_request_named(quote, request, now, self._rules)
        swaps = await self.open_swaps()
        self._check_places(swaps, request, now)
        self._quotes.check_finality(quote, exposure_on(quote.source.protocol, swaps))
        await self._inventory.check(quote, swaps, now)
        terms = await self._terms(quote, request, now)
        digest = terms_hash(terms)
        htlcs = [
            (Htlc(leg, terms.payment_hash, digest), side)
            for leg, side in ((terms.source, Side.PAYEE), (terms.destination, Side.PAYER))
        ]
        try:
            for htlc, side in htlcs:
                legs = self._legs[htlc.leg.protocol]
                await self._check_unused(htlc, side)
                await legs.check_can_finish(htlc, side)
                await legs.reserve(htlc, side)
            return await self._journaled(terms, digest, request, now)
        except BaseException:
            for htlc, _ in htlcs:
                self._legs[htlc.leg.protocol].free(htlc)
            raise

    def _check_places(self, swaps: Sequence[OpenSwap], request: SwapRequest, now: int) -> None:
        if any(swap.terms.payment_hash == request.payment_hash for swap in swaps if swap.binds_hash):
            raise IdempotencyConflict("another open swap has this payment hash", code="payment_hash_used")
        taken = [swap for swap in swaps if swap.takes_place(now)]
        if len(taken) >= self._limits.open_swaps or len(swaps) >= self._limits.unfinished_swaps:
            raise QuoteRefused("too many swaps are open", code="too_many_swaps")
        taker = taker_of(request.source, request.destination)
        if sum(swap.taker == taker for swap in taken) >= self._limits.open_swaps_per_taker:
            raise QuoteRefused("this account has too many open swaps here", code="too_many_swaps")

    async def _check_unused(self, htlc: Htlc, side: Side) -> None:
        """Check that nothing was paid on the leg and that the preimage was not shown there.

        A payment for another purpose must not count for this swap.

        Raises:
            IdempotencyConflict: code ``payment_hash_used``.
            NodeError: the leg cannot be read.
        """
        view = await self._legs[htlc.leg.protocol].observe(htlc, side)
        if view.state is not LegState.NONE or view.preimage is not None:
            raise IdempotencyConflict("this payment hash was used before", code="payment_hash_used")

    async def _terms(self, quote: QuoteTerms, request: SwapRequest, now: int) -> Terms:
        source = self._legs[quote.source.protocol]
        height = (await source.read_clock()).height if quote.by_height else 0
        named = await source.offer(provider_request(quote, request, now, height, self._rules))
        try:
            return build_terms(quote, request, now, self._rules, provider_named=named, height=height)
        except InvalidRequest as error:
            if not named:
                raise
            # The taker's values were checked before, so the value of this provider's node is invalid.
            layer = quote.source.protocol.value
            raise BadAnswer(f"our {layer} node returned an invalid offer: {error.message}", protocol=layer) from error

    async def _journaled(self, terms: Terms, digest: bytes, request: SwapRequest, now: int) -> SwapRecord:
        signature = Signature(Scheme.BIP340, await self._signer.sign_schnorr(digest))
        return await self._journal.create(
            agreed_record(
                signed_terms=write_signed_terms(SignedTerms(terms, signature)),
                payment_hash=request.payment_hash,
                swap_id=request.swap_id,
                quote_id=request.quote_id,
                access=request.access_hash,
                request=_write_request(request),
                now=now,
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


def _write_request(request: SwapRequest) -> dict[str, str]:
    return {
        "quote_id": request.quote_id,
        "payment_hash": request.payment_hash.hex(),
        "source": request.source,
        "destination": request.destination,
    }
