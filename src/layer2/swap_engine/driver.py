"""One swap under way: observe, decide, journal, act, wait; again and again until it is final.

The only place that decides is the pure machine, the only memory is the journal. Every act is durable before it is
performed, and what was journaled is performed exactly, so that to die anywhere in here loses and doubles nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from layer2.errors import (
    FundsRulesError,
    InsufficientFunds,
    JournalError,
    Layer2Error,
    NodeError,
    Outcome,
    StaleSwap,
    TransactionError,
)
from layer2.formats.signed_terms import terms_hash
from layer2.interfaces import Clock, Intent, Json, PreimageSource, Role, SwapJournal, SwapRecord
from layer2.layers import Layer2ProtocolType
from layer2.proofs.model import LegEvidence, LightningPaymentEvidence
from layer2.protocol_client import HtlcLayer
from layer2.swap_engine.records import record_state, record_terms
from layer2.swap_rules.decisions import declined, next_step
from layer2.swap_rules.legs import ActStatus, Htlc, LegState, LegView, Side, Verb
from layer2.swap_rules.machine import Act, LegEnd, Manner, Observed, Order, Step, Swap
from layer2.swap_rules.states import (
    ProviderCompleted,
    State,
    TakerAbandoned,
    TakerCompleted,
    TakerCounterFunded,
    write_state,
)
from layer2.swap_rules.timelocks import TimelockSettings
from layer2.terms import EvmLeg, LightningLeg, SignedTerms
from layer2.transactions import Finality, Preimage, SwapId

__all__ = ["Driver", "MakeProof", "Surroundings", "SwapStore"]

LOG: Final = logging.getLogger("layer2.swap_engine")
_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 30.0
_SHORTEST_WAIT_SECONDS: Final = 0.05
"""``wait_for_change`` may return too early; this keeps a layer that always does so from spinning."""


class SwapStore(SwapJournal, Protocol):
    """A journal that also keeps proofs; ``SqliteJournal`` is one."""

    async def save_proof(self, swap_id: SwapId, proof: bytes) -> None: ...

    async def load_proof(self, swap_id: SwapId) -> bytes | None: ...


MakeProof: TypeAlias = Callable[[SignedTerms, LegEvidence | None, LegEvidence | None], bytes]
"""Makes a proof's bytes from the signed terms and the evidence of source and destination, in this order; None where a
layer leaves none."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every driver of a runner shares."""

    journal: SwapStore
    layers: Mapping[Layer2ProtocolType, HtlcLayer]
    preimages: PreimageSource | None
    settings: TimelockSettings
    clock: Clock
    make_proof: MakeProof | None
    announce: Callable[[SwapRecord], None]
    poll_seconds: float


