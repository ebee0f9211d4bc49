"""Carries out swaps of a mock manager: each follows a script instead of what its layers show."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from layer2.errors import JournalError
from layer2.model.transactions import Preimage, SwapId
from layer2.ports.journal import SwapRecord
from layer2.proofs.model import TransferProof
from layer2.swap_engine.driver import Driver
from layer2.swap_engine.records import record_terms
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
                self._start(_ScriptedDriver(self._context, record, self.scripts, self.provider))


class _ScriptedDriver(Driver):
    def __init__(self, context: RunnerContext, record: SwapRecord, scripts: Scripts, provider: MockProvider) -> None:
        signed = record_terms(record)
        if signed is None:
            raise JournalError("a swap without terms cannot be driven", transfer_id=record.swap_id)
        self.record = record
        self._context = context
        self._signed: SignedTerms = signed
        self._scripts = scripts
        self._provider = provider

    async def run(self) -> None:
        """Return when the swap is final."""
        queue = self._scripts.begin(self.record.swap_id)
        while not self.record.is_final:
            current = await queue.get()
            for state in current.steps(self._state()):
                if current.waits_before(state):
                    await asyncio.sleep(current.after)
                await self._enter(state, current.reason)

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
        return "0x" + sha256(f"{self.record.swap_id} {end}".encode()).hexdigest()

    async def _save_proof(self, *, is_collected: bool) -> None:
        terms = self._signed.terms
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
