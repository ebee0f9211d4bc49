"""A provider's decisions about new swaps, and what it says of those it has.

From a request to signed terms nothing is promised until the journal holds the terms; from there on the runner
carries the swap out, also if nobody ever hears the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from layer2.errors import (
    BadAnswer,
    IdempotencyConflict,
    InvalidRequest,
    Layer2Error,
    QuoteRefused,
    TaskCancelled,
    UnknownTransfer,
)
from layer2.formats.signed_terms import terms_hash, write_signed_terms
from layer2.formats.tagged_signature import tagged_hash
from layer2.interfaces import Clock, Entropy, IdentitySigner, Json, Role, SwapJournal, SwapRecord
from layer2.layers import Layer2ProtocolType
from layer2.protocol_client import OfferRequest
from layer2.provider.inventory import Inventory, ProviderLayer
from layer2.provider.open_swaps import OpenSwap
from layer2.provider.pricing import Pricing
from layer2.provider.quotes import ProviderFacts, QuoteBook
from layer2.swap_engine.records import agreed_record, outlook_of
from layer2.swap_rules.agreement import SwapRequest, build_terms, hold_invoice_needs
from layer2.swap_rules.legs import Htlc, Side
from layer2.swap_rules.offers import check_own_account
from layer2.swap_rules.quotes import PAIRS
from layer2.swap_rules.timelocks import TimelockSettings
from layer2.terms import QuoteTerms, SignedQuote, SignedTerms, Terms
from layer2.transactions import SwapId
from layer2.transfers import Actor

__all__ = ["Limits", "SwapDriver", "SwapProvider", "swap_tag"]

_HEALTH_SECONDS = 5
# The journal's outlook is the provider's own; whoever reads the status is somebody else.
_NAMES = {Actor.YOU: "provider", Actor.PROVIDER: "taker", Actor.NOBODY: "nobody"}


class SwapDriver(Protocol):
    """What a provider asks of ``swap_engine.runner.SwapRunner``."""

    def drive(self, record: SwapRecord) -> None: ...

    def watch(self, swap_id: SwapId) -> AsyncGenerator[SwapRecord, None]: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What strangers may take up."""

    open_swaps: int
    """Swaps that bind a hash, and money of the provider's, at once."""
    open_swaps_per_taker: int
    """Of these, for one account on the EVM side."""
    watched_swaps: int
    """Swaps that have not ended, also those that bind nothing and are only watched for a late lock: each is a task
    that asks the nodes at every block, and to open one without ever funding it costs a stranger nothing."""
    open_quotes: int
    event_streams: int
    gas_per_swap: int
    """Wei that are kept back for each open swap."""


