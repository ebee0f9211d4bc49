"""The acts of one swap: preparation, performance exactly as journaled, and status.

The journal marks an act as leaving before its first byte is sent. An act without an answer may have happened.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, assert_never

from layer2.errors import BadAnswer, JournalError, Layer2Error, NodeError, NonceTaken, Outcome, StaleSwap
from layer2.legs.views import ActStatus, LegState, LegView, Verb
from layer2.model.transactions import Preimage
from layer2.ports.journal import Delivery, Intent, Json, SwapRecord
from layer2.ports.nonces import NonceClaim
from layer2.swap_engine.runner_context import PartyLegs, Retries
from layer2.swap_rules.machine import Act, ActView, LegEnd, Manner, Observed, Order, Step, holds_money
from layer2.swap_rules.states import State, TakerFunded

__all__ = ["Acts", "Prepared", "is_under_way"]

LOG: Final = logging.getLogger("layer2.swap_engine")
_LONGEST_SEND_SECONDS: Final = 120.0
"""An act that is interrupted may have been sent, so clients get ample time for a definite answer."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The result of preparing a step's orders."""

    new: tuple[Intent, ...]
    """To be journaled and then performed."""
    again: tuple[Intent, ...]
    """Journaled already."""
    failed: Mapping[Order, Exception | None]
    """Orders that could not be prepared, each with its error; None if a retry is not due yet."""


