"""Drives one swap: observe, decide, journal, act and wait, until the swap is final.

Only the pure machine decides, and only the journal remembers. Every act is durable before it is performed, and is
performed exactly as journaled, so a crash at any point neither loses nor repeats anything. A failure on one leg does
not stop the other: a leg that cannot be read shows nothing at this turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from layer2.errors import FundsRulesError, InsufficientFunds, JournalError, Layer2Error, NonceTaken, StaleSwap
from layer2.legs.leg import Htlc
from layer2.legs.views import LegState, LegView, Side, Verb
from layer2.ports.journal import Role, SwapRecord
from layer2.ports.legs import LegListener
from layer2.swap_engine.acts import Acts, Prepared, is_under_way
from layer2.swap_engine.endings import Endings
from layer2.swap_engine.records import is_funded_by_others, record_state, record_terms
from layer2.swap_engine.runner_context import PartyLegs, Retries, RunnerContext
from layer2.swap_rules.decisions import declined, next_step, without_funding
from layer2.swap_rules.machine import LegEnd, Manner, Observed, Step, Swap
from layer2.swap_rules.outlook import attention
from layer2.swap_rules.states import ProviderAgreed, State, TakerAbandoned, TakerCollecting, TakerCompleted, write_state
from layer2.terms.signing import terms_hash

__all__ = ["Driver", "Look"]

LOG: Final = logging.getLogger("layer2.swap_engine")
_SHORTEST_WAIT_SECONDS: Final = 0.05
"""``wait_for_change`` may return too early; this minimum prevents a busy loop."""
_FAILURES_TO_NOTICE: Final = 8
"""This many consecutive failures, which take about a minute, need an operator's attention."""
_TURN: Final = "turn"


@dataclass(frozen=True, slots=True)
class Look:
    """What a turn found that has nothing more to do."""

    observed: Observed
    wake_at: int | None
    """Unix seconds of the machine's next turn even if nothing changes."""
    ordered: bool
    """Whether it performed acts."""


