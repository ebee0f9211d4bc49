"""A leg on a chain: its final state, its newest state, and the honest parties' transactions that may still be included.

EVM locks and Bitcoin outputs differ in four properties of their kind, which the leg defines.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from layer2.legs.leg import Leg
from layer2.legs.views import ActStatus, LegState, LegView, Release, Side, Verb
from layer2.model.transactions import Finality
from layer2.testing.explore.clock import Clock
from layer2.testing.explore.swaps import PREIMAGE
from layer2.testing.explore.world import Fate, LegWorld, Move, Seen, Who

__all__ = ["ChainLeg", "On", "Tx"]


class On(IntEnum):
    """The state of the leg on the chain."""

    NONE = 0
    FUNDED = 1
    WRONG = 2
    """Another amount, or several outputs."""
    COLLECTED = 3
    RETURNED = 4
    VOIDED = 5
    """The inputs of the funding are spent, so it can never be made."""


class Tx(IntEnum):
    """The state of an honest party's transaction."""

    NEVER = 0
    NEW = 1
    """In the pool since this region."""
    OLD = 2
    """In the pool since an earlier region: it is included before this region ends."""
    LOST_OLD = 3
    """Dropped by the payer's node in the region in which it had to be included."""
    LOST = 4
    """Dropped by the payer's node. Other nodes may still have it."""
    MINED = 5


_VERBS = (Verb.FUND, Verb.COLLECT, Verb.RECLAIM, Verb.RELEASE, Verb.VOID)
_RESULT = {
    Verb.FUND: On.FUNDED,
    Verb.COLLECT: On.COLLECTED,
    Verb.RECLAIM: On.RETURNED,
    Verb.RELEASE: On.RETURNED,
    Verb.VOID: On.VOIDED,
}
_SHOWN = {
    On.NONE: LegState.NONE,
    On.FUNDED: LegState.FUNDED,
    On.WRONG: LegState.PENDING,
    On.COLLECTED: LegState.COLLECTED,
    On.RETURNED: LegState.RETURNED,
    On.VOIDED: LegState.NONE,
}
_RECLAIM = _VERBS.index(Verb.RECLAIM)
_ENDS = (On.COLLECTED, On.RETURNED, On.VOIDED)


class _State(NamedTuple):
    final: int
    latest: int
    old: int
    """Whether the newest state, if not final, exists since an earlier region."""
    signed: int
    """Whether the payer has the payee's release signature."""
    pool: tuple[int, ...]
    """The state of each verb's transaction."""
    more: int = 0
    """Whether others have paid a second time: 1: it is in the leg. 2: the payer has taken it back."""


