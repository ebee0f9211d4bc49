"""Starts transfers: journals a plan, agrees on terms with the provider, and passes the swap to the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from hashlib import sha256
from typing import Final, Protocol, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from layer2.aio.time_limit import time_limit
from layer2.errors import (
    AsyncTimeout,
    IdempotencyConflict,
    InvalidRequest,
    JournalBusy,
    JournalError,
    Layer2Error,
    Outcome,
    StaleSwap,
    TaskCancelled,
)
from layer2.legs.leg import Htlc
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import LegState, Side
from layer2.manager.quoting import Quoter, asked_pause
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock, Entropy
from layer2.ports.journal import Role, SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.ports.signing import PreimageSource
from layer2.swap_engine.engine import SwapEngine
from layer2.swap_engine.records import read_request, record_state, write_request
from layer2.swap_rules.agreement import SwapRequest, check_terms, taker_requests
from layer2.swap_rules.states import TakerAbandoned, TakerAgreed, TakerPlanned, write_state
from layer2.terms.documents import SignedTerms
from layer2.terms.signing import terms_hash, write_signed_terms
from layer2.terms.transfers import Quote, TransferRequest

__all__ = ["Starter", "SwapSecrets", "maybe_under_way", "within"]

R = TypeVar("R")

NOTHING_LEFT: Final = "nothing has left your account"
_ENDED: Final = "the program ended before terms were agreed"
_CLOCKS_SECONDS: Final = 60
"""The clocks of two machines of a party may differ by this much."""


class SwapSecrets(PreimageSource, Protocol):
    """The secrets of the taker's swaps, derived from the swap seed."""

    def access_token(self, swap_id: SwapId) -> bytes:
        """The token that reads the swap at the provider, 32 bytes."""
        ...


def within(ends_at: float, what: str) -> AbstractAsyncContextManager[asyncio.Timeout]:
    """End the block at a time of the loop's clock.

    Args:
        what: the message of the error, such as "no quote was given".

    Raises:
        AsyncTimeout: the time is over; nothing was sent.
    """
    late = AsyncTimeout(
        f"{what} within the time limit", outcome=Outcome.NOT_SENT, remedy="call again with a longer timeout"
    )
    return time_limit(asyncio.timeout_at(ends_at), lambda: late)


@contextmanager
def maybe_under_way(swap_id: SwapId | None = None) -> Iterator[None]:
    """Set the outcome of a journal error in the block to UNKNOWN: a transfer may be open, so it is never NOT_SENT."""
    try:
        yield
    except JournalError as error:
        error.transfer_id, error.outcome = error.transfer_id or swap_id, Outcome.UNKNOWN
        raise


class _Attempt:
    """One running agreement, which can be stopped until the terms are agreed."""

    def __init__(self, swap_id: SwapId) -> None:
        self.swap_id = swap_id
        self.last_error: Layer2Error | None = None
        """The reason for the last retry."""
        self.stopped: str | None = None
        """The reason for the stop; None if it was not stopped."""
        self._work: asyncio.Task[SignedTerms] | None = None

    def stop(self, reason: str) -> None:
        """Stop the agreement, unless the terms are already agreed."""
        self.stopped = reason
        if self._work is not None:
            self._work.cancel()

    async def run(self, agree: Callable[[], Coroutine[object, None, SignedTerms]], ends_at: float) -> SignedTerms:
        """Run the agreement and return the terms.

        Raises:
            AsyncTimeout: the time is over.
            TaskCancelled: ``stop`` was called.
        """

        def late() -> AsyncTimeout:
            because = "" if self.last_error is None else f": {self.last_error.message}"
            error = AsyncTimeout(
                f"the time was over before terms were agreed{because}",
                operation="start_transfer_async",
                remedy="call again; the idempotency key stays free",
            )
            error.__cause__ = self.last_error
            return error

        if self.stopped is not None:
            raise TaskCancelled(self.stopped)
        self._work = asyncio.get_running_loop().create_task(agree())
        try:
            async with time_limit(asyncio.timeout_at(ends_at), late):
                return await self._work
        except asyncio.CancelledError:
            if self.stopped is None:
                raise
            raise TaskCancelled(self.stopped) from None