class Driver:
    """Drives one swap. ``record`` is the newest version that the driver wrote or read.

    Args:
        is_idle: whether the swap may sleep after one turn that finds nothing. Otherwise it first waits for a while.
    """

    def __init__(self, context: RunnerContext, record: SwapRecord, *, is_idle: bool = False) -> None:
        signed = record_terms(record)
        if signed is None:
            raise JournalError("a swap without terms cannot be driven", transfer_id=record.swap_id)
        self.record = record
        self._context = context
        made_preimage = record.role is Role.TAKER and record.request.get("recipient") is None
        by_others = is_funded_by_others(record)
        swap = self._swap = Swap(signed.terms, context.rules, made_preimage, by_others, record.from_old_copy)
        digest = terms_hash(signed.terms)
        htlcs = {
            end: Htlc(swap.leg(end), signed.terms.payment_hash, digest, by_others and end is LegEnd.SOURCE)
            for end in LegEnd
        }
        # A provider's logs identify a swap by its hash, as its layers and its takers' payments do.
        is_taker = record.role is Role.TAKER
        self._label = f"swap {record.swap_id}" if is_taker else f"hash {signed.terms.payment_hash.hex()[:16]}"
        sides = _sides(record.role, made_preimage)
        self._legs = PartyLegs(context, record.swap_id, self._label, swap, htlcs, sides)
        # A text and no method, which would be a cycle: the driver of a swap that falls asleep is freed at once.
        self._retries = Retries(self._name())
        self._acts = Acts(self._legs, self._retries)
        self._endings = Endings(self._legs, signed, self._acts.preimage)
        self._reserved: set[LegEnd] = set()
        self._last: dict[LegEnd, LegView] = {}
        self._stale = False
        self._is_idle = is_idle

    async def run(self) -> Look | None:
        """Return when the swap is final, or can sleep. Errors are logged and retried with back-off, indefinitely.

        Returns:
            None: it is final. Otherwise what the last turn found; ``follow`` takes it in the same step. If the swap
            cannot sleep after all, call ``run`` again.
        """
        while not self.record.is_final:
            try:
                look = await self._turn_and_note()
                was_idle, self._is_idle = self._is_idle, False
                if look is None or self.record.is_final:
                    continue
                if was_idle and self.is_quiet(look):
                    # If it cannot sleep, the next try comes after another wait.
                    return look
                self._is_idle = not await self._wait(look)
            except Exception as error:  # noqa: BLE001 - noted, with its traceback
                if pause := self._pause_after(error):
                    await asyncio.sleep(pause)
        self.free()
        return None

    async def _turn_and_note(self) -> Look | None:
        try:
            look = await self.turn()
        finally:
            self._context.turned(self.record.swap_id)
        self._retries.worked(_TURN)
        return look

    def free(self) -> None:
        """Release everything that is reserved for the swap."""
        for end in self._legs.sides:
            if self._swap.leg(end).protocol not in self._context.legs or self._legs.htlcs[end].funded_by_others:
                # A source that others fund is watched after the end, too.
                continue
            try:
                self._legs.layer(end).free(self._legs.htlcs[end])
            except Exception as error:  # noqa: BLE001 - noted, with its traceback
                self._retries.note(("free", end), f"the reserve for the {end.value} cannot be released", error)

    async def advance(self) -> tuple[Look | None, float]:
        """Load the swap, and have one turn. Its errors are logged.

        Returns:
            What it found, as ``turn`` returns it, and the seconds after which the swap needs another turn in any case.
        """
        self._stale = True
        try:
            look = await self._turn_and_note()
        except Exception as error:  # noqa: BLE001 - noted, with its traceback
            return None, self._pause_after(error)
        return look, 0.0 if look is None else self._seconds(look)

    def _pause_after(self, error: Exception) -> float:
        """Log why a turn failed; return the seconds until the next one."""
        match error:
            case StaleSwap():
                LOG.info("%s: another task moved it; loading it again", self._label)
                self._stale = True
                return 0.0
            case NonceTaken():
                # Nothing was written. The next turn prepares the acts again, with other nonces.
                LOG.info("%s: %s", self._label, error.message)
                return 0.0
            case Layer2Error():
                LOG.warning("%s: %s", self._name(), error)
            case _:
                LOG.error("%s: unexpected error", self._name(), exc_info=error)
        return self._retries.failed(_TURN)

    async def turn(self) -> Look | None:
        """Observe, decide, journal and act once; return what to wait on, or None if the next turn can follow at once.

        Raises:
            StaleSwap: another task moved the swap.
            JournalError: nothing new was performed.
        """
        if self._stale or self._acts.is_stale:
            await self._reload()
        observed = await self._observe()
        state = record_state(self.record)
        step = next_step(self._swap, state, observed)
        if not self._context.may_fund:
            step = without_funding(self._swap, state, observed, step)
        step, prepared = await self._prepare(state, step, observed)
        try:
            changed = await self._commit(state, step, observed, prepared)
        except FundsRulesError as error:
            step = declined(self._swap, state, observed, error.message)
            if step.state == state:
                raise
            # The next turn orders the acts that follow.
            await self._advance(state, step, observed, Prepared((), (), {}))
            return None
        await self._acts.perform(self.record, (*prepared.new, *prepared.again))
        if changed or not step.settled or self._acts.is_stale:
            return None
        return Look(observed, step.wake_at, ordered=bool(prepared.new or prepared.again or prepared.failed))

    # What this party's nodes show

    async def _observe(self) -> Observed:
        source, destination = await asyncio.gather(self._view(LegEnd.SOURCE), self._view(LegEnd.DESTINATION))
        views = {LegEnd.SOURCE: source, LegEnd.DESTINATION: destination}
        acts = await self._acts.views(views)
        await self._reserve(views)
        return Observed(int(self._context.clock.now()), source, destination, acts)

    async def _view(self, end: LegEnd) -> LegView | None:
        side = self._legs.sides.get(end)
        if side is None or not self._retries.is_due(end):
            return None
        view = None
        async with self._retries.trying(end, f"the {end.value} leg cannot be read"):
            self._last[end] = view = await self._legs.layer(end).observe(self._legs.htlcs[end], side)
        return view

    async def _reserve(self, views: Mapping[LegEnd, LegView | None]) -> None:
        """Reserve what the swap may need to finish, as soon as any party's money is at stake."""
        state = record_state(self.record)
        if state.is_final or (isinstance(state, ProviderAgreed) and state.source_tx_id is None):
            return
        for end, side in self._legs.sides.items():
            if end in self._reserved or views[end] is None or not self._retries.is_due(("reserve", end)):
                continue
            async with self._retries.trying(("reserve", end), f"nothing can be reserved for the {end.value}"):
                await self._legs.layer(end).reserve(self._legs.htlcs[end], side)
                self._reserved.add(end)

    # What is done

    async def _prepare(self, state: State, step: Step, observed: Observed) -> tuple[Step, Prepared]:
        prepared = await self._acts.prepare(state, step, observed)
        for order, error in prepared.failed.items():
            # The machine orders other acts again in the next state; funding and revealing start together with theirs.
            begins = order.manner is Manner.NEW and order.act.verb in (Verb.FUND, Verb.COLLECT)
            if order.act.verb is Verb.FUND and isinstance(error, InsufficientFunds | FundsRulesError):
                return await self._decline(state, observed, prepared, error.message)
            if begins and type(step.state) is not type(state):
                return Step(state, step.orders, step.wake_at), prepared
        return step, prepared

    async def _decline(
        self, state: State, observed: Observed, prepared: Prepared, reason: str
    ) -> tuple[Step, Prepared]:
        """The ordered funding cannot be made, and no intent is journaled yet."""
        step = declined(self._swap, state, observed, reason)
        if step.state == state:
            return step, prepared
        self._acts.discard(prepared.new)
        return step, await self._acts.prepare(state, step, observed)

    async def _commit(self, state: State, step: Step, observed: Observed, prepared: Prepared) -> bool:
        """Write the state with the intents of its new acts; return whether there was anything to write."""
        try:
            if step.state.is_final and not state.is_final and not await self._endings.is_ready(step.state, observed):
                step = self._not_yet(state, step)
            await self._save_arrival(state, step, observed)
            return await self._advance(state, step, observed, prepared)
        except Exception:
            self._stale = True
            await self._acts.not_journaled(prepared.new)
            raise

    def _not_yet(self, state: State, step: Step) -> Step:
        """The end is reached, but its proof is not complete: until then the swap stays in its state."""
        if not (isinstance(state, TakerCollecting) and isinstance(step.state, TakerCompleted)):
            return Step(state)
        arrived = replace(
            state,
            source_tx_id=step.state.source_tx_id,
            destination_tx_id=step.state.destination_tx_id,
            has_arrived=True,
            # The wait is now for the other party, for a limited time.
            final_at=self._endings.complete_by,
        )
        return Step(arrived, event=None if state.has_arrived else "arrived")

    async def _save_arrival(self, state: State, step: Step, observed: Observed) -> None:
        if getattr(step.state, "has_arrived", False) and not getattr(state, "has_arrived", False):
            await self._endings.save_arrival(step.state, observed)

    async def _advance(self, state: State, step: Step, observed: Observed, prepared: Prepared) -> bool:
        looks = self._attention(step.state, observed)
        if step.state == state and not prepared.new and looks == self.record.attention:
            return False
        event = step.event
        if event is None and prepared.new:
            event = f"{prepared.new[0].verb} of the {prepared.new[0].end}"
        if event is None and looks != self.record.attention:
            event = "attention ended" if looks is None else "needs attention"
        record = await self._context.journal.advance(
            self.record,
            state=write_state(step.state),
            is_final=step.state.is_final,
            event=event or "more is known",
            now=int(self._context.clock.now()),
            intents=prepared.new,
            attention=looks,
            holds_key=not isinstance(step.state, TakerAbandoned),
            nonces=self._acts.nonces(prepared.new),
        )
        self._note(record)
        self._acts.journaled(prepared.new)
        LOG.debug("%s: %s (%s)", self._label, step.state.name, event or "more is known")
        if looks is not None and event == "needs attention":
            LOG.warning("%s in state %s needs attention: %s", self._label, step.state.name, looks)
        self._context.announce(self.record)
        return True

    def _attention(self, state: State, observed: Observed) -> str | None:
        """What an operator has to check. While a node is unreachable only briefly, the last view counts."""
        views = dict(observed.views)
        for end in self._legs.sides:
            if views[end] is None and self._retries.failures(end) < _FAILURES_TO_NOTICE:
                views[end] = self._last.get(end)
                if views[end] is None and not state.is_final:
                    return self.record.attention
        seen = replace(observed, source=views[LegEnd.SOURCE], destination=views[LegEnd.DESTINATION])
        return attention(self._swap, state, seen)

    # Waiting

    async def _wait(self, look: Look) -> bool:
        """Wait until a layer may show a change, the machine's wake-up time comes, or a retry is due.

        Returns:
            Whether anything but the longest wait ended it.
        """
        seconds = self._seconds(look)
        return await self.has_changed(look, seconds) or seconds < self._context.poll_seconds

    def _seconds(self, look: Look) -> float:
        """The longest wait until the next turn."""
        times = [self._retries.seconds_left(), self._endings.look_again_in(), self._context.poll_seconds]
        if look.wake_at is not None:
            times.append(look.wake_at - self._context.clock.now())
        return max(min(time for time in times if time is not None), _SHORTEST_WAIT_SECONDS)

    async def has_changed(self, look: Look, seconds: float) -> bool:
        """Wait until a layer may show another view than in the last turn; return whether one did in these seconds."""
        waits = {
            end: asyncio.ensure_future(self._legs.layer(end).wait_for_change(self._legs.htlcs[end], view))
            for end, view in look.observed.views.items()
            if view is not None and self._may_change(end, view)
        }
        try:
            if waits:
                await asyncio.wait(waits.values(), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(seconds)
        finally:
            done = {end: wait for end, wait in waits.items() if wait.done()}
            for wait in waits.values():
                wait.cancel()
            await asyncio.gather(*waits.values(), return_exceptions=True)
        for end, wait in done.items():
            error = None if wait.cancelled() else wait.exception()
            if isinstance(error, Exception):
                self._retries.note(("wait", end), f"changes of the {end.value} leg cannot be awaited", error)
            elif error is not None:
                raise error
            else:
                self._retries.worked(("wait", end))
        await asyncio.sleep(_SHORTEST_WAIT_SECONDS)
        return bool(done)

    def _may_change(self, end: LegEnd, view: LegView) -> bool:
        is_up = self._swap.leg(end).protocol in self._context.legs
        return is_up and not _is_settled(view) and self._retries.is_due(("wait", end))

    # Sleeping

    def is_quiet(self, look: Look) -> bool:
        """Whether nothing is under way, so that only a change of a leg or a later time can require another turn."""
        views, followed = look.observed.views, self._followed(look)
        waits_for_own = look.ordered or is_under_way(look.observed) or self._endings.look_again_in() is not None
        soon = self._context.clock.now() + self._context.poll_seconds
        times = [look.wake_at, *(self._swap.leg(end).refundable_from for end in followed)]
        return (
            not waits_for_own
            and self._retries.seconds_left() is None
            and all(views[end] is not None for end in self._legs.sides)
            and all(self._legs.layer(end).can_follow for end in followed)
            and all(time is None or time >= soon for time in times)
        )

    def _followed(self, look: Look) -> Sequence[LegEnd]:
        """The legs that can still change."""
        views = look.observed.views
        return [end for end in self._legs.sides if (view := views[end]) is not None and not _is_settled(view)]

    def follow(self, look: Look, listener: LegListener) -> float | None:
        """Have the layers report to a listener from the views of the last turn on.

        Returns:
            Unix seconds at which the swap needs a turn in any case. None: it cannot sleep, and the caller ends what the
            layers follow.
        """
        views = look.observed.views
        times: list[float] = [] if look.wake_at is None else [look.wake_at]
        for end in self._followed(look):
            view, side = views[end], self._legs.sides[end]
            assert view is not None
            time = self._legs.layer(end).follow(self._legs.htlcs[end], side, view, listener)
            if time is None:
                return None
            times.append(time)
        soonest = min(times, default=0.0)
        return None if soonest - self._context.clock.now() < self._context.poll_seconds else soonest

    @property
    def payment_hash(self) -> bytes:
        """Of both legs, 32 bytes."""
        return self._swap.terms.payment_hash

    # Small parts

    async def _reload(self) -> None:
        loaded = await self._context.journal.load(self.record.swap_id)
        if loaded is None:
            raise JournalError("the swap is no longer in the journal", transfer_id=self.record.swap_id)
        await self._acts.load()
        is_newer, self._stale = loaded.version != self.record.version, False
        self._note(loaded)
        if is_newer:
            self._context.announce(loaded)

    def _note(self, record: SwapRecord) -> None:
        self.record = record
        self._retries.name = self._name()

    def _name(self) -> str:
        return f"{self._label} in state {self.record.state['state']}"


def _sides(role: Role, made_preimage: bool) -> Mapping[LegEnd, Side]:
    if role is Role.PROVIDER:
        return {LegEnd.SOURCE: Side.PAYEE, LegEnd.DESTINATION: Side.PAYER}
    if made_preimage:
        return {LegEnd.SOURCE: Side.PAYER, LegEnd.DESTINATION: Side.PAYEE}
    # A third party is paid: the taker's node takes no part in that leg.
    return {LegEnd.SOURCE: Side.PAYER}


def _is_settled(view: LegView) -> bool:
    """Whether the leg can no longer change."""
    return view.final and view.state is not LegState.NONE
