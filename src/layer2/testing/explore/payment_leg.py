"""A leg that is a Lightning payment: in flight, held, settled or failed, and what both nodes know of it."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from typing import Final, NamedTuple

from layer2.legs.invoices import decoded
from layer2.legs.leg import Leg
from layer2.legs.lightning import LightningLeg
from layer2.legs.views import ActStatus, HeldPayment, LegState, LegView, Side, Verb
from layer2.protocols.lightning.views import EXPIRY_MARGIN
from layer2.testing.explore.clock import Clock, Region
from layer2.testing.explore.swaps import PREIMAGE
from layer2.testing.explore.world import Fate, LegWorld, Move, Seen, Who

__all__ = ["At", "PaymentLeg"]


class At(IntEnum):
    """The state of a payment."""

    NONE = 0
    SENT = 1
    """The payer's node has accepted it; a lagging read shows it as not sent yet."""
    HELD = 2
    HELD_BADLY = 3
    """In too many parts, or in too small ones."""
    SETTLED = 4
    """The preimage is revealed, and an HTLC may still be in the payee's last channel."""
    SETTLED_FINALLY = 5
    FAILED = 6
    """The payer has it back, also if the payee cancelled the invoice before it was paid."""


_MONEY: Final = (At.SENT, At.HELD, At.HELD_BADLY)
_PART: Final = HeldPayment(expiry_height=0, parts=1, smallest_part_msat=1_000_000_000)
_TOO_MANY: Final = 100


class _State(NamedTuple):
    at: int
    forgotten: int
    """Whether the payer's node has lost the payment permanently."""
    cancelled: int
    """Whether the payee refuses to be paid."""