class Acts:
    """The intents of one swap, and the only place that performs them."""

    def __init__(self, legs: PartyLegs, retries: Retries) -> None:
        self._legs = legs
        self._context = legs.context
        self._swap_id = legs.swap_id
        self._retries = retries
        self._intents: list[Intent] | None = None
        self._unsettled: list[Intent] = []
        self._attempts: dict[int, str] = {}
        """The ids of attempts, by the number of their intent, of which it is not known whether they began."""
        self.is_stale = False
        """Whether another task acts for the swap, so that the record and the intents have to be loaded again."""

    async def load(self) -> None:
        """Read the intents again, and discard prepared acts that are not among them."""
        self._intents = list(await self._context.journal.intents(self._swap_id))
        self.is_stale = False
        unsettled, self._unsettled = self._unsettled, []
        known = {one.number: one.act for one in self._intents}
        self.discard([intent for intent in unsettled if known.get(intent.number) != intent.act])

    async def views(self, seen: Mapping[LegEnd, LegView | None]) -> Mapping[Act, ActView]:
        """The status of every act that has an intent."""
        if self._intents is None:
            await self.load()
        last = {_act_of(intent): intent for intent in self._known}
        statuses = await asyncio.gather(*(self._status(act, intent, seen[act.end]) for act, intent in last.items()))
        return {
            act: ActView(status, is_out=any(one.delivery.is_out for one in self._known if _act_of(one) == act))
            for act, status in zip(last, statuses, strict=True)
        }

    async def _status(self, act: Act, intent: Intent, view: LegView | None) -> ActStatus:
        if not intent.delivery.is_out:
            return ActStatus.UNSEEN
        if view is None:
            # An unreadable leg does not mean a lost act: nothing may be sent because of it.
            return ActStatus.UNDER_WAY
        leg = self._legs.swap.leg(act.end)
        if _shows_effect(view, act.verb, is_repeatable=leg.is_repeatable):
            return ActStatus.DONE
        status = ActStatus.UNDER_WAY
        async with self._retries.trying(("status", act), f"the status of {_name(act)} cannot be read"):
            status = await self._legs.layer(act.end).act_status(_of_layer(intent))
        repeats = act.verb is Verb.FUND and leg.is_repeatable
        if status is ActStatus.UNSEEN and intent.delivery is Delivery.REJECTED and not repeats:
            return ActStatus.FAILED
        return status

    async def prepare(self, state: State, step: Step, observed: Observed) -> Prepared:
        """Prepare a step's orders, and the acts that need a higher fee. If one fails, the others are still prepared."""
        new: list[Intent] = []
        again: list[Intent] = []
        failed: dict[Order, Exception | None] = {}
        for order in step.orders:
            act = order.act
            if not self._retries.is_due(act):
                failed[order] = None
                continue
            if order.manner is Manner.AGAIN:
                again.append(next(one for one in reversed(self._known) if _act_of(one) == act))
                continue
            try:
                made = await self._make(order, state, observed)
            except Exception as error:  # noqa: BLE001 - noted, with its traceback
                self._retries.note(act, f"{_name(act)} cannot be prepared", error)
                failed[order] = error
                continue
            new.append(self._next_intent(act, made, new))
        if not step.state.is_final or self._legs.swap.funded_by_others:
            await self._reprice(observed, new)
        return Prepared(tuple(new), tuple(again), failed)

    async def _make(self, order: Order, state: State, observed: Observed) -> Json:
        act = order.act
        preimage = None
        if act.verb is Verb.COLLECT:
            preimage = self.preimage(observed)
            if preimage is None:
                raise JournalError("the preimage to collect with is unknown", transfer_id=self._swap_id)
        # Before funding, check every act that may be needed later. Before revealing the preimage, check the claim.
        # After that, check nothing: the claim must be tried in any case.
        if act.verb is Verb.FUND:
            checked: tuple[LegEnd, ...] = (LegEnd.SOURCE, LegEnd.DESTINATION)
        else:
            checked = (act.end,) if act.verb is Verb.COLLECT and isinstance(state, TakerFunded) else ()
        for end in checked:
            if (side := self._legs.sides.get(end)) is not None:
                await self._legs.layer(end).check_can_finish(self._legs.htlcs[end], side)
        made = await self._legs.layer(act.end).prepare(act.verb, self._legs.htlcs[act.end], preimage)
        return _journaled(made, preimage)

    async def _reprice(self, observed: Observed, new: list[Intent]) -> None:
        """Add the next attempts of claims and refunds that are under way and need a higher fee.

        Each is the same act with the same nonce, so the machine does not decide again: its order stays under way until
        it takes effect or fails.
        """
        last = {_act_of(intent): intent for intent in self._known}
        for act, intent in last.items():
            view, key = observed.acts.get(act), ("price", act)
            waits = view is not None and view.status is ActStatus.UNDER_WAY
            is_read = (observed.source if act.end is LegEnd.SOURCE else observed.destination) is not None
            if act.verb is Verb.FUND or not waits or not is_read or not self._retries.is_due(key):
                continue
            async with self._retries.trying(key, f"the fee of {_name(act)} cannot be raised"):
                repriced = await self._legs.layer(act.end).repriced(_of_layer(intent), self._legs.htlcs[act.end])
                if repriced is not None:
                    new.append(self._next_intent(act, {**intent.act, "act": repriced}, new))

    def preimage(self, observed: Observed) -> Preimage | None:
        """The preimage, from the seed if this party made it, otherwise from a leg or from the intent to collect."""
        if self._legs.swap.made_preimage and self._context.preimages is not None:
            candidates = [self._context.preimages.preimage(self._swap_id)]
        else:
            views = (observed.destination, observed.source)
            candidates = [view.preimage for view in views if view is not None and view.preimage is not None]
            kept = [intent.act["preimage"] for intent in self._intents or () if "preimage" in intent.act]
            candidates.extend(Preimage(bytes.fromhex(secret)) for secret in kept)
        wanted = self._legs.swap.terms.payment_hash
        return next((one for one in candidates if one.payment_hash == wanted), None)

    def nonces(self, intents: Sequence[Intent]) -> Sequence[NonceClaim]:
        """The nonces that are journaled together with new intents."""
        return [claim for intent in intents for claim in self._nonces(intent, is_journaled=False)]

    def _nonces(self, intent: Intent, *, is_journaled: bool) -> Sequence[NonceClaim]:
        return self._legs.layer(LegEnd(intent.end)).nonces(_of_layer(intent), is_journaled=is_journaled)

    def journaled(self, intents: Sequence[Intent]) -> None:
        """Note that the journal contains these intents."""
        self._known.extend(intents)

    async def not_journaled(self, intents: Sequence[Intent]) -> None:
        """Discard these intents after a failed write, unless the journal contains them despite the error."""
        self._unsettled.extend(intents)
        try:
            await self.load()
        except Layer2Error:
            LOG.warning(
                "%s: the journal cannot be read after a failed write; the act is not performed", self._legs.label
            )

    def discard(self, intents: Sequence[Intent]) -> None:
        """Discard prepared acts that are certainly not journaled."""
        for intent in intents:
            try:
                self._legs.layer(LegEnd(intent.end)).discard(_of_layer(intent))
            except Exception:
                LOG.exception("%s: a prepared act that was not journaled cannot be discarded", self._legs.label)

    async def perform(self, record: SwapRecord, intents: Sequence[Intent]) -> None:
        """Perform journaled intents: those of one leg in order, and both legs concurrently.

        Args:
            record: the version of the swap that ordered them. If another task has advanced it, nothing is sent.
        """
        by_end: dict[str, list[Intent]] = {}
        for intent in intents:
            by_end.setdefault(intent.end, []).append(intent)
        await asyncio.gather(*(self._perform_in_order(record, ones) for ones in by_end.values()))

    async def _perform_in_order(self, record: SwapRecord, intents: Sequence[Intent]) -> None:
        for intent in intents:
            await self._perform(record, intent)

    async def _perform(self, record: SwapRecord, intent: Intent) -> None:
        act = _act_of(intent)
        nonces = self._nonces(intent, is_journaled=True)
        try:
            begun = await self._begin(record, intent, nonces)
            delivery = await self._send(act, intent)
            if delivery is Delivery.UNSENT and begun is not Delivery.LEAVING:
                # This attempt was not sent; an earlier one may have been.
                return
            await self._record(record, intent, delivery, nonces)
        except StaleSwap:
            LOG.info("%s: another task acts for it; %s is not performed here", self._legs.label, _name(act))
            self.is_stale = True
        except NonceTaken as error:
            await self._lost_nonce(act, record, intent, error)
        except JournalError as error:
            self._retries.note(act, f"the delivery of {_name(act)} could not be journaled", error)

    async def _begin(self, record: SwapRecord, intent: Intent, nonces: Sequence[NonceClaim]) -> Delivery:
        # If this fails, the attempt may have begun: the next call repeats it with the same id, so that it is not taken
        # for an attempt of another process.
        attempt = self._attempts.setdefault(intent.number, secrets.token_hex(16))
        try:
            begun = await self._context.journal.begin_delivery(record, intent, attempt, nonces=nonces)
        except (StaleSwap, NonceTaken):
            raise
        except JournalError:
            has_ended = intent.delivery.is_out and intent.delivery is not Delivery.LEAVING
            if has_ended and _act_of(intent).verb is not Verb.FUND:
                # It also leaves while the journal is read-only. A funding does not: a process that was replaced cannot
                # write, and must not pay.
                return intent.delivery
            if not intent.delivery.is_out:
                # It may be in the journal, and not in its register. A later start would take the act as possibly sent.
                with suppress(JournalError):
                    await self._record(record, intent, Delivery.UNSENT, nonces, attempt)
            raise
        del self._attempts[intent.number]
        self._note(intent, begun)
        return begun

    async def _record(
        self,
        record: SwapRecord,
        intent: Intent,
        delivery: Delivery,
        nonces: Sequence[NonceClaim],
        attempt: str | None = None,
    ) -> None:
        # The last transaction of an act has its effect. Earlier ones, such as an approval, other acts may need too.
        known = await self._context.journal.record_delivery(
            record, intent.number, delivery, attempt=attempt, nonces=nonces[-1:]
        )
        self._note(intent, known)

    async def _lost_nonce(self, act: Act, record: SwapRecord, intent: Intent, error: NonceTaken) -> None:
        """Another transaction has the act's nonce, so this act is never sent. An earlier attempt may have been.

        Another claim or refund can be made even then, and must not wait for the other transaction.
        """
        self._retries.note(act, f"{_name(act)} has lost its nonce", error)
        if act.verb is not Verb.FUND or not intent.delivery.is_out:
            try:
                await self._record(record, intent, Delivery.REJECTED, ())
            except JournalError as failure:
                self._retries.note(act, f"the delivery of {_name(act)} could not be journaled", failure)

    async def _send(self, act: Act, intent: Intent) -> Delivery:
        try:
            async with asyncio.timeout(_LONGEST_SEND_SECONDS):
                await self._legs.layer(act.end).perform(_of_layer(intent))
        except Exception as error:  # noqa: BLE001 - noted, with its traceback
            delivery = _delivery_of(error)
            self._retries.note(act, f"{_name(act)} was not accepted ({delivery.value})", error)
            return delivery
        self._retries.worked(act)
        return Delivery.TAKEN

    def _note(self, intent: Intent, delivery: Delivery) -> None:
        self._intents = [replace(one, delivery=delivery) if one.number == intent.number else one for one in self._known]

    @property
    def _known(self) -> list[Intent]:
        assert self._intents is not None
        return self._intents

    def _next_intent(self, act: Act, made: Json, new: Sequence[Intent]) -> Intent:
        number = max((one.number for one in (*self._known, *new)), default=0) + 1
        return Intent(number, act.verb.value, act.end.value, made)


