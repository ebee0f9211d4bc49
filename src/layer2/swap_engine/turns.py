"""Turns of swaps on demand: a scheduler outside this process decides when, and on which worker, each swap has a turn.

Between two turns of a swap this process reports what its layers show. Nothing else of a swap is needed here: each turn
begins with the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from layer2.errors import JournalError, Layer2Error
from layer2.legs.timelock_settings import TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.clock import Clock
from layer2.ports.journal import SwapJournal, SwapRecord
from layer2.ports.legs import HtlcLayer
from layer2.ports.signing import PreimageSource
from layer2.swap_engine.driver import Driver, Look
from layer2.swap_engine.records import record_state
from layer2.swap_engine.runner import check_shows_an_end
from layer2.swap_engine.runner_context import RunnerContext
from layer2.swap_rules.states import ProviderAgreed, TakerAgreed

__all__ = ["Turn", "Turns"]

LOG: Final = logging.getLogger("layer2.swap_engine")
_RETRY_SECONDS: Final = 5.0
_LOOK_POLLS: Final = 20
"""Polls between two turns of a swap that waits, if nothing is reported and many swaps wait."""
_LOOKS_PER_SECOND: Final = 5.0
"""Of all swaps that wait here. Fewer swaps are looked at more often: another worker may have been killed."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a swap needs after a turn. It contains no amount and no secret."""

    is_final: bool
    wait_seconds: float
    """The longest time until its next turn; 0: at once."""
    has_begun: bool
    """Whether money may be at stake, so that its turns come before those of new swaps."""


class _Waiting:
    """A swap between two turns of this process. It is the ``LegListener`` of the legs that are followed."""

    def __init__(self, driver: Driver, report: Callable[[], None]) -> None:
        self.driver = driver
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._report = report

    def changed(self) -> None:
        """Report the swap."""
        self._report()

    def missed(self) -> None:
        """Report the swap."""
        self._report()


