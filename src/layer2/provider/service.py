"""The calls of a provider: its offer, new swaps, and the state of its swaps.

A swap becomes binding when the journal holds its terms. From then on the engine carries it out, even if the taker
never receives the answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import structlog

from layer2.aio.time_limit import time_limit
from layer2.assembly import Layers
from layer2.errors import (
    InvalidRequest,
    JournalError,
    Layer2Error,
    QuoteExpired,
    QuoteRefused,
    TaskCancelled,
    UnknownTransfer,
)
from layer2.legs.kinds import write_offer
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import Release, Verb
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock, Entropy
from layer2.ports.journal import Delivery, Json, Role, SwapJournal, SwapRecord
from layer2.ports.signing import IdentitySigner
from layer2.proofs.statement import write_signed_statement
from layer2.provider.acceptance import Acceptance, stored_terms
from layer2.provider.admission import Admission
from layer2.provider.bounds import Limits
from layer2.provider.nodes import Nodes
from layer2.provider.pricing import PriceList
from layer2.provider.quotes import QuoteRequest, Quotes
from layer2.provider.statements import StatementIssuer
from layer2.provider.swap_book import SwapBook
from layer2.swap_engine.engine import SwapEngine
from layer2.swap_engine.records import outlook_of, record_terms
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.timelocks import PairDurations, pairs_of
from layer2.terms.documents import QuoteTerms, SignedQuote
from layer2.terms.transfers import Actor

__all__ = ["AccessRefused", "SwapProvider"]

LOG: Final = structlog.get_logger("layer2.provider")
_LONGEST_ACCEPTANCE_SECONDS = 15.0
"""A taker gets an answer by then. It is more than the limit of the nodes' checks, which name what was late."""
# The outlook calls the provider YOU. The taker reads the status.
_NAMES = {Actor.YOU: "provider", Actor.PROVIDER: "taker", Actor.NOBODY: "nobody"}


class AccessRefused(Layer2Error):
    """The token is not the one that the taker chose for this swap."""

    code = "access"