def _journaled(made: Json, preimage: Preimage | None) -> Json:
    """An intent's content: the layer's act and, for a claim, the preimage, in case no leg shows it later."""
    return {"act": made} if preimage is None else {"act": made, "preimage": preimage.secret.hex()}


def _of_layer(intent: Intent) -> Json:
    act: Json = intent.act["act"]
    return act


def _act_of(intent: Intent) -> Act:
    return Act(Verb(intent.verb), LegEnd(intent.end))


def _name(act: Act) -> str:
    return f"{act.verb.value} of the {act.end.value}"


def is_under_way(observed: Observed) -> bool:
    """Whether an act may still have an effect that its leg does not show yet, so that its node has to be asked."""
    views = observed.views
    return any(
        act_view.is_out and _may_still_show(act.verb, act_view.status, views[act.end])
        for act, act_view in observed.acts.items()
    )


def _may_still_show(verb: Verb, status: ActStatus, view: LegView | None) -> bool:
    match status:
        case ActStatus.UNSEEN | ActStatus.UNDER_WAY:
            return not (verb is Verb.FUND and view is not None and view.state is LegState.FUNDED)
        case ActStatus.DONE:
            # The block that contains it can be newer than the view, and be removed before the layer has read it.
            is_before = view is None or (view.state is LegState.NONE and not view.over)
            return is_before or (verb is not Verb.FUND and view is not None and holds_money(view))
        case ActStatus.FAILED:
            return False
        case _:
            assert_never(status)


def _shows_effect(view: LegView, verb: Verb, *, is_repeatable: bool) -> bool:
    """Whether the leg itself shows that the act has had its effect, so that its node need not be asked about it."""
    if view.has_more:
        return False
    match verb:
        case Verb.FUND:
            # A payment that is held is still under way.
            return view.state is LegState.COLLECTED or (view.state is LegState.FUNDED and is_repeatable)
        case Verb.COLLECT:
            # Until then the claim may need a higher fee; and if another party's claim was first, it blocks its nonce.
            return view.state is LegState.COLLECTED and view.final
        case Verb.RELEASE | Verb.RECLAIM | Verb.VOID:
            return False
        case _:
            assert_never(verb)


def _delivery_of(error: Exception) -> Delivery:
    """What an error of a send shows about its delivery. If it shows nothing, the act may have been sent."""
    if not isinstance(error, Layer2Error) or isinstance(error, BadAnswer):
        return Delivery.UNKNOWN
    match error.outcome:
        case Outcome.REJECTED:
            return Delivery.REJECTED
        case Outcome.NOT_SENT if isinstance(error, NodeError):
            return Delivery.UNSENT
        case _:
            return Delivery.UNKNOWN