class SwapProvider:
    """Quotes, accepts swaps, and tells about them. Belongs to one event loop; one instance a journal.

    Args:
        layers: the provider's own client of each layer.
        runner: carries the accepted swaps out.
    """

    def __init__(
        self,
        *,
        facts: ProviderFacts,
        pricing: Pricing,
        limits: Limits,
        settings: TimelockSettings,
        signer: IdentitySigner,
        journal: SwapJournal,
        layers: Mapping[Layer2ProtocolType, ProviderLayer],
        runner: SwapDriver,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.limits = limits
        self._facts = facts
        self._pricing = pricing
        self._settings = settings
        self._signer = signer
        self._journal = journal
        self._layers = layers
        self._runner = runner
        self._clock = clock
        self._quotes = QuoteBook(facts, pricing, settings, signer, clock, entropy, limits.open_quotes)
        self._inventory = Inventory(layers, limits.gas_per_swap)
        # Limits, inventory and the hash are checked and taken in one go.
        self._accepting = asyncio.Lock()
        self._is_draining = False
        self._health: tuple[float, str | None] | None = None
        self._log = structlog.get_logger("layer2.provider")

    async def info(self) -> dict[str, Any]:
        """What this provider offers, for ``GET /v1/info``."""
        problem = await self.problem()
        pricing, facts = self._pricing, self._facts
        return {
            "identity_key": self._signer.public_key.hex(),
            "network": self._settings.network,
            "pairs": [
                {"source": source.value, "destination": destination.value}
                for source, destination in sorted(PAIRS, key=lambda pair: pair[0].value)
            ],
            "limits": {"min_amount": str(pricing.min_amount), "max_amount": str(pricing.max_amount)},
            "fees": {
                "fee_ppm": pricing.fee_ppm,
                "base_fee": str(pricing.base_fee),
                "network_fee": str(pricing.network_fee),
            },
            "chain_id": facts.chain_id,
            "contract": facts.contract.hex(),
            "token": facts.token.hex(),
            "token_decimals": facts.token_decimals,
            "lightning_network": facts.lightning_network,
            "node_key": facts.node_key.hex(),
            "health": {"ready": problem is None, "reason": problem},
        }

    async def problem(self) -> str | None:
        """Why no new swaps are taken now, in words that strangers may read, or None.

        The nodes are asked at most every few seconds, however often this is called.
        """
        if self._is_draining:
            return "the provider is stopping"
        now = self._clock.now()
        if self._health is None or not 0 <= now - self._health[0] < _HEALTH_SECONDS:
            self._health = (now, await self._look_at_nodes())
        return self._health[1]

    async def quote(
        self, asset: str, amount: int, source: Layer2ProtocolType, destination: Layer2ProtocolType
    ) -> SignedQuote:
        """Issue a signed quote; see ``QuoteBook.issue``.

        Raises:
            QuoteRefused: code ``not_ready``, or too many are open.
        """
        await self._check_ready()
        return await self._quotes.issue(asset, amount, source, destination)

    async def open_swap(self, request: SwapRequest) -> Json:
        """Accept a swap and return its signed terms as they are journaled; the same request gets the same ones.

        Raises:
            IdempotencyConflict: code ``swap_conflict`` (another request under this id) or ``payment_hash_used``.
            QuoteExpired: no open quote of that id.
            InvalidRequest: the offer is wrong; its code says in what.
            FundsRulesError: margins that do not hold.
            QuoteRefused: code ``too_many_swaps``, or ``not_ready``.
            InsufficientFunds, NodeError, SignerError, JournalError: it could not finish such a swap now.
        """
        async with self._accepting:
            known = await self._journal.load(request.swap_id)
            if known is not None:
                terms = _stored_terms(known, request)
                if not known.is_final and not self._is_draining:
                    # The first request may have been cut off right after the journal had it.
                    self._runner.drive(known)
                return terms
            await self._check_ready()
            quote = self._quotes.find(request.quote_id)
            record = await self._accept(quote, request)
            self._runner.drive(record)
        self._log.info(
            "swap_agreed",
            swap=swap_tag(request.swap_id),
            source=quote.source.value,
            destination=quote.destination.value,
            amount_sat=quote.amount,
        )
        return _stored_terms(record, request)

    async def status(self, swap_id: SwapId) -> dict[str, Any]:
        """A swap as this provider sees it, for people.

        Raises:
            UnknownTransfer: it has no such swap.
        """
        record = await self._load(swap_id)
        outlook = outlook_of(record, self._settings)
        return {
            **_described(record.version, record.state),
            "is_final": record.is_final,
            "next_actor": _NAMES[outlook.next_actor],
            "deadline": outlook.deadline,
            "terms": record.terms,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        }

    async def events(self, swap_id: SwapId, after: int) -> AsyncIterator[dict[str, Any]]:
        """Every event of a swap with a version above ``after``, those of the past first, until it is final.

        Ends without an error when the provider stops: ask again with the last version.

        Raises:
            UnknownTransfer: it has no such swap.
        """
        try:
            async with aclosing(self._runner.watch(swap_id)) as records:
                async for _ in records:
                    # The journal and not the watch has every version: a watch may skip some.
                    for event in await self._journal.events(swap_id):
                        if event["version"] > after:
                            after = event["version"]
                            yield {**_described(after, event["state"]), "event": event["event"], "at": event["at"]}
        except TaskCancelled:
            return

    async def check_known(self, swap_id: SwapId) -> None:
        """Raise UnknownTransfer where there is no such swap."""
        await self._load(swap_id)

    async def drain(self) -> int | None:
        """Take no new swaps from now on; say by when this provider must run again (unix seconds), if it must."""
        self._is_draining = True
        # A swap that is being accepted now is waited for, so that its terms are not lost on the way.
        async with self._accepting:
            swaps = await self._open_swaps()
        times = [swap.must_be_back_by(self._settings) for swap in swaps]
        return min((time for time in times if time is not None), default=None)

    async def _accept(self, quote: QuoteTerms, request: SwapRequest) -> SwapRecord:
        swaps, now = await self._open_swaps(), int(self._clock.now())
        self._check_places(swaps, request, now)
        await self._inventory.check(quote, swaps, now)
        hold_invoice = await self._hold_invoice(quote, request, now)
        terms = self._built(quote, request, now, hold_invoice)
        await self._check_can_finish(terms)
        digest = terms_hash(terms)
        signed = SignedTerms(terms, await self._signer.sign_schnorr(digest))
        return await self._journal.create(
            agreed_record(
                signed_terms=write_signed_terms(signed),
                payment_hash=request.payment_hash,
                swap_id=request.swap_id,
                request=_write_request(request),
                # Where another process shares the journal, the second to come gets the first one's record.
                idempotency_key=request.swap_id,
                now=now,
            )
        )

    def _check_places(self, swaps: Sequence[OpenSwap], request: SwapRequest, now: int) -> None:
        binding = [swap for swap in swaps if swap.is_binding(now)]
        if any(swap.terms.payment_hash == request.payment_hash for swap in binding):
            raise IdempotencyConflict("another open swap has this payment hash", code="payment_hash_used")
        if len(binding) >= self.limits.open_swaps or len(swaps) >= self.limits.watched_swaps:
            raise QuoteRefused("too many swaps are open", code="too_many_swaps")
        if sum(swap.taker == request.taker_address for swap in binding) >= self.limits.open_swaps_per_taker:
            raise QuoteRefused("this account has too many open swaps here", code="too_many_swaps")

    async def _hold_invoice(self, quote: QuoteTerms, request: SwapRequest, now: int) -> str | None:
        if quote.source is not Layer2ProtocolType.LIGHTNING:
            return None
        # Before the node keeps an invoice on a stranger's account.
        check_own_account(request.offer, request.taker_address)
        needs = hold_invoice_needs(quote, now, self._settings)
        return await self._layers[quote.source].offer(
            OfferRequest(
                payment_hash=request.payment_hash,
                amount=needs.amount,
                preimage=None,
                memo=request.swap_id,
                expiry_seconds=needs.expiry_seconds,
                final_cltv_delta=needs.final_cltv_delta,
            )
        )

    def _built(self, quote: QuoteTerms, request: SwapRequest, now: int, hold_invoice: str | None) -> Terms:
        try:
            return build_terms(quote, request, now, self._settings, hold_invoice=hold_invoice)
        except InvalidRequest as error:
            if hold_invoice is None:
                raise
            # The taker's part was checked before; what is left is the invoice of our own node.
            raise BadAnswer(f"the own node's hold invoice is wrong: {error.message}", protocol="LIGHTNING") from error

    async def _check_can_finish(self, terms: Terms) -> None:
        digest = terms_hash(terms)
        for leg, side in ((terms.source, Side.PAYEE), (terms.destination, Side.PAYER)):
            await self._layers[leg.protocol].check_can_finish(Htlc(leg, terms.payment_hash, digest), side)

    async def _check_ready(self) -> None:
        problem = await self.problem()
        if problem is not None:
            raise QuoteRefused(problem, code="not_ready", retryable=True)

    async def _look_at_nodes(self) -> str | None:
        for layer, client in self._layers.items():
            try:
                await client.read_clock()
            except Layer2Error as error:
                # What exactly is wrong with our node is for us and not for strangers.
                self._log.warning("node_not_ready", layer=layer.value, error=str(error))
                return f"the provider's {layer.value} node is not ready"
        return None

    async def _open_swaps(self) -> Sequence[OpenSwap]:
        records = await self._journal.list(role=Role.PROVIDER, open_only=True)
        return [OpenSwap.read(record) for record in records]

    async def _load(self, swap_id: SwapId) -> SwapRecord:
        record = await self._journal.load(swap_id)
        if record is None or record.role is not Role.PROVIDER:
            raise UnknownTransfer("there is no such swap", code="unknown_swap")
        return record


def swap_tag(swap_id: SwapId) -> str:
    """What a log may show of a swap's id: the same for the same id, and of no use to read the swap."""
    return tagged_hash("layer2/log/swap", swap_id.encode("ascii", errors="replace"))[:6].hex()


def _write_request(request: SwapRequest) -> dict[str, str]:
    return {
        "quote_id": request.quote_id,
        "payment_hash": request.payment_hash.hex(),
        "offer": request.offer,
        "taker_address": request.taker_address.hex(),
    }


def _stored_terms(record: SwapRecord, request: SwapRequest) -> Json:
    if record.role is not Role.PROVIDER or dict(record.request) != _write_request(request) or record.terms is None:
        raise IdempotencyConflict("another request was made under this swap id", code="swap_conflict")
    return record.terms


def _described(version: int, state: Json) -> dict[str, Any]:
    shown = ("state", "source_tx_id", "destination_tx_id", "reason")
    return {"version": version, **{name: state[name] for name in shown if name in state}}