class Driver:
    """Drives one swap. ``record`` is the newest version that it wrote or read."""

    def __init__(self, around: Surroundings, record: SwapRecord) -> None:
        signed = record_terms(record)
        if signed is None:
            raise JournalError("a swap without terms cannot be driven", transfer_id=record.swap_id)
        self.record = record
        self._around = around
        self._signed = signed
        self._swap = Swap(
            signed.terms,
            around.settings,
            made_preimage=record.role is Role.TAKER and record.request.get("recipient") is None,
        )
        terms_digest = terms_hash(signed.terms)
        self._htlcs = {end: Htlc(self._swap.leg(end), signed.terms.payment_hash, terms_digest) for end in LegEnd}
        # A provider's logs do not hold swap ids: who knows one can read the swap.
        self._label = (
            f"swap {record.swap_id}" if record.role is Role.TAKER else f"hash {signed.terms.payment_hash.hex()[:16]}"
        )
        self._intents: Sequence[Intent] | None = None
        self._unsent: set[str] = set()
        self._stale = False
        self._troubled = False

    async def run(self) -> None:
        """Return when the swap is final. Errors are logged and tried again with back-off, for ever."""
        failures = 0
        while not self.record.is_final:
            self._troubled = False
            try:
                await self._turn(_retry_seconds(failures))
            except StaleSwap:
                LOG.info("%s: somebody else moved it; loading it anew", self._label)
                self._stale = True
            except Layer2Error as error:
                self._troubled = True
                LOG.warning("%s in state %s: %s", self._label, self.record.state["state"], error)
                await asyncio.sleep(_retry_seconds(failures))
            except Exception:
                self._troubled = True
                LOG.exception("%s in state %s: unexpected error", self._label, self.record.state["state"])
                await asyncio.sleep(_retry_seconds(failures))
            failures = failures + 1 if self._troubled else 0

    async def _turn(self, retry_seconds: float) -> None:
        if self._stale:
            await self._reload()
            return
        observed = await self._observe()
        state = record_state(self.record)
        step = next_step(self._swap, state, observed)
        try:
            acts = [*await self._prepare(step, observed), *await self._reprice(step, observed)]
            changed = await self._commit(state, step, observed, acts)
        except (InsufficientFunds, FundsRulesError) as error:
            step = declined(self._swap, state, observed, error.message)
            if step.state == state:
                raise
            acts = await self._prepare(step, observed)
            changed = await self._commit(state, step, observed, acts)
        for key, act, end in acts:
            await self._perform(key, act, end)
        if not changed and step.settled:
            await self._wait(observed, step.wake_at, retry_seconds)

    # What the own nodes say

    async def _observe(self) -> Observed:
        if self._intents is None:
            self._intents = await self._around.journal.intents(self.record.swap_id)
        source, destination = await asyncio.gather(self._view(LegEnd.SOURCE), self._view(LegEnd.DESTINATION))
        last = _last_attempts(self._intents)
        statuses = await asyncio.gather(*(self._status(act, intent) for act, intent in last.items()))
        return Observed(
            now=int(self._around.clock.now()),
            source=source,
            destination=destination,
            acts=dict(zip(last, statuses, strict=True)),
            sent=frozenset(_act_of(intent.key) for intent in self._intents if intent.outcome is not None),
            unsent=frozenset(act for act, intent in last.items() if intent.key in self._unsent),
        )

    async def _view(self, end: LegEnd) -> LegView | None:
        side = self._side(end)
        if side is None:
            return None
        leg = self._swap.leg(end)
        finality = leg.finality if isinstance(leg, EvmLeg) else Finality.FINALIZED
        try:
            return await self._layer(end).observe(self._htlcs[end], side, finality)
        except Exception as error:  # noqa: BLE001 - noted below, with its traceback
            # Whatever is wrong with one layer must not stop a claim on the other.
            self._note_trouble(f"the {end.value} leg cannot be read", error)
            return None

    async def _status(self, act: Act, intent: Intent) -> ActStatus:
        try:
            status = await self._layer(act.end).act_status(intent.act)
        except Exception as error:  # noqa: BLE001 - noted below, with its traceback
            self._note_trouble(f"the state of {intent.key} cannot be read", error)
            # Not known is not lost: nothing is sent on the strength of it.
            return ActStatus.UNDER_WAY
        refused = intent.outcome is not None and intent.outcome.get("answer") == "rejected"
        if status is ActStatus.UNSEEN and refused and act.verb is not Verb.FUND:
            return ActStatus.FAILED
        return status

    def _side(self, end: LegEnd) -> Side | None:
        """What this party is to a leg; None where its own node has no part in it (somebody else's invoice)."""
        is_taker = self.record.role is Role.TAKER
        if (
            is_taker
            and end is LegEnd.DESTINATION
            and not self._swap.made_preimage
            and isinstance(self._swap.leg(end), LightningLeg)
        ):
            return None
        return Side.PAYER if is_taker == (end is LegEnd.SOURCE) else Side.PAYEE

    # What is done

    async def _prepare(self, step: Step, observed: Observed) -> list[tuple[str, Json, LegEnd]]:
        acts: list[tuple[str, Json, LegEnd]] = []
        for order in step.orders:
            act, layer = order.act, self._layer(order.act.end)
            assert self._intents is not None
            attempts = [intent for intent in self._intents if _act_of(intent.key) == act]
            if order.manner is Manner.AGAIN:
                acts.append((attempts[-1].key, attempts[-1].act, act.end))
                continue
            preimage = None
            if act.verb is Verb.COLLECT:
                preimage = self._preimage(observed)
                if preimage is None:
                    raise JournalError("the preimage is not known where it should be", transfer_id=self.record.swap_id)
            await self._check_can_finish(order, record_state(self.record))
            key = act.key if not attempts else f"{act.key}.{len(attempts) + 1}"
            acts.append((key, await layer.prepare(act.verb, self._htlcs[act.end], preimage), act.end))
        return acts

    async def _reprice(self, step: Step, observed: Observed) -> list[tuple[str, Json, LegEnd]]:
        """Claims and refunds that are under way and have to be offered at a higher price, as their next attempts.

        It is the same act with the same nonce, so the machine is not asked: what it ordered once is under way until it
        has an effect or has failed.
        """
        if step.state.is_final:
            return []
        assert self._intents is not None
        acts: list[tuple[str, Json, LegEnd]] = []
        for act, intent in _last_attempts(self._intents).items():
            if act.verb is Verb.FUND or observed.acts.get(act) is not ActStatus.UNDER_WAY:
                continue
            try:
                repriced = await self._layer(act.end).repriced(intent.act, self._htlcs[act.end])
            except Exception as error:  # noqa: BLE001 - noted below, with its traceback
                # It waits at the price that it has; whatever else the swap has to do goes on.
                self._note_trouble(f"{intent.key} is not offered at a higher price", error)
                continue
            if repriced is not None:
                attempts = sum(_act_of(one.key) == act for one in self._intents)
                acts.append((f"{act.key}.{attempts + 1}", repriced, act.end))
        return acts

    async def _check_can_finish(self, order: Order, state: State) -> None:
        """Before funding: every act that may be needed later. Before showing the preimage: the claim; not after."""
        if order.act.verb is Verb.FUND:
            ends: tuple[LegEnd, ...] = (LegEnd.SOURCE, LegEnd.DESTINATION)
        elif order.act.verb is Verb.COLLECT and isinstance(state, TakerCounterFunded):
            ends = (order.act.end,)
        else:
            return
        for end in ends:
            side = self._side(end)
            if side is not None:
                await self._layer(end).check_can_finish(self._htlcs[end], side)

    def _preimage(self, observed: Observed) -> Preimage | None:
        if self._swap.made_preimage and self._around.preimages is not None:
            candidates = [self._around.preimages.preimage(self.record.swap_id)]
        else:
            candidates = [
                view.preimage
                for view in (observed.destination, observed.source)
                if view is not None and view.preimage is not None
            ]
        wanted = self._signed.terms.payment_hash
        return next((one for one in candidates if one.payment_hash == wanted), None)

    async def _commit(
        self, state: State, step: Step, observed: Observed, acts: Sequence[tuple[str, Json, LegEnd]]
    ) -> bool:
        """Write the state with the intents of its new acts; whether there was anything to write."""
        assert self._intents is not None
        known = {intent.key for intent in self._intents}
        intents = [Intent(key, act) for key, act, _ in acts if key not in known]
        if step.state == state and not intents:
            return False
        if step.state.is_final:
            await self._save_proof(step, observed)
        self.record = await self._around.journal.advance(
            self.record,
            state=write_state(step.state),
            is_final=step.state.is_final,
            event=step.event or (intents[0].key if intents else "more is known"),
            now=int(self._around.clock.now()),
            intents=intents,
        )
        self._intents = [*self._intents, *intents]
        LOG.info("%s: %s (%s)", self._label, step.state.name, step.event or "same state")
        self._around.announce(self.record)
        return True

    async def _perform(self, key: str, act: Json, end: LegEnd) -> None:
        try:
            await self._layer(end).perform(act)
        except TransactionError as error:
            answer = "rejected" if error.outcome is Outcome.REJECTED else "unknown"
            self._note_trouble(f"{key} was refused", error)
        except NodeError as error:
            if error.outcome is Outcome.NOT_SENT:
                self._note_trouble(f"{key} was not sent", error)
                self._unsent.add(key)
                return
            answer = "unknown"
            self._note_trouble(f"{key} was sent, with no answer that says more", error)
        else:
            answer = "taken"
        self._unsent.discard(key)
        await self._around.journal.record_outcome(self.record.swap_id, key, {"answer": answer})
        assert self._intents is not None
        self._intents = [
            Intent(one.key, one.act, {"answer": answer}) if one.key == key and one.outcome is None else one
            for one in self._intents
        ]

    async def _save_proof(self, step: Step, observed: Observed) -> None:
        """Before the final state is written, so that whoever sees that finds the proof."""
        if self._around.make_proof is None or isinstance(step.state, TakerAbandoned):
            return
        completed = isinstance(step.state, TakerCompleted | ProviderCompleted)
        preimage = self._preimage(observed) if completed else None
        source = await self._evidence(LegEnd.SOURCE, preimage)
        destination = await self._evidence(LegEnd.DESTINATION, preimage)
        if source is None and destination is None:
            return
        proof = self._around.make_proof(self._signed, source, destination)
        await self._around.journal.save_proof(self.record.swap_id, proof)

    async def _evidence(self, end: LegEnd, preimage: Preimage | None) -> LegEvidence | None:
        side = self._side(end)
        if side is not None:
            evidence = await self._layer(end).evidence(self._htlcs[end], side)
            if evidence is not None:
                return evidence
        if preimage is not None and isinstance(self._swap.leg(end), LightningLeg):
            return LightningPaymentEvidence(preimage)
        return None

    # Waiting

    async def _wait(self, observed: Observed, wake_at: int | None, retry_seconds: float) -> None:
        """Until a layer may answer something else, the machine wants to look, or trouble is to be tried again."""
        seconds = retry_seconds if self._troubled else self._around.poll_seconds
        if wake_at is not None:
            seconds = min(seconds, max(wake_at - self._around.clock.now(), _SHORTEST_WAIT_SECONDS))
        views = ((LegEnd.SOURCE, observed.source), (LegEnd.DESTINATION, observed.destination))
        waits = [
            asyncio.ensure_future(self._layer(end).wait_for_change(self._htlcs[end], view))
            for end, view in views
            if view is not None and not (view.final and view.state is not LegState.NONE)
        ]
        if not waits or self._troubled:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            await asyncio.sleep(seconds)
            return
        try:
            done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        for wait in done:
            if (error := wait.exception()) is not None:
                raise error
        await asyncio.sleep(_SHORTEST_WAIT_SECONDS)

    # Small parts

    async def _reload(self) -> None:
        loaded = await self._around.journal.load(self.record.swap_id)
        if loaded is None:
            raise JournalError("the swap is no longer in the journal", transfer_id=self.record.swap_id)
        self.record = loaded
        self._intents, self._stale = None, False
        self._around.announce(loaded)

    def _layer(self, end: LegEnd) -> HtlcLayer:
        protocol = self._swap.leg(end).protocol
        layer = self._around.layers.get(protocol)
        if layer is None:
            raise JournalError(f"no client for {protocol.value} is configured", transfer_id=self.record.swap_id)
        return layer

    def _note_trouble(self, what: str, error: Exception) -> None:
        self._troubled = True
        # What is not a Layer2Error is a fault of this package: its traceback is needed.
        trace = None if isinstance(error, Layer2Error) else error
        LOG.warning("%s in state %s: %s: %s", self._label, self.record.state["state"], what, error, exc_info=trace)


def _retry_seconds(failures: int) -> float:
    return float(min(_FIRST_RETRY_SECONDS * 2 ** min(failures, 16), _LONGEST_RETRY_SECONDS))


def _act_of(key: str) -> Act:
    verb, end = key.split(".")[:2]
    return Act(Verb(verb), LegEnd(end))


def _last_attempts(intents: Sequence[Intent]) -> dict[Act, Intent]:
    return {_act_of(intent.key): intent for intent in intents}