class PaymentLeg(LegWorld[_State]):
    """A payment of one hold invoice, or of a stranger's invoice."""

    def __init__(self, leg: Leg, end: str, clock: Clock, payer: Who, payee: Who) -> None:
        super().__init__(_State(At.NONE, 0, 0), leg, end, clock, payer, payee)
        self._resolved_in = Region.BEFORE_KNOWN if end == "destination" else Region.AT_SOURCE
        """An HTLC is resolved before this region ends, if necessary on chain."""
        assert isinstance(leg, LightningLeg)
        expires_at = decoded(leg.invoice).expires_at
        self._last = clock.region_of(expires_at)
        """The last region in which the invoice can be paid."""
        self._over_from = clock.region_of(expires_at + EXPIRY_MARGIN)
        """The region in which the payer's node begins to exclude a payment."""

    def can_lag(self, number: int, region: int) -> bool:
        """Whether the payment was sent just now, or the payer's node may not exclude yet that it is paid."""
        now = self.states[number]
        is_unpaid = now.at == At.NONE or bool(now.forgotten)
        return now.at == At.SENT or (is_unpaid and region == self._over_from)

    def fate(self, number: int) -> Fate:
        """Where the money is."""
        at = self.states[number].at
        return Fate.HELD if at in _MONEY else Fate.PAID if at in (At.SETTLED, At.SETTLED_FINALLY) else Fate.NOWHERE

    def fate_now(self, number: int) -> Fate:
        """As ``fate``: the state of a payment is always final."""
        return self.fate(number)

    def may_land(self, number: int, region: int) -> bool:
        """False: a payment that was sent already holds money."""
        return False

    def is_forgotten(self, number: int) -> bool:
        """Whether the payer's node has lost the payment permanently."""
        return bool(self.states[number].forgotten)

    def was_funded(self, number: int) -> bool:
        """Whether the payment was sent."""
        return self.states[number].at != At.NONE

    def was_released(self, number: int) -> bool:
        """Whether the invoice is cancelled."""
        return bool(self.states[number].cancelled)

    def is_unsettled(self, number: int, verb: Verb) -> bool:
        """False: the state of a payment is always final."""
        return False

    def is_wrong(self, number: int) -> bool:
        """Whether the payment is held in bad parts."""
        return self.states[number].at == At.HELD_BADLY

    def _world_moves(self, now: _State, region: int, accepted: bool) -> list[Move]:
        moves = []
        if now.at == At.SENT:
            moves.append(self._move("the payment arrives", now._replace(at=At.HELD), is_benign=True))
            moves.append(self._move("the payment arrives in bad parts", now._replace(at=At.HELD_BADLY)))
            moves.append(self._move("the payment fails", now._replace(at=At.FAILED)))
        if now.at in (At.HELD, At.HELD_BADLY) and region >= self.begin:
            moves.append(self._move("the payee's lnd fails it", now._replace(at=At.FAILED)))
        if now.at in _MONEY and region >= self.deadline:
            moves.append(self._move("the HTLC times out", now._replace(at=At.FAILED), is_benign=True))
        if now.at == At.SETTLED:
            moves.append(self._move("the HTLC is gone", now._replace(at=At.SETTLED_FINALLY), is_benign=True))
        if now.at != At.NONE and not now.forgotten and self.payer is Who.HONEST:
            moves.append(self._move("the payer's node forgets the payment", now._replace(forgotten=1)))
        return moves

    def _hostile_moves(self, now: _State, region: int, side: Side, knows: bool) -> list[Move]:
        moves = []
        if side is Side.PAYER:
            if now.at == At.NONE and not now.cancelled and region <= self._last:
                moves.append(self._move("pays", now._replace(at=At.HELD)))
                moves.append(self._move("pays in bad parts", now._replace(at=At.HELD_BADLY)))
            return moves
        if now.at in (At.HELD, At.HELD_BADLY):
            if knows:
                moves.append(self._move("settles", now._replace(at=At.SETTLED_FINALLY), shows=True))
            moves.append(self._move("fails the payment", now._replace(at=At.FAILED)))
        if now.at == At.NONE and not now.cancelled:
            moves.append(self._move("cancels the invoice", now._replace(cancelled=1)))
        return moves

    def _advance(self, now: _State, region: int) -> _State | None:
        late = now.at in _MONEY and region == self._resolved_in
        return None if late or now.at == At.SENT else now

    def _send(self, now: _State, region: int, verb: Verb) -> _State:
        match verb:
            case Verb.FUND if now.at == At.NONE:
                refused = now.cancelled or region > self._last
                return now._replace(at=At.FAILED if refused else At.SENT)
            case Verb.COLLECT if now.at in (At.HELD, At.HELD_BADLY):
                return now._replace(at=At.SETTLED)
            case Verb.RELEASE if now.at == At.NONE:
                return now._replace(cancelled=1)
            case Verb.RELEASE if now.at in (At.HELD, At.HELD_BADLY):
                return now._replace(at=At.FAILED, cancelled=1)
            case _:
                return now

    def _see(self, now: _State, region: int, side: Side, lags: bool, public: bool) -> Seen:
        if side is Side.PAYER:
            return Seen(self._seen_by_payer(now, region, lags), ((Verb.FUND, self._payment_status(now)),))
        view = self._seen_by_payee(now, region)
        settled, gone = now.at in (At.SETTLED, At.SETTLED_FINALLY), now.at == At.FAILED or bool(now.cancelled)
        collect = ActStatus.DONE if settled else ActStatus.FAILED if gone else ActStatus.UNSEEN
        release = ActStatus.DONE if gone else ActStatus.FAILED if settled else ActStatus.UNSEEN
        return Seen(view, ((Verb.COLLECT, collect), (Verb.RELEASE, release)))

    def _payment_status(self, now: _State) -> ActStatus:
        if now.forgotten or now.at == At.NONE:
            return ActStatus.UNSEEN
        if now.at in _MONEY:
            return ActStatus.UNDER_WAY
        return ActStatus.FAILED if now.at == At.FAILED else ActStatus.DONE

    def _seen_by_payer(self, now: _State, region: int, lags: bool) -> LegView:
        clock = self.clock.readings[region]
        if now.forgotten or now.at == At.NONE:
            return LegView(
                LegState.NONE, clock, over=region > self._over_from or (region == self._over_from and not lags)
            )
        if now.at in _MONEY:
            return LegView(LegState.PENDING if lags else LegState.FUNDED, clock, tx_id="tx")
        if now.at == At.FAILED:
            return LegView(LegState.RETURNED, clock, arrived=True, final=True, over=True, tx_id="tx")
        return LegView(LegState.COLLECTED, clock, arrived=True, final=True, preimage=PREIMAGE, tx_id="tx")

    def _seen_by_payee(self, now: _State, region: int) -> LegView:
        clock = self.clock.readings[region]
        if now.cancelled or now.at == At.FAILED:
            return LegView(LegState.RETURNED, clock, arrived=True, final=True, over=True)
        if now.at in (At.NONE, At.SENT):
            return LegView(LegState.NONE, clock)
        if now.at in (At.SETTLED, At.SETTLED_FINALLY):
            is_final = now.at == At.SETTLED_FINALLY
            return LegView(LegState.COLLECTED, clock, arrived=True, final=is_final, preimage=PREIMAGE, tx_id="tx")
        held = replace(_PART, expiry_height=self.clock.expiry[self.end])
        if now.at == At.HELD_BADLY:
            held = replace(held, parts=_TOO_MANY)
        return LegView(LegState.FUNDED, clock, tx_id="tx", held=held)
