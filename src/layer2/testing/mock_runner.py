"""Carries out swaps of a mock manager: each follows a script instead of what its layers show."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from layer2.errors import JournalError
from layer2.legs.evm import EvmLeg
from layer2.model.transactions import Preimage, SwapId
from layer2.ports.journal import Role, SwapRecord
from layer2.proofs.model import TransferProof
from layer2.swap_engine.driver import Driver
from layer2.swap_engine.records import is_funded_by_others, record_state, record_terms
from layer2.swap_engine.runner import SwapRunner
from layer2.swap_engine.runner_context import RunnerContext
from layer2.swap_rules.states import (
    TakerAbandoned,
    TakerCollecting,
    TakerCompleted,
    TakerFunded,
    TakerFunding,
    TakerLost,
    TakerRefunded,
    TakerRefunding,
    TakerState,
    write_state,
)
from layer2.terms.documents import SignedTerms
from layer2.terms.transfers import TransferState
from layer2.testing.mock_network import MockProvider, evidence_of
from layer2.testing.mock_payments import LATE, PAID_AGAIN, UNPAID, WORTH_A_REFUND, Payment

__all__ = ["Script", "ScriptedRunner", "Scripts"]

S = TransferState
_TO_ARRIVED: Final = (S.AGREED, S.FUNDING, S.FUNDED, S.COLLECTING, S.ARRIVED)
_PATHS: Final[Mapping[TransferState, tuple[TransferState, ...]]] = {
    **{state: _TO_ARRIVED[: number + 1] for number, state in enumerate(_TO_ARRIVED)},
    S.COMPLETED: (*_TO_ARRIVED, S.COMPLETED),
    S.ABANDONED: (S.AGREED, S.ABANDONED),
    S.REFUNDING: (S.AGREED, S.FUNDING, S.FUNDED, S.REFUNDING),
    S.REFUNDED: (S.AGREED, S.FUNDING, S.FUNDED, S.REFUNDING, S.REFUNDED),
    S.LOST: (S.AGREED, S.FUNDING, S.FUNDED, S.COLLECTING, S.LOST),
}
_REASONS: Final = {
    S.ABANDONED: "the provider did not fund in time",
    S.REFUNDING: "the provider did not fund in time",
    S.REFUNDED: "the provider did not fund in time",
    S.LOST: "the destination went back to the provider after the source was collected",
}
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Script:
    """The state that a transfer goes to.

    Raises:
        ValueError: no transfer that was started goes to that state.
    """

    ends: TransferState
    after: float
    """Seconds in FUNDED, or in AGREED if nothing is funded."""
    reason: str

    def __post_init__(self) -> None:
        if self.ends not in _PATHS:
            raise ValueError(f"no transfer goes to {self.ends}: name a later state")

    def steps(self, state: TransferState) -> tuple[TransferState, ...]:
        """The states after ``state``; none if the script ends there.

        Raises:
            ValueError: no way leads from ``state`` to the end of this script.
        """
        path = _PATHS[self.ends]
        if state not in path:
            raise ValueError(f"a transfer that is {state.value} cannot become {self.ends.value}")
        return path[path.index(state) + 1 :]

    def waits_before(self, state: TransferState) -> bool:
        """Whether ``after`` passes before this state."""
        path = _PATHS[self.ends]
        funded = path.index(S.FUNDED) + 1 if S.FUNDED in path else 0
        return path[funded if 0 < funded < len(path) else -1] is state


def script(ends: TransferState, after: float, reason: str | None) -> Script:
    """A script with the usual reason, if none is given."""
    return Script(ends, after, _REASONS.get(ends, "") if reason is None else reason)


class Scripts:
    """The scripts of coming transfers, in order, and of those that were started."""

    def __init__(self) -> None:
        self.coming: deque[Script] = deque()
        self._queues: dict[SwapId, asyncio.Queue[Script]] = {}
        self._ends: dict[SwapId, TransferState] = {}

    def begin(self, swap_id: SwapId) -> asyncio.Queue[Script]:
        """The scripts of a transfer that starts now, or that resumes after a restart."""
        queue = self._queues.setdefault(swap_id, asyncio.Queue())
        first = self.coming.popleft() if self.coming else script(S.COMPLETED, 0.0, None)
        self._ends[swap_id] = first.ends
        queue.put_nowait(first)
        return queue

    def diverted(self, swap_id: SwapId, ends: TransferState) -> None:
        """Note that a payment, or its absence, ended a transfer in another way than its script."""
        self._ends[swap_id] = ends

    def go_on(self, swap_id: SwapId, following: Script, loop: asyncio.AbstractEventLoop) -> None:
        """Add a script to those of an open transfer. Can be called from any thread.

        Raises:
            ValueError: there is no such transfer, or no way leads from the end of its scripts to this one's.
        """
        if swap_id not in self._queues:
            raise ValueError(f"no transfer {swap_id!r} was started here")
        following.steps(self._ends[swap_id])
        self._ends[swap_id] = following.ends
        loop.call_soon_threadsafe(self._queues[swap_id].put_nowait, following)


class ScriptedRunner(SwapRunner):
    """A runner whose swaps follow scripts."""

    scripts: Scripts
    provider: MockProvider

    def drive(self, record: SwapRecord) -> None:
        """Follow a script in the background. Raises: as ``SwapRunner.drive``."""
        self.check_open(record.swap_id)
        if record.swap_id not in self._tasks:
            self.announce(record)
            if not record.is_final:
                self._start(self._driver(record))

    async def resume(self, roles: Sequence[Role] = (Role.TAKER,)) -> Sequence[SwapId]:
        """Drive every open swap at once."""
        records = [record for role in roles for record in await self._journal.list(role=role, open_only=True)]
        resumed = [record for record in records if record.terms is not None]
        for record in resumed:
            self.drive(record)
        return [record.swap_id for record in resumed]

    async def revisit(self, record: SwapRecord) -> SwapRecord:
        """Return the record: only ``pay`` reopens a swap."""
        if not record.is_final:
            self.drive(record)
        return record

    async def pay(self, swap_id: SwapId, amount: int | None) -> str:
        """Let others pay to the address of a swap, and return the id of the transaction.

        Args:
            amount: satoshi; None is the amount of the terms.

        Raises:
            UnknownTransfer: there is no such swap.
            ValueError: others do not fund the swap, or terms were not agreed.
        """
        record = await self._watchers.load(swap_id)
        signed = record_terms(record)
        if signed is None or not is_funded_by_others(record):
            raise ValueError(f"transfer {swap_id} has no address that others pay")
        driver = self._drivers.get(swap_id)
        if driver is not None and driver.record.is_final:
            await asyncio.wait({self._tasks[swap_id]})
            driver = self._drivers.get(swap_id)
        if driver is None:
            record = await self._watchers.load(swap_id)
            driver = self._drivers.get(swap_id) or self._driver(record)
        assert isinstance(driver, _ScriptedDriver)
        tx_id = secrets.token_hex(32)
        paid = signed.terms.source_amount if amount is None else amount
        driver.payments.append(Payment(tx_id, paid, int(self._context.clock.now())))
        if swap_id not in self._tasks:
            self.check_open(swap_id)
            self._start(driver)
        return tx_id

    def _driver(self, record: SwapRecord, *, is_idle: bool = False) -> _ScriptedDriver:
        return _ScriptedDriver(self._context, record, self.scripts, self.provider)


class _ScriptedDriver(Driver):
    def __init__(self, context: RunnerContext, record: SwapRecord, scripts: Scripts, provider: MockProvider) -> None:
        signed = record_terms(record)
        if signed is None:
            raise JournalError("a swap without terms cannot be driven", transfer_id=record.swap_id)
        self.record = record
        self.payments: deque[Payment] = deque()
        """Not looked at yet."""
        self._context = context
        self._signed: SignedTerms = signed
        self._scripts = scripts
        self._provider = provider
        self._by_others = is_funded_by_others(record)
        self._funding: Payment | None = None

    async def run(self) -> None:
        """Return when the swap is final."""
        if not self.record.is_final:
            queue = self._scripts.begin(self.record.swap_id)
            while not self.record.is_final:
                await self._follow(await self._next_script(queue))
        if self._state() is S.ABANDONED and (payment := self._next_payment()) is not None:
            await self._take_back(payment, LATE)

    async def _next_script(self, queue: asyncio.Queue[Script]) -> Script:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS if self._by_others else None):
                    return await queue.get()
            if self._state() is S.FUNDED and self._next_payment() is not None:
                self._scripts.diverted(self.record.swap_id, S.REFUNDED)
                return script(S.REFUNDED, 0.0, PAID_AGAIN)

    async def _follow(self, current: Script) -> None:
        for state in current.steps(self._state()):
            if current.waits_before(state):
                await asyncio.sleep(current.after)
            if self._by_others and state is S.FUNDED and not await self._is_paid():
                return
            if self._by_others and state is S.COLLECTING and self._next_payment() is not None:
                await self._take_back(self._funding, PAID_AGAIN)
                return
            await self._enter(state, current.reason)

    async def _is_paid(self) -> bool:
        """Wait for the payment of others; if it is wrong or missing, end the swap."""
        terms = self._signed.terms
        while (payment := self._next_payment()) is None:
            if self._context.clock.now() > terms.fund_by:
                await self._abandon()
                return False
            await asyncio.sleep(_POLL_SECONDS)
        problem = payment.problem(terms)
        if problem is None:
            self._funding = payment
            return True
        if problem is LATE:
            self.payments.appendleft(payment)
            await self._abandon()
        else:
            await self._take_back(payment, problem)
        return False

    def _next_payment(self) -> Payment | None:
        """The next payment that counts: a small one alone has no effect."""
        while self.payments:
            payment = self.payments.popleft()
            if payment.amount >= WORTH_A_REFUND:
                return payment
        return None

    async def _abandon(self) -> None:
        self._scripts.diverted(self.record.swap_id, S.ABANDONED)
        await self._enter(S.ABANDONED, UNPAID)

    async def _take_back(self, payment: Payment | None, reason: str) -> None:
        self._funding = payment
        self._scripts.diverted(self.record.swap_id, S.REFUNDED)
        await self._enter(S.REFUNDING, reason)
        await self._enter(S.REFUNDED, reason)

    def _state(self) -> TransferState:
        state = self.record.state
        return S.ARRIVED if state.get("has_arrived") else TransferState(state["state"])

    async def _enter(self, state: TransferState, reason: str) -> None:
        if state in (S.ARRIVED, S.COMPLETED, S.REFUNDED):
            await self._save_proof(is_collected=state is not S.REFUNDED)
        written = self._written(state, reason)
        self.record = await self._context.journal.advance(
            self.record,
            state=write_state(written),
            is_final=written.is_final,
            event=state.value,
            now=int(self._context.clock.now()),
            holds_key=state is not S.ABANDONED,
        )
        self._context.announce(self.record)

    def _written(self, state: TransferState, reason: str) -> TakerState:
        source, destination = self._tx_id("source"), self._tx_id("destination")
        match state:
            case S.FUNDING:
                return TakerFunding()
            case S.FUNDED:
                return TakerFunded(source)
            case S.COLLECTING:
                return TakerCollecting(source, destination, has_arrived=False, final_at=None)
            case S.ARRIVED:
                return TakerCollecting(source, destination, has_arrived=True, final_at=int(self._context.clock.now()))
            case S.COMPLETED:
                return TakerCompleted(source, destination)
            case S.ABANDONED:
                return TakerAbandoned(reason)
            case S.REFUNDING:
                return TakerRefunding(source, reason)
            case S.REFUNDED:
                return TakerRefunded(source, reason)
            case S.LOST:
                return TakerLost(source, destination, reason)
            case S.PLANNED | S.AGREED:
                raise AssertionError("a driver begins with a swap that is agreed")

    def _tx_id(self, end: str) -> str:
        if end == "source" and self._funding is not None:
            return self._funding.tx_id
        known: str | None = getattr(record_state(self.record), f"{end}_tx_id", None)
        if known is not None:
            return known
        leg = self._signed.terms.source if end == "source" else self._signed.terms.destination
        prefix = "0x" if isinstance(leg, EvmLeg) else ""
        return prefix + sha256(f"{self.record.swap_id} {end}".encode()).hexdigest()

    async def _save_proof(self, *, is_collected: bool) -> None:
        terms = self._signed.terms
        if self._funding is not None and not self._funding.is_exact(terms):
            # As the engine: the refund of another amount shows nothing of the terms.
            return
        preimage = self._preimage() if is_collected else None
        now = int(self._context.clock.now())
        source = evidence_of(terms.source, terms, preimage, now)
        destination = None if preimage is None else evidence_of(terms.destination, terms, preimage, now)
        # As the engine: a Lightning payment that failed leaves nothing to prove.
        if source is not None:
            proof = TransferProof(self._signed, source, destination)
            await self._context.journal.save_proof(self.record.swap_id, proof.to_bytes())

    def _preimage(self) -> Preimage:
        foreign = self._provider.foreign_preimage(self._signed.terms.payment_hash)
        if foreign is not None:
            return foreign
        assert self._context.preimages is not None
        return self._context.preimages.preimage(self.record.swap_id)