class ChainLeg(LegWorld[_State]):
    """A lock or an output.

    Args:
        funded_by_others: whether others pay, instead of the payer.
    """

    def __init__(
        self, leg: Leg, end: str, clock: Clock, payer: Who, payee: Who, *, funded_by_others: bool = False
    ) -> None:
        super().__init__(_State(On.NONE, On.NONE, 0, 0, (0,) * len(_VERBS)), leg, end, clock, payer, payee)
        self._by_others = funded_by_others
        self._cosigned = leg.release is Release.COSIGNED
        self._at_latest = leg.finality is Finality.LATEST

    def can_lag(self, number: int, region: int) -> bool:
        """Whether the newest state is not final."""
        state = self.states[number]
        return state.final != state.latest

    def fate(self, number: int) -> Fate:
        """Where the money is in the final state."""
        return _fate(self.states[number].final)

    def fate_now(self, number: int) -> Fate:
        """Where the money is in the newest state."""
        return _fate(self.states[number].latest)

    def may_land(self, number: int, region: int) -> bool:
        """Whether the funding was sent and can still be included."""
        state = self.states[number]
        in_time = not self.leg.lapses or region < self.deadline
        return state.pool[0] != Tx.NEVER and in_time and state.final == On.NONE

    def is_forgotten(self, number: int) -> bool:
        """False: a chain does not forget a funding."""
        return False

    def is_wrong(self, number: int) -> bool:
        """Whether the newest funding is wrong."""
        return self.states[number].latest == On.WRONG

    def was_funded(self, number: int) -> bool:
        """Whether the funding was sent."""
        state = self.states[number]
        return state.pool[0] != Tx.NEVER or (state.final, state.latest) != (On.NONE, On.NONE)

    def was_released(self, number: int) -> bool:
        """Whether the payee has signed or sent a release."""
        state = self.states[number]
        return bool(state.signed) or state.pool[_VERBS.index(Verb.RELEASE)] != Tx.NEVER

    def is_unsettled(self, number: int, verb: Verb) -> bool:
        """Whether the transaction was sent and is not final."""
        return self.states[number].pool[_VERBS.index(verb)] != Tx.NEVER

    def has_more(self, number: int) -> bool:
        """Whether others have paid a second time, and the payer has not taken it back."""
        return self.states[number].more == 1

    def _is_valid(self, state: _State, verb: Verb, region: int) -> bool:
        match verb:
            case Verb.FUND:
                return state.latest == On.NONE and (region < self.deadline or not self.leg.lapses)
            case Verb.COLLECT:
                return state.latest == On.FUNDED
            case Verb.RECLAIM:
                money = state.latest in (On.FUNDED, On.WRONG)
                past = region >= self.deadline
                return (money and (past or bool(state.signed))) or (past and state.more == 1)
            case Verb.RELEASE:
                return state.latest == On.FUNDED and not self._cosigned
            case Verb.VOID:
                return state.latest == On.NONE

    def _world_moves(self, now: _State, region: int, accepted: bool) -> list[Move]:
        moves = []
        for place, verb in enumerate(_VERBS):
            where = now.pool[place]
            if where in (Tx.NEW, Tx.OLD, Tx.LOST, Tx.LOST_OLD) and self._is_valid(now, verb, region):
                seen = where in (Tx.NEW, Tx.OLD)
                late = where in (Tx.OLD, Tx.LOST_OLD)
                mined = now._replace(pool=_put(now.pool, place, Tx.MINED), old=int(late or now.old))
                after = _with_result(mined, verb)
                moves.append(self._move(f"its {verb.value} lands", after, is_benign=seen))
            if where in (Tx.NEW, Tx.OLD):
                lost = Tx.LOST if where == Tx.NEW else Tx.LOST_OLD
                moves.append(self._move(f"its {verb.value} is dropped", now._replace(pool=_put(now.pool, place, lost))))
        if now.latest != now.final:
            moves.append(
                self._move(
                    "the newest becomes final", self._tidy(now._replace(final=now.latest), region), is_benign=True
                )
            )
            if now.final == On.NONE and now.latest in (On.COLLECTED, On.RETURNED):
                moves.append(self._move("the funding becomes final", self._tidy(now._replace(final=On.FUNDED), region)))
            moves.extend(self._reorganised(now, region, accepted))
        if self.leg.anyone_collects and region >= self.deadline and now.latest == On.FUNDED:
            moves.append(self._move("a stranger refunds it", self._by_anyone(now, Verb.RECLAIM)))
        if self._by_others:
            moves.extend(self._paid_by_others(now))
        return moves

    def _paid_by_others(self, now: _State) -> list[Move]:
        """Others pay: the right amount or another one, at any time; and once more after it."""
        if now.latest == On.NONE:
            return [
                self._move("others pay", now._replace(latest=On.FUNDED)),
                self._move("others pay a wrong amount", now._replace(latest=On.WRONG)),
            ]
        if now.more or now.final == On.NONE:
            return []
        # The right amount is credited also after a wrong one.
        credited = On.FUNDED if now.latest == On.WRONG else now.latest
        return [self._move("others pay again", now._replace(latest=credited, more=1))]

    def _reorganised(self, now: _State, region: int, accepted: bool) -> list[Move]:
        """The newest blocks are replaced: their transactions return to the pool, or are dropped."""
        targets = {now.final}
        if now.final == On.NONE and now.latest in (On.COLLECTED, On.RETURNED):
            targets.add(On.FUNDED)
        if self._at_latest and accepted:
            targets.discard(On.NONE)
        moves = []
        for target in sorted(targets):
            name = On(target).name.lower()
            for again, fate in (
                (Tx.OLD if now.old else Tx.NEW, "pooled"),
                (Tx.LOST_OLD if now.old else Tx.LOST, "lost"),
            ):
                pool = tuple(
                    again if where == Tx.MINED and (target == On.NONE or verb is not Verb.FUND) else where
                    for verb, where in zip(_VERBS, now.pool, strict=True)
                )
                if now.old and target == On.NONE:
                    # The replacement of the funding is included no later than the funding would have been.
                    sooner = {Tx.NEW: Tx.OLD, Tx.LOST: Tx.LOST_OLD}
                    pool = (*pool[:-1], sooner.get(Tx(pool[-1]), pool[-1]))
                after = now._replace(latest=target, pool=pool, old=now.old if target != now.final else 0)
                moves.append(
                    self._move(f"reorganised back to {name}, its transactions {fate}", self._tidy(after, region))
                )
        return moves

    def _by_anyone(self, now: _State, verb: Verb) -> _State:
        """Another party performs an honest party's act. Anyone can submit a public transaction again, so a
        reorganisation delays it no longer than the party's own transaction."""
        place = _VERBS.index(verb)
        actor = self.payee if verb is Verb.COLLECT else self.payer
        if actor is Who.HONEST:
            late = now.pool[place] in (Tx.OLD, Tx.LOST_OLD)
            now = now._replace(pool=_put(now.pool, place, Tx.MINED), old=int(late or now.old))
        return _with_result(now, verb)

    def _hostile_moves(self, now: _State, region: int, side: Side, knows: bool) -> list[Move]:
        moves = []
        if side is Side.PAYER:
            if self._is_valid(now, Verb.FUND, region):
                moves.append(self._move("funds", now._replace(latest=On.FUNDED)))
                if not self.leg.lapses:
                    moves.append(self._move("funds wrongly", now._replace(latest=On.WRONG)))
                    moves.append(self._move("voids", now._replace(latest=On.VOIDED)))
            if self._is_valid(now, Verb.RECLAIM, region):
                moves.append(self._move("takes back", self._by_anyone(now, Verb.RECLAIM)))
        elif now.latest == On.FUNDED and not self._cosigned:
            back = now._replace(latest=On.RETURNED)
            if region >= self.deadline:
                back = self._by_anyone(now, Verb.RECLAIM)
            moves.append(self._move("gives back", back))
        elif self._cosigned and not now.signed and now.final not in _ENDS:
            moves.append(self._move("signs a release", now._replace(signed=1)))
        may_claim = side is Side.PAYEE or self.leg.anyone_collects
        if may_claim and knows and now.latest == On.FUNDED:
            moves.append(self._move("claims", self._by_anyone(now, Verb.COLLECT), shows=True))
        return moves

    def _advance(self, now: _State, region: int) -> _State | None:
        due = now.old or any(where in (Tx.OLD, Tx.LOST_OLD) for where in now.pool)
        if due and now.latest != now.final:
            # A transaction that was included instead of the party's was included no later, so it is final no later.
            return None
        for place, verb in enumerate(_VERBS):
            if now.pool[place] == Tx.OLD and self._is_valid(now, verb, region):
                return None
        aged = {Tx.NEW: Tx.OLD, Tx.LOST_OLD: Tx.LOST}
        pool = tuple(aged.get(Tx(where), where) for where in now.pool)
        return self._tidy(now._replace(pool=pool, old=int(now.latest != now.final)), region + 1)

    def _send(self, now: _State, region: int, verb: Verb) -> _State:
        if verb is Verb.RELEASE and self._cosigned:
            return now if now.final in _ENDS else now._replace(signed=1)
        place = _VERBS.index(verb)
        again = {Tx.NEVER: Tx.NEW, Tx.LOST: Tx.NEW, Tx.LOST_OLD: Tx.OLD}
        if verb is Verb.RECLAIM and now.more == 1:
            again[Tx.MINED] = Tx.NEW
        where = again.get(Tx(now.pool[place]), now.pool[place])
        if verb is Verb.VOID and now.pool[0] in (Tx.OLD, Tx.LOST_OLD) and where == Tx.NEW:
            # It replaces a funding that a reorganisation removed, which causes no delay.
            where = Tx.OLD
        pool = _put(now.pool, place, where)
        return self._tidy(now._replace(pool=pool), region)

    def _see(self, now: _State, region: int, side: Side, lags: bool, public: bool) -> Seen:
        newest = now.final if lags else now.latest
        settled = self._at_latest or newest == now.final
        shown = _SHOWN[On(newest)]
        ended = newest in (On.COLLECTED, On.RETURNED)
        lapsed = self.leg.lapses and region > self.deadline and now.latest == On.NONE
        voided = now.final == On.VOIDED and side is Side.PAYER
        view = LegView(
            state=LegState.PENDING if newest == On.FUNDED and not settled else shown,
            clock=self.clock.readings[region],
            arrived=ended and settled,
            final=ended and newest == now.final,
            over=now.final == On.RETURNED or lapsed or voided,
            preimage=PREIMAGE if newest == On.COLLECTED or public else None,
            tx_id=None if newest in (On.NONE, On.VOIDED) else "tx",
            returnable=bool(now.signed) and newest not in _ENDS and side is Side.PAYER,
            has_more=now.more == 1 and side is Side.PAYER,
        )
        return Seen(view, tuple((verb, self._status(now, verb, lags)) for verb in _VERBS))

    def _status(self, now: _State, verb: Verb, lags: bool) -> ActStatus:
        newest, where = now.final if lags else now.latest, now.pool[_VERBS.index(verb)]
        if verb is Verb.RELEASE and self._cosigned:
            return ActStatus.DONE if now.signed else ActStatus.UNSEEN
        if verb is Verb.RECLAIM and now.more == 1 and where in (Tx.NEW, Tx.OLD, Tx.LOST, Tx.LOST_OLD):
            return ActStatus.UNDER_WAY if where in (Tx.NEW, Tx.OLD) else ActStatus.UNSEEN
        done = (On.FUNDED, On.COLLECTED, On.RETURNED) if verb is Verb.FUND else (_RESULT[verb],)
        if newest in done:
            return ActStatus.DONE
        if now.final in _ENDS and verb is not Verb.FUND:
            return ActStatus.FAILED
        return ActStatus.UNDER_WAY if where in (Tx.NEW, Tx.OLD, Tx.MINED) else ActStatus.UNSEEN

    def _tidy(self, now: _State, region: int) -> _State:
        """Forget transactions that can no longer be included."""
        pool = now.pool
        if now.final in _ENDS:
            pool = _put((0,) * len(_VERBS), _RECLAIM, pool[_RECLAIM] if now.more == 1 else 0)
        elif now.final != On.NONE or (self.leg.lapses and region >= self.deadline and now.latest == On.NONE):
            pool = _put(_put(pool, 0, Tx.NEVER), len(_VERBS) - 1, Tx.NEVER)
        return now._replace(pool=pool, old=0 if now.final == now.latest else now.old)


def _with_result(now: _State, verb: Verb) -> _State:
    """The state after an act. A refund spends the funding first, and what was paid again with the next one."""
    if verb is Verb.RECLAIM and now.more == 1 and now.latest not in (On.FUNDED, On.WRONG):
        return now._replace(more=2)
    return now._replace(latest=_RESULT[verb])


def _fate(on: int) -> Fate:
    if on in (On.FUNDED, On.WRONG):
        return Fate.HELD
    return Fate.PAID if on == On.COLLECTED else Fate.NOWHERE


def _put(pool: tuple[int, ...], place: int, where: int) -> tuple[int, ...]:
    return (*pool[:place], where, *pool[place + 1 :])
