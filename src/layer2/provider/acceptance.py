"""Accepts swaps: checks a taker's request, signs the terms and journals them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from layer2.aio.time_limit import time_limit
from layer2.assembly import Layers
from layer2.errors import (
    BadAnswer,
    IdempotencyConflict,
    InsufficientFunds,
    InvalidRequest,
    JournalError,
    NodeError,
    NodeUnreachable,
    QuoteRefused,
)
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import LegState, Side
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock
from layer2.ports.journal import Json, Role, SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.ports.signing import IdentitySigner
from layer2.provider.bounds import Limits
from layer2.provider.inventory import check_inventory
from layer2.provider.nodes import Nodes
from layer2.provider.open_swaps import OpenSwap, address_of
from layer2.provider.quotes import Quotes
from layer2.provider.swap_book import SwapBook
from layer2.swap_engine.engine import SwapEngine
from layer2.swap_engine.records import record_terms
from layer2.swap_rules.agreement import SwapRequest, build_terms, check_request_named, provider_request
from layer2.swap_rules.states import ProviderAgreed, write_state
from layer2.terms.documents import QuoteTerms, Scheme, Signature, SignedTerms, Terms
from layer2.terms.signing import read_signed_terms, terms_hash, write_signed_terms

__all__ = ["Acceptance", "stored_terms"]

LOG: Final = structlog.get_logger("layer2.provider")
_LONGEST_CHECKS_SECONDS: Final = 10.0
"""The limit of the nodes' checks of one swap: a taker waits at least this long for an answer."""
_LOOK_AGAIN_SECONDS: Final = 1.0
_LAST_TRIES: Final = 3
"""Of a cancelled acceptance, whose journal may be closed already."""