@dataclass(slots=True, kw_only=True, eq=False)
class SwapProvider:
    """Issues quotes, accepts swaps, and reports their state. Belongs to one event loop.

    Any number of front ends share a journal: what they must agree on is in it, and ``Acceptance`` says how.
    """

    prices: PriceList
    limits: Limits
    rules: TimelockSettings
    signer: IdentitySigner
    journal: SwapJournal
    nodes: Nodes
    layers: Layers
    engine: SwapEngine
    """It must announce every change to ``book``."""
    book: SwapBook
    clock: Clock
    entropy: Entropy
    _quotes: Quotes = field(init=False)
    _acceptance: Acceptance = field(init=False)
    _statements: StatementIssuer = field(init=False)
    _quoting: Admission = field(init=False)
    _accepting: Admission = field(init=False)
    _stating: Admission = field(init=False)
    _under_way: dict[SwapId, asyncio.Task[SwapRecord]] = field(default_factory=dict)
    """The acceptances that have not ended. Requests with the same id share one."""
    _is_draining: bool = False

    def __post_init__(self) -> None:
        self._quotes = Quotes(
            prices=self.prices,
            rules=self.rules,
            signer=self.signer,
            clock=self.clock,
            entropy=self.entropy,
        )
        self._acceptance = Acceptance(
            limits=self.limits,
            rules=self.rules,
            quotes=self._quotes,
            book=self.book,
            nodes=self.nodes,
            layers=self.layers,
            journal=self.journal,
            engine=self.engine,
            signer=self.signer,
            clock=self.clock,
        )
        self._statements = StatementIssuer(
            journal=self.journal, layers=self.layers, signer=self.signer, book=self.book, clock=self.clock
        )
        self._quoting, self._accepting, self._stating = (Admission(self.limits.max_acceptances) for _ in range(3))

    async def info(self) -> dict[str, object]:
        """The offer of this provider, for ``GET /v1/info``."""
        offers = self.nodes.offers
        reason = await self.problem()
        pairs = pairs_of(offers, self.rules)
        problems = await asyncio.gather(*(self.problem(*pair) for pair in pairs))
        return {
            "identity_key": self.signer.public_key.hex(),
            "network": self.rules.network,
            "layers": {layer.value: write_offer(offer) for layer, offer in offers.items()},
            "pairs": [self._described(*pair, durations) for pair, durations in pairs.items()],
            "health": {"ready": None in problems, "reason": reason},
        }

    async def problem(self, *layers: Layer2ProtocolType) -> str | None:
        """The reason, for strangers, why no new swap between these layers is accepted now, or None.

        Args:
            layers: omitted, all layers.
        """
        if self._is_draining:
            return "the provider is stopping"
        return await self.nodes.problem(layers or self.nodes.layers)

    async def quote(self, request: QuoteRequest) -> SignedQuote:
        """A signed quote.

        Raises:
            QuoteRefused: code ``busy`` or ``not_ready``.
            InvalidRequest, SignerError: as ``Quotes.issue``.
            JournalError: this version cannot read an open swap.
        """
        # Before a place is taken: a node that does not answer must not hold up the quotes of other pairs.
        await self._check_ready(*(each for each in (request.source, request.destination) if each in self.nodes.layers))
        async with self._quoting.place():
            exposure = self.book.exposure_on(request.source)
            return await self._quotes.issue(request, self.nodes.offers, exposure)

    async def open_swap(self, request: SwapRequest, quote: SignedQuote) -> Json:
        """Accept a swap and return its signed terms from the journal. The same request returns the same terms.

        Args:
            quote: the one that the request names. Any front end of this provider can have issued it.

        Raises:
            IdempotencyConflict: code ``swap_conflict`` (another request has this id) or ``payment_hash_used``.
            QuoteExpired: the quote has expired or was used, or a new one would require a longer wait.
            InvalidRequest: a value of the taker is invalid, or this provider did not sign the quote; the code names it.
            FundsRulesError: the deadlines leave too little margin.
            QuoteRefused: code ``busy``, ``too_many_swaps`` or ``not_ready``.
            InsufficientFunds, NodeError, SignerError, JournalError: the swap could not be completed now.
        """
        task = self._under_way.get(request.swap_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._opened(request, quote), name="layer2-acceptance")
            self._under_way[request.swap_id] = task
            task.add_done_callback(lambda ended: self._ended(request.swap_id, ended))
        # The acceptance continues without its callers: one that leaves takes nothing from the others.
        async with time_limit(asyncio.timeout(_LONGEST_ACCEPTANCE_SECONDS), _no_answer):
            record = await asyncio.shield(task)
        return stored_terms(record, request)

    async def _opened(self, request: SwapRequest, signed: SignedQuote) -> SwapRecord:
        async with self._accepting.place():
            known = await self.journal.load(request.swap_id)
            if known is not None:
                return self._repeated(known, request)
            quote = await self._quoted(request, signed)
            # Before the nodes work for it. When the swap is written, the journal decides.
            used = await self.journal.find_quote(Role.PROVIDER, quote.quote_id)
            if used is not None:
                return self._repeated(used, request)
            # It may have expired meanwhile.
            self._quotes.check_open(quote, self.nodes.offers)
            record = await self._acceptance.accept(quote, request)
        LOG.info(
            "swap_agreed",
            swap_id=request.swap_id,
            source=quote.source.protocol.value,
            destination=quote.destination.protocol.value,
            amount_sat=quote.amount,
            fee_sat=quote.provider_fee + quote.network_fee,
        )
        return record

    async def _quoted(self, request: SwapRequest, signed: SignedQuote) -> QuoteTerms:
        """The quote of a request, which this provider signed, between layers that are ready."""
        quote = signed.quote
        if quote.quote_id != request.quote_id:
            raise InvalidRequest("the request is for another quote", code="quote_id")
        self._quotes.check_signed(signed)
        if self._is_draining:
            await self._check_ready()
        await self._check_ready(*(layer for layer in quote.pair if layer in self.nodes.layers))
        return quote

    def _repeated(self, known: SwapRecord, request: SwapRequest) -> SwapRecord:
        """The swap that was accepted for this request."""
        if known.swap_id != request.swap_id:
            raise QuoteExpired("another swap was agreed under this quote", remedy="request a new quote")
        stored_terms(known, request)
        if not known.is_final and not self._is_draining:
            # The first request may have ended right after the journal entry.
            self.engine.drive(known)
        return known

    def _ended(self, swap_id: SwapId, task: asyncio.Task[SwapRecord]) -> None:
        del self._under_way[swap_id]
        if not task.cancelled():
            # All its callers may have left.
            task.exception()

    async def status(self, swap_id: SwapId, token: bytes) -> dict[str, object]:
        """The state of a swap, for people.

        Raises:
            UnknownTransfer, AccessRefused: as ``check_access``.
        """
        record = await self.check_access(swap_id, token)
        outlook = outlook_of(record, self.rules)
        return {
            **_shown(record.version, record.state),
            "is_final": record.is_final,
            "next_actor": _NAMES[outlook.next_actor],
            "deadline": outlook.deadline,
            "terms": record.terms,
            "release": await self._release(record),
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        }

    async def statement(self, swap_id: SwapId, token: bytes) -> Json:
        """The signed completion statement of a swap, for the holder of its token.

        Raises:
            UnknownTransfer, AccessRefused: as ``check_access``.
            StatementRefused: code ``end_not_final`` (retryable), or ``no_statement``.
            QuoteRefused: code ``busy`` or ``not_ready``.
            NodeError, SignerError, JournalError: it cannot be made now.
        """
        record = await self.check_access(swap_id, token)
        async with self._stating.place(), time_limit(asyncio.timeout(_LONGEST_ACCEPTANCE_SECONDS), _no_answer):
            return write_signed_statement(await self._statements.make(record))

    async def _release(self, record: SwapRecord) -> Json | None:
        """The newest release of a source that its payer completes with a signature.

        It leaves with this answer. So it is recorded first, as every act: from a copy of the journal that lacks it, the
        provider would pay, and the taker take the source back, too.
        """
        signed = record_terms(record)
        if signed is None or signed.terms.source.release is not Release.COSIGNED:
            return None
        intents = await self.journal.intents(record.swap_id)
        newest = next((each for each in reversed(intents) if each.verb == Verb.RELEASE.value), None)
        if newest is None:
            return None
        if newest.delivery is not Delivery.TAKEN:
            try:
                await self.journal.begin_delivery(record, newest, self.entropy.token(16).hex())
                await self.journal.record_delivery(record, newest.number, Delivery.TAKEN)
            except JournalError as error:
                LOG.warning("release_waits", swap_id=record.swap_id, reason=error.message)
                return None
        act: Json = newest.act["act"]
        return act

    async def events(self, swap_id: SwapId, after: int) -> AsyncIterator[dict[str, object]]:
        """Every event of a swap with a version above ``after``, past events first, until the swap is final.

        Ends without an error when the provider stops: call again with the last version. The caller must have passed
        ``check_access``.
        """
        try:
            async with aclosing(self.engine.watch(swap_id)) as records:
                async for _ in records:
                    # Read from the journal, which has every version: a watch may skip some.
                    for event in await self.journal.events(swap_id):
                        if event["version"] > after:
                            after = event["version"]
                            yield {**_shown(after, event["state"]), "event": event["event"], "at": event["at"]}
        except TaskCancelled:
            return

    async def check_access(self, swap_id: SwapId, token: bytes) -> SwapRecord:
        """The record of a swap, for a caller with its token.

        Raises:
            UnknownTransfer: there is no such swap.
            AccessRefused: the token does not belong to this swap.
        """
        record = await self.journal.load(swap_id)
        if record is None or record.role is not Role.PROVIDER:
            raise UnknownTransfer("there is no such swap", code="unknown_swap")
        if record.access is None or not hmac.compare_digest(hashlib.sha256(token).digest(), record.access):
            raise AccessRefused("this access token does not belong to this swap")
        return record

    async def drain(self) -> int | None:
        """Refuse new swaps from now on. Return the unix seconds by which the provider must run again, or None."""
        self._is_draining = True
        if self._under_way:
            # Swaps that are being accepted, whose terms must not be lost.
            await asyncio.wait(self._under_way.values(), timeout=_LONGEST_ACCEPTANCE_SECONDS)
        return self.book.must_be_back_by()

    async def _check_ready(self, *layers: Layer2ProtocolType) -> None:
        problem = await self.problem(*layers)
        if problem is not None:
            raise QuoteRefused(problem, code="not_ready", retryable=True)

    def _described(
        self, source: Layer2ProtocolType, destination: Layer2ProtocolType, durations: PairDurations
    ) -> dict[str, object]:
        price = self.prices.price((source, destination))
        return {
            "source": source.value,
            "destination": destination.value,
            "min_amount": str(max(price.min_amount, durations.source.smallest, durations.destination.smallest)),
            "max_amount": str(price.max_amount),
            "fee_ppm": price.fee_ppm,
            "base_fee": str(price.base_fee),
            "network_fee": str(price.network_fee),
            "collect_by": durations.collect_by,
            "known": durations.known,
            "source_deadline": durations.source_deadline,
            "worst": durations.worst,
        }


def _no_answer() -> QuoteRefused:
    return QuoteRefused("the provider answers too late", code="not_ready", retryable=True)


def _shown(version: int, state: Json) -> dict[str, object]:
    shown = ("state", "has_arrived", "source_tx_id", "destination_tx_id", "reason")
    return {"version": version, **{name: state[name] for name in shown if name in state}}