class Turns:
    """Has turns of swaps, and reports when a swap needs another one. Belongs to the event loop in which it is used.

    Any number of processes may have turns of one swap: the journal decides which of them acts.

    Args:
        legs: the layers that are up. A missing layer counts as unreadable, and can be added later.
        preimages: makes the preimages of the taker's swaps; None for a provider.
        rules: the settings of the network of all swaps.
        report: called in the loop when a leg may have changed since the last turn of its swap here. It is not called
            after a time that the turn has named, or once the swap has had a turn elsewhere.
        on_change: called in the loop with every version of a record that is new here; must not block.
        poll_seconds: maximum interval between two turns of a swap in which something is under way.
    """

    def __init__(
        self,
        journal: SwapJournal,
        legs: Mapping[Layer2ProtocolType, HtlcLayer],
        preimages: PreimageSource | None,
        rules: TimelockSettings,
        clock: Clock,
        report: Callable[[SwapId], None],
        on_change: Callable[[SwapRecord], None] = lambda record: None,
        *,
        poll_seconds: float = 15.0,
    ) -> None:
        self._journal = journal
        self._report = report
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._context = RunnerContext(journal, legs, preimages, rules, clock, on_change, lambda _: None, poll_seconds)
        self._turning: dict[SwapId, asyncio.Task[Turn]] = {}
        self._waiting: dict[SwapId, _Waiting] = {}

    async def advance(self, swap_id: SwapId) -> Turn:
        """Have one turn of a swap: load it, observe, decide, commit and act. A turn that is under way is shared.

        A cancelled caller does not end the turn, because an act that leaves must be recorded.
        """
        task = self._turning.get(swap_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._advance(swap_id), name="layer2-turn")
            self._turning[swap_id] = task
            task.add_done_callback(lambda _: self._turning.pop(swap_id))
        return await asyncio.shield(task)

    async def revisit(self, record: SwapRecord) -> SwapRecord:
        """Check a final swap once, as ``SwapEngine.revisit``. An open record is returned as it is."""
        if not record.is_final:
            return record
        driver = Driver(self._context, record)
        look = await driver.turn()
        if driver.record.is_final and look is not None:
            check_shows_an_end(look.observed.source)
        return driver.record

    def free(self, record: SwapRecord) -> None:
        """Release what this process has reserved for a swap that has ended."""
        self._stop_waiting(record.swap_id)
        Driver(self._context, record).free()

    async def aclose(self) -> None:
        """Stop at once. A turn that is under way is cancelled, as if the process ended."""
        for swap_id in tuple(self._waiting):
            self._stop_waiting(swap_id)
        tasks: Sequence[asyncio.Task[Turn]] = tuple(self._turning.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _advance(self, swap_id: SwapId) -> Turn:
        driver = self._stop_waiting(swap_id)
        try:
            if driver is None:
                driver = await self._loaded(swap_id)
        except Layer2Error as error:
            LOG.warning("swap %s cannot be loaded: %s", swap_id, error)
            return Turn(False, _RETRY_SECONDS, has_begun=True)
        before = driver.record
        if before.is_final:
            driver.free()
            return Turn(True, 0.0, has_begun=True)
        look, seconds = await driver.advance()
        if driver.record.is_final:
            driver.free()
            return Turn(True, 0.0, has_begun=True)
        has_begun = not isinstance(record_state(driver.record), TakerAgreed | ProviderAgreed)
        return Turn(False, self._wait(driver, look, seconds), has_begun)

    async def _loaded(self, swap_id: SwapId) -> Driver:
        record = await self._journal.load(swap_id)
        if record is None:
            raise JournalError("the swap is not in the journal", transfer_id=swap_id)
        return Driver(self._context, record)

    def _wait(self, driver: Driver, look: Look | None, seconds: float) -> float:
        """Have changes reported until the next turn; return the longest time until then."""
        swap_id = driver.record.swap_id
        loop = asyncio.get_running_loop()
        waiting = self._waiting[swap_id] = _Waiting(driver, lambda: self._reported(swap_id))
        if look is not None:
            until = self._follow(waiting, look)
            if until is not None:
                seconds = until
            else:
                waiting.task = loop.create_task(self._await_change(waiting, look, seconds), name="layer2-wait")
        # By then it has had a turn, here or elsewhere.
        waiting.timer = loop.call_later(seconds + self._poll_seconds, self._expired, swap_id)
        return seconds

    def _follow(self, waiting: _Waiting, look: Look) -> float | None:
        """The longest time until the next turn, if the layers report what happens to the legs; otherwise None."""
        driver = waiting.driver
        try:
            wake_at = driver.follow(look, waiting) if driver.is_quiet(look) else None
        except Exception:
            # An open swap has turns even if a layer fails.
            LOG.exception("swap %s cannot be followed", driver.record.swap_id)
            wake_at = None
        if wake_at is None:
            self._unfollow(waiting)
            return None
        most = _LOOK_POLLS * self._poll_seconds
        look_seconds = min(max(self._poll_seconds, len(self._waiting) / _LOOKS_PER_SECOND), most)
        return min(look_seconds, wake_at - self._clock.now())

    async def _await_change(self, waiting: _Waiting, look: Look, seconds: float) -> None:
        if await waiting.driver.has_changed(look, seconds):
            self._reported(waiting.driver.record.swap_id)

    def _reported(self, swap_id: SwapId) -> None:
        waiting = self._waiting.get(swap_id)
        if waiting is not None:
            self._unfollow(waiting)
            self._report(swap_id)

    def _expired(self, swap_id: SwapId) -> None:
        driver = self._stop_waiting(swap_id)
        if driver is not None:
            # Another worker has reserved it again, or this one will.
            driver.free()

    def _stop_waiting(self, swap_id: SwapId) -> Driver | None:
        """The driver of the last turn here, with its retries. It reads the journal again."""
        waiting = self._waiting.pop(swap_id, None)
        if waiting is None:
            return None
        self._unfollow(waiting)
        if waiting.timer is not None:
            waiting.timer.cancel()
        if waiting.task is not None:
            waiting.task.cancel()
        return waiting.driver

    def _unfollow(self, waiting: _Waiting) -> None:
        for layer in tuple(self._context.legs.values()):
            try:
                layer.unfollow(waiting.driver.payment_hash, waiting)
            except Exception:
                LOG.exception("swap %s is still followed", waiting.driver.record.swap_id)