@dataclass(slots=True, kw_only=True, eq=False)
class Acceptance:
    """Accepts swaps. Of a swap id, at most one acceptance may be under way.

    A swap is reserved in one step, without a pause, by what was read of the nodes before. Then it is pending, and the
    nodes are asked. The transaction that writes it decides: if another front end has accepted a swap meanwhile, nothing
    is written, and this one is reserved again, after that swap.
    """

    limits: Limits
    rules: TimelockSettings
    quotes: Quotes
    book: SwapBook
    nodes: Nodes
    layers: Layers
    """All layers; those of the swap must be up."""
    journal: SwapJournal
    engine: SwapEngine
    signer: IdentitySigner
    clock: Clock

    async def accept(self, quote: QuoteTerms, request: SwapRequest) -> SwapRecord:
        """Check, sign and journal a swap, and pass it to the engine. Its id must not be in the journal.

        Raises:
            InvalidRequest: a value of the taker is invalid; the code names it.
            IdempotencyConflict: code ``payment_hash_used``: by an open swap, or on a leg according to a node.
            QuoteRefused: code ``too_many_swaps``, or ``not_ready``: a node answers too late.
            QuoteExpired: the swap requires a longer wait than the quote.
            FundsRulesError: the deadlines leave too little margin.
            InsufficientFunds, NodeError, SignerError, JournalError: the swap could not be completed now.
        """
        # The clock of the front end that issued the quote may be ahead, and no terms are older than their quote.
        now = max(int(self.clock.now()), quote.issued_at)
        # Before a node does any work for a stranger.
        check_request_named(quote, request, now, self.rules)
        reads = self._reserve(quote, request)
        htlcs: list[Htlc] = []
        try:
            async with time_limit(asyncio.timeout(_LONGEST_CHECKS_SECONDS), _too_slow):
                record = await self._prepared(quote, request, now, htlcs)
        except BaseException as error:
            self._release(request, htlcs)
            if isinstance(error, NodeError | InsufficientFunds):
                self.nodes.doubt(*quote.pair)
            raise
        return await self._journaled(record, quote, request, reads, htlcs)

    def _reserve(self, quote: QuoteTerms, request: SwapRequest) -> int:
        """Check hash, places, finality and money, and reserve them. Nothing else can happen in between.

        Returns:
            The count of ``SeenSwaps.reads`` at which this was decided.
        """
        # The journal has just shown that an earlier try, whose outcome was unknown, wrote nothing.
        self.book.withdraw(request.swap_id)
        if request.swap_id in self.book:
            # The next try finds it in the journal.
            raise QuoteRefused("another front end has just accepted this swap", code="busy", retryable=True)
        now, pending = int(self.clock.now()), OpenSwap.pending(quote, request)
        self.book.check_places(self.limits, pending, now)
        self.quotes.check_finality(quote, self.book.exposure_on(quote.source.protocol))
        for layer in quote.pair:
            reading = self.nodes.reading(layer)
            if reading is None or reading.balances is None:
                raise QuoteRefused(f"the provider's {layer.value} node is not ready", code="not_ready", retryable=True)
            promised = self.book.promised_on(layer, now, reading.began)
            check_inventory(layer, reading.balances, promised, self.limits.gas_per_swap_wei, quote)
        self.quotes.bind(quote.quote_id, request.swap_id)
        self.book.add(request.swap_id, pending)
        return self.book.seen.reads

    def _release(self, request: SwapRequest, htlcs: Sequence[Htlc]) -> None:
        self.book.withdraw(request.swap_id)
        self.quotes.unbind(request.quote_id, request.swap_id)
        self._free(htlcs)

    def _free(self, htlcs: Sequence[Htlc]) -> None:
        for htlc in htlcs:
            self.layers.legs[htlc.leg.protocol].free(htlc)

    async def _prepared(self, quote: QuoteTerms, request: SwapRequest, now: int, htlcs: list[Htlc]) -> SwapRecord:
        """The record of a swap that both nodes can finish. It adds the legs for which it may reserve something."""
        terms = await self._terms(quote, request, now)
        await self._check_unreleased(terms)
        digest = terms_hash(terms)
        source, destination = (Htlc(leg, terms.payment_hash, digest) for leg in (terms.source, terms.destination))
        htlcs += source, destination
        await _side_by_side(
            self._check_unused(source, Side.PAYEE),
            self._check_unused(destination, Side.PAYER),
            self._leg(source).check_can_finish(source, Side.PAYEE),
            self._leg(destination).check_can_finish(destination, Side.PAYER),
        )
        await self._leg(source).reserve(source, Side.PAYEE)
        await self._leg(destination).reserve(destination, Side.PAYER)
        signature = Signature(Scheme.BIP340, await self.signer.sign_schnorr(digest))
        return SwapRecord(
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

    def _leg(self, htlc: Htlc) -> HtlcLayer:
        return self.layers.legs[htlc.leg.protocol]

    async def _journaled(
        self, record: SwapRecord, quote: QuoteTerms, request: SwapRequest, reads: int, htlcs: Sequence[Htlc]
    ) -> SwapRecord:
        """Write the swap, and pass it to the engine.

        An error or a cancellation does not show whether it was written, so the journal is asked. Until it answers, the
        swap stays reserved. A process that ends does not wait for it: the next start reads the journal.
        """
        try:
            created = await self._written(record, quote, request, reads)
        except BaseException as error:
            tries = None if isinstance(error, Exception) else _LAST_TRIES
            try:
                written = await self._looked_up(record.swap_id, tries)
            except JournalError:
                raise error from None
            if written is None:
                self._release(request, htlcs)
                raise
            self._agreed(written, record, htlcs)
            if not isinstance(error, Exception):
                raise
            return written
        self._agreed(created, record, htlcs)
        return created

    async def _written(self, record: SwapRecord, quote: QuoteTerms, request: SwapRequest, reads: int) -> SwapRecord:
        """Write the swap, decided by all swaps that are in the journal then.

        Returns:
            What the journal has: another front end may have accepted the same request.

        Raises:
            IdempotencyConflict: code ``swap_conflict``: another swap was agreed under the quote.
            As ``accept``: what others have accepted leaves no place or no money.
        """
        while (created := await self._tried(record, reads)) is None:
            await self.book.read_others(self.journal)
            if not self.book.is_pending(record.swap_id) and (known := await self.journal.load(record.swap_id)):
                return known
            reads = self._reserve(quote, request)
            await self._check_unreleased(read_signed_terms(record.terms).terms)
        if created.swap_id != record.swap_id:
            raise _quote_used()
        return created

    async def _tried(self, record: SwapRecord, reads: int) -> SwapRecord | None:
        try:
            return await self.journal.accept(record, self.book.seen, reads)
        except IdempotencyConflict as error:
            raise _quote_used() from error

    async def _looked_up(self, swap_id: SwapId, tries: int | None) -> SwapRecord | None:
        for number in itertools.count(1):
            try:
                return await self.journal.load(swap_id)
            except JournalError as error:
                LOG.error("swap_outcome_unknown", swap_id=swap_id, error=str(error))
                if number == tries:
                    raise
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        raise AssertionError("the loop has no end")

    def _agreed(self, record: SwapRecord, mine: SwapRecord, htlcs: Sequence[Htlc]) -> None:
        self.book.update(record)
        self.quotes.unbind(str(mine.quote_id), mine.swap_id)
        if record.terms != mine.terms:
            # Those of another front end count.
            self._free(htlcs)
        self.engine.drive(record)

    async def _check_unreleased(self, terms: Terms) -> None:
        """Check that no signature which released an earlier swap can return the funding of this one.

        The signature fits every swap with the same address: the taker could be paid and take the source back. Swaps
        with the same address have the same hash.

        Raises:
            IdempotencyConflict: code ``payment_hash_used``.
            JournalError: the journal cannot be read.
        """
        address = address_of(terms)
        if address is None:
            return
        earlier = [swap.address for swap in self.book.under(terms.payment_hash)]
        ended = [record_terms(each) for each in await self.journal.released_under([terms.payment_hash])]
        earlier += [address_of(each.terms) for each in ended if each is not None]
        if address in earlier:
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


def _quote_used() -> IdempotencyConflict:
    return IdempotencyConflict("another swap was agreed under this quote", code="swap_conflict")


def _too_slow() -> QuoteRefused:
    return QuoteRefused("the provider's nodes answer too late", code="not_ready", retryable=True)


async def _side_by_side(*calls: Coroutine[object, None, None]) -> None:
    """Make all calls at the same time. The first error cancels the others, and is raised when they have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    if any(task.cancelled() for task in tasks):
        # A group ignores that, and a check that did not end has not passed.
        raise NodeUnreachable("a check of the node was cancelled", retryable=True)


def _write_request(request: SwapRequest) -> dict[str, str]:
    return {
        "quote_id": request.quote_id,
        "payment_hash": request.payment_hash.hex(),
        "source": request.source,
        "destination": request.destination,
    }