@dataclass(slots=True, kw_only=True, repr=False, eq=False)
class Starter:
    """Starts transfers. A start that fails before terms are agreed is abandoned, and releases its key and its quote."""

    journal: SwapJournal
    engine: SwapEngine
    legs: Mapping[Layer2ProtocolType, HtlcLayer]
    quoter: Quoter
    secrets: SwapSecrets
    rules: TimelockSettings
    clock: Clock
    entropy: Entropy
    shared: bool = False
    """Whether other processes act on the journal, too."""
    _attempts: dict[SwapId, tuple[_Attempt, asyncio.Task[SwapRecord]]] = field(default_factory=dict)

    async def known(self, key: str | None, request: TransferRequest) -> SwapRecord | None:
        """The transfer that holds the key, resumed if it is open. None if the key is free.

        Raises:
            IdempotencyConflict: the key belongs to another request.
        """
        if key is None:
            return None
        with maybe_under_way():
            record = await self.journal.find(Role.TAKER, key)
        if record is None or not record.holds_key:
            return None
        if (first := read_request(record)) != request:
            raise _conflict(record, first, request)
        with maybe_under_way(record.swap_id):
            return record if record.is_final or await self._is_driven(record) else None

    async def start(self, quote: Quote, key: str | None, ends_at: float) -> SwapRecord:
        """Journal the plan, agree on terms, and pass the swap to the engine.

        A cancellation before terms are agreed abandons the transfer. After that, the transfer continues.

        Args:
            ends_at: by the loop's clock; the agreement is retried until then.

        Raises:
            As ``start_transfer_async``.
        """
        known = await self.known(key, quote.request)
        if known is not None:
            return known
        await self.journal.act(shared=self.shared)
        attempt = _Attempt(SwapId(self.entropy.token(16).hex()))
        async with within(ends_at, "the quote could not be checked"):
            await self._retried(attempt, quote, lambda: self.quoter.check(quote))
        task = asyncio.get_running_loop().create_task(self._run(attempt, quote, key, ends_at))
        self._attempts[attempt.swap_id] = attempt, task
        task.add_done_callback(lambda _: self._attempts.pop(attempt.swap_id, None))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            attempt.stop("the call was cancelled before terms were agreed")
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()
            raise

    async def abandon_orphans(self) -> None:
        """Abandon every plan that nothing continues: without terms no money can have moved."""
        for record in await self.journal.plans():
            if record.swap_id not in self._attempts and not self._may_be_continued(record):
                await self._abandon_orphan(record)

    def _may_be_continued(self, plan: SwapRecord) -> bool:
        """Whether another process may be starting the plan: a start ends with its quote."""
        ends_at = plan.created_at + self.rules.quote_validity + _CLOCKS_SECONDS
        return self.shared and self.clock.now() < ends_at

    async def aclose(self) -> None:
        """Stop every agreement that is still running."""
        attempts = list(self._attempts.values())
        for attempt, _ in attempts:
            attempt.stop("the manager was closed before terms were agreed")
        await asyncio.gather(*(task for _, task in attempts), return_exceptions=True)

    def _now(self) -> int:
        return int(self.clock.now())

    async def _is_driven(self, record: SwapRecord) -> bool:
        """Whether a process drives the open transfer. A plan without a running call is abandoned."""
        try:
            return await self.take_over(record)
        except JournalBusy:
            # The process that holds the guard drives it.
            return True

    async def take_over(self, record: SwapRecord) -> bool:
        """Drive an open transfer, unless this process already does.

        Returns:
            False if it was a plan without a running call: it is abandoned.

        Raises:
            JournalBusy: another process drives it, or may be starting it.
        """
        if record.swap_id in self._attempts:
            return True
        await self.journal.act(shared=self.shared)
        if record.terms is None:
            if self._may_be_continued(record):
                raise JournalBusy(
                    "another process may be starting the transfer",
                    transfer_id=record.swap_id,
                    remedy="try again two minutes after the quote was issued",
                )
            moved = await self._abandon_orphan(record)
            if moved is None or moved.is_final:
                return False
            record = moved
        # A call may have ended just after the agreement.
        self.engine.drive(record)
        return True

    async def _run(self, attempt: _Attempt, quote: Quote, key: str | None, ends_at: float) -> SwapRecord:
        swap_id, recipient, now = attempt.swap_id, quote.request.recipient, self._now()
        plan = SwapRecord(
            swap_id=swap_id,
            role=Role.TAKER,
            state=write_state(TakerPlanned()),
            request=write_request(quote.request),
            provider_name=quote.provider_name,
            quote_id=quote.offer.quote.quote_id,
            access=self.secrets.access_token(swap_id),
            payment_hash=self.secrets.preimage(swap_id).payment_hash
            if recipient is None
            else quote.offer.quote.destination.hash_named(recipient),
            idempotency_key=key,
            created_at=now,
            updated_at=now,
        )
        record = await self.journal.create(plan)
        while record.swap_id != swap_id:
            if record.is_final or await self._is_driven(record):
                return record
            record = await self.journal.create(plan)
        signed = None
        try:
            signed = await attempt.run(lambda: self._agree(attempt, plan, quote), ends_at)
            record = await self.journal.advance(
                record,
                state=write_state(TakerAgreed()),
                is_final=False,
                event="terms agreed",
                now=self._now(),
                terms=write_signed_terms(signed),
            )
        except Layer2Error as error:
            # Nothing was funded: the intent to fund is journaled only after the terms.
            if (agreed := await self._abandoned(record, error, has_terms=signed is not None)) is None:
                raise
            record = agreed
        self.engine.drive(record)
        return record

    async def _abandoned(self, record: SwapRecord, error: Layer2Error, *, has_terms: bool) -> SwapRecord | None:
        """Abandon a plan; return its record instead if its terms were journaled in spite of the error."""
        error.transfer_id, error.outcome, error.funds = record.swap_id, Outcome.NOT_SENT, NOTHING_LEFT
        try:
            moved = await self._abandon_orphan(record, error.message)
        except JournalError:
            # The next start abandons it. The caller gets the first error, which is the cause.
            error.remedy = error.remedy or "the journal could not be written; free its disk, then call again"
            if has_terms:
                # The journal may contain them in spite of the error. Then the next start funds the swap.
                error.outcome, error.funds, error.remedy = Outcome.UNKNOWN, None, "look it up before you call again"
            return None
        return moved if moved is not None and moved.terms is not None and not moved.is_final else None

    async def _abandon_orphan(self, record: SwapRecord, reason: str = _ENDED) -> SwapRecord | None:
        """Abandon a plan without a running call; return its newest record if another call changed it first."""
        try:
            await self._abandon(record, reason)
        except StaleSwap:
            return await self.journal.load(record.swap_id)
        return None

    async def _abandon(self, record: SwapRecord, reason: str) -> None:
        abandoned = await self.journal.advance(
            record,
            state=write_state(TakerAbandoned(reason)),
            is_final=True,
            event="abandoned before agreement",
            now=self._now(),
            holds_key=False,
        )
        self.engine.announce(abandoned)

    async def _agree(self, attempt: _Attempt, plan: SwapRecord, quote: Quote) -> SignedTerms:
        """Request terms and check them. Retryable errors are retried with the same request until the quote expires."""
        terms_of, recipient = quote.offer.quote, quote.request.recipient
        assert plan.payment_hash is not None
        assert plan.access is not None
        payer, payee = taker_requests(terms_of, plan.swap_id, plan.payment_hash, self._now(), self.rules)
        source, destination = self.legs[quote.request.source], self.legs[quote.request.destination]
        # Before the provider is asked: it would see a lack of funds here as its own lack of inbound liquidity.
        needed = terms_of.source_amount + terms_of.source.payer_cost(terms_of.source_amount)
        if not quote.request.funded_by_others:
            await self._retried(attempt, quote, lambda: source.check_can_pay(needed))
        request = SwapRequest(
            swap_id=plan.swap_id,
            quote_id=terms_of.quote_id,
            payment_hash=plan.payment_hash,
            source=await self._retried(attempt, quote, lambda: source.offer(payer)),
            destination=await self._retried(attempt, quote, lambda: destination.offer(payee))
            if recipient is None
            else recipient.lower(),
            access_hash=sha256(plan.access).digest(),
        )
        provider = self.quoter.provider(quote.provider_name)
        signed = await self._retried(attempt, quote, lambda: provider.open_swap(request, quote.offer))
        chain = terms_of.height_from
        clock = None if chain is None else await self._retried(attempt, quote, self.legs[chain].read_clock)
        check_terms(signed, terms_of, request, self._now(), self.rules, height=0 if clock is None else clock.height)
        digest = terms_hash(signed.terms)
        for leg, side in ((signed.terms.source, Side.PAYER), (signed.terms.destination, Side.PAYEE)):
            if recipient is None or side is Side.PAYER:
                by_others = quote.request.funded_by_others and side is Side.PAYER
                htlc, layer = Htlc(leg, plan.payment_hash, digest, by_others), self.legs[leg.protocol]
                await self._retried(attempt, quote, partial(layer.check_can_finish, htlc, side))
        if recipient is not None:
            theirs = Htlc(signed.terms.destination, plan.payment_hash, digest)
            await self._retried(attempt, quote, lambda: _check_unpaid(destination, theirs))
        return signed

    async def _retried(self, attempt: _Attempt, quote: Quote, call: Callable[[], Awaitable[R]]) -> R:
        async def once() -> R:
            return await call()

        def note(state: RetryCallState) -> None:
            failure = None if state.outcome is None else state.outcome.exception()
            attempt.last_error = failure if isinstance(failure, Layer2Error) else None

        growing = wait_exponential_jitter(multiplier=0.2, max=3.0, jitter=0.2)

        def pause(state: RetryCallState) -> float:
            failure = None if state.outcome is None else state.outcome.exception()
            return max(growing(state), asked_pause(failure))

        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, Layer2Error) and error.retryable),
            wait=pause,
            # The next try would have no quote.
            stop=lambda state: self._now() + state.upcoming_sleep > quote.valid_until,
            before_sleep=note,
            reraise=True,
        )
        return await retrying(once)


def _conflict(record: SwapRecord, first: TransferRequest, request: TransferRequest) -> IdempotencyConflict:
    differing = [each.name for each in fields(first) if getattr(first, each.name) != getattr(request, each.name)]
    changes = ", ".join(f"{name} was {getattr(first, name)}" for name in differing)
    return IdempotencyConflict(
        f"the key belongs to a transfer that is {record_state(record).name} and had other arguments: {changes}",
        transfer_id=record.swap_id,
        outcome=Outcome.NOT_SENT,
        funds="this call started nothing",
        remedy="repeat the call with the first arguments; another key starts a second transfer",
    )


async def _check_unpaid(layer: HtlcLayer, theirs: Htlc) -> None:
    """Check that the taker's node has not paid, and is not paying, the invoice of a transfer to another party.

    Raises:
        InvalidRequest: code ``invoice_paid``.
        NodeError: the node does not answer.
    """
    view = await layer.observe(theirs, Side.PAYER)
    if view.state not in (LegState.NONE, LegState.RETURNED) or view.preimage is not None:
        raise InvalidRequest(
            f"your {theirs.leg.protocol.value} node has paid this invoice, or is paying it",
            code="invoice_paid",
            remedy="if this is a separate payment, request a new invoice from the recipient",
        )
