"""Hash-locked legs that are outputs on Bitcoin's chain."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from typing import Final

from layer2.errors import (
    BadAnswer,
    FormatError,
    FundsRulesError,
    InsufficientFunds,
    InvalidRequest,
)
from layer2.formats.bitcoin_transaction import TxOut
from layer2.legs.bitcoin import BitcoinKeys, BitcoinLeg, BitcoinOffer
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, ClockReading, LegState, LegView, OfferRequest, Side, Verb
from layer2.model.transactions import Finality, Preimage
from layer2.ports.journal import Json, swap_holder
from layer2.ports.legs import HtlcLayer, LegListener
from layer2.protocols.bitcoin.chain.evidence import spend_evidence
from layer2.protocols.bitcoin.chain.follower import ChainState
from layer2.protocols.bitcoin.chain.outputs import Output, outputs_of
from layer2.protocols.bitcoin.fees import INCREMENT, next_rate, target_blocks
from layer2.protocols.bitcoin.htlc.acts import Broadcast, Coin, ReleaseSignatures, read_act
from layer2.protocols.bitcoin.htlc.spending import (
    CLAIM_SIZE,
    REFUND_SIZE,
    Held,
    claim,
    is_release,
    refund,
    release,
    release_signature,
)
from layer2.protocols.bitcoin.htlc.views import (
    Seen,
    credited,
    lasting,
    open_funding,
    open_outputs,
    price_of,
    seen_leg,
    together,
)
from layer2.protocols.bitcoin.parts import BitcoinParts
from layer2.protocols.bitcoin.source.http import BITCOIN

__all__ = ["BitcoinLegs"]

_FUND_SIZE: Final = 300
"""Virtual bytes of a funding with three inputs and change."""
_STALE_SECONDS: Final = 3 * 3600
"""A newest block older than this happens by chance once in ten years."""
_SCAN_BACK: Final = 144
"""Blocks before the height of the terms from which outputs are searched."""


class BitcoinLegs(HtlcLayer):
    """Legs of the party's own wallet, seen at its own source.

    Args:
        parts: the parts of the client.
    """

    def __init__(self, parts: BitcoinParts) -> None:
        self._parts = parts
        self._released: dict[bytes, dict[Held, bytes]] = {}
        self._destinations: dict[bytes, bytes] = {}
        self._coins_of: defaultdict[bytes, set[bytes]] = defaultdict(set)

    async def leg_offer(self) -> BitcoinOffer:
        """See ``HtlcLayer``: the wallet's keys of quotes, and the lowest fee rate of a funding."""
        key, release_key = self._parts.keys.public_keys(None)
        settings = self._parts.settings
        return BitcoinOffer(settings.prefix, key, release_key, settings.min_fee_rate, Finality.FINALIZED)

    async def offer(self, request: OfferRequest) -> str:
        """See ``HtlcLayer``: the keys of this payment hash."""
        return BitcoinKeys(*self._parts.keys.public_keys(request.payment_hash)).write()

    async def network_cost(self, amount: int) -> int:
        """See ``HtlcLayer``: a funding and a claim at the present estimate."""
        rate = await self._parts.source.fee_rate(target_blocks(_STALE_SECONDS))
        return -(-(_FUND_SIZE + CLAIM_SIZE) * rate // 1_000)

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """See ``HtlcLayer``: coins to fund as payer, and an amount that is worth its claim or refund."""
        leg = self._leg(htlc)
        await self.read_clock()
        rate = await self._parts.source.fee_rate(1)
        size = CLAIM_SIZE if side is Side.PAYEE else REFUND_SIZE
        if leg.amount <= 2 * size * rate // 1_000:
            raise InsufficientFunds(
                f"an output of {leg.amount} sat is not worth its fees at {rate / 1_000:.1f} sat/vB", protocol=BITCOIN
            )
        if htlc.funded_by_others:
            self._check_refund_is_own(leg)
        elif side is Side.PAYER and credited(leg, (await self._seen(htlc)).outputs) is None:
            balance, held = await self._parts.coins.balance()
            needed = leg.amount + _FUND_SIZE * rate // 1_000
            if balance.confirmed - held < needed:
                raise InsufficientFunds(
                    f"the wallet has {balance.confirmed - held} sat of confirmed coins that no other swap holds; the "
                    f"funding needs {needed}",
                    protocol=BITCOIN,
                )

    async def reserve(self, htlc: Htlc, side: Side) -> None:
        """See ``HtlcLayer``: follows the script."""
        self._watch(self._leg(htlc))

    def free(self, htlc: Htlc) -> None:
        """See ``HtlcLayer``: follows the script no longer."""
        leg = self._leg(htlc)
        for script in (leg.htlc.program, *self._coins_of.pop(leg.htlc.program, ())):
            self._parts.follower.unwatch(script)
        self._released.pop(leg.payment_hash, None)

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        """See ``HtlcLayer``."""
        leg = self._leg(htlc)
        side = leg.payee if verb in (Verb.COLLECT, Verb.RELEASE) else leg.payer
        if not self._parts.keys.owns(side, leg.payment_hash):
            raise FundsRulesError(f"the act {verb.value} belongs to the other party of the output", protocol=BITCOIN)
        match verb:
            case Verb.FUND:
                if htlc.funded_by_others:
                    raise FundsRulesError("others fund this output", protocol=BITCOIN)
                return (await self._fund(htlc)).write()
            case Verb.COLLECT:
                if preimage is None or preimage.payment_hash != leg.payment_hash:
                    raise FundsRulesError("a claim needs the preimage of the payment hash", protocol=BITCOIN)
                return (await self._claim(htlc, preimage, await self._rate(htlc, verb))).write()
            case Verb.RELEASE:
                return (await self._release(htlc)).write()
            case Verb.RECLAIM:
                return (await self._reclaim(htlc, await self._rate(htlc, verb))).write()
            case Verb.VOID:
                return (await self._void(htlc)).write()

    async def perform(self, act: Json) -> None:
        """See ``HtlcLayer``. A release is performed by the journal's record of it."""
        match read_act(act):
            case Broadcast() as broadcast:
                await self._parts.source.broadcast(broadcast.transaction)
                if broadcast.verb in (Verb.FUND, Verb.VOID):
                    now = int(self._parts.clock.now())
                    await self._parts.coins.wallet.note_unconfirmed(broadcast.transaction, now)
            case ReleaseSignatures():
                return

    async def act_status(self, act: Json) -> ActStatus:
        """See ``HtlcLayer``: FAILED once another transaction spends the same first coin, finally."""
        read = read_act(act)
        if isinstance(read, ReleaseSignatures):
            return ActStatus.DONE
        own = {read.transaction.hash, *read.replaced}
        first = read.coins[0]
        self._parts.follower.watch(first.script, max(0, read.made_at - _SCAN_BACK), first.outpoint)
        state = await self._parts.follower.read()
        for located in self._parts.follower.located(first.script):
            if not any(one.prevout == first.outpoint for one in located.transaction.inputs):
                continue
            if located.transaction.hash in own:
                return ActStatus.DONE if located.block is not None else ActStatus.UNDER_WAY
            if located.block is None:
                continue
            depth = state.tip.height - located.block.height + 1
            return ActStatus.FAILED if depth >= self._parts.settings.final_depth else ActStatus.UNSEEN
        return ActStatus.UNSEEN

    async def repriced(self, act: Json, htlc: Htlc) -> Json | None:
        """See ``HtlcLayer``: the same output, spent with a higher fee."""
        read = read_act(act)
        if not isinstance(read, Broadcast) or read.verb not in (Verb.COLLECT, Verb.RECLAIM):
            return None
        if await self.act_status(act) is not ActStatus.UNDER_WAY:
            return None
        leg = self._leg(htlc)
        state = await self._parts.follower.read()
        left = self._blocks_left(leg, read.verb, state.tip.height, state.median_time)
        estimate = await self._parts.source.fee_rate(target_blocks(left))
        rate = next_rate(read.rate, estimate, left, _most_rate(leg.amount, read.transaction.virtual_size))
        if rate is None or (read.made_at >= state.tip.height and estimate <= read.rate):
            return None
        if read.verb is Verb.COLLECT:
            spending = leg.htlc.spending(read.transaction.inputs[0].witness)
            if spending is None or spending[1] is None:
                raise FormatError("the claim's witness has no preimage", protocol=BITCOIN)
            made = await self._claim(htlc, Preimage(spending[1]), rate)
        else:
            made = await self._reclaim(htlc, rate)
        if made.fee < read.fee + INCREMENT * made.transaction.virtual_size // 1_000:
            return None
        replaced = (*read.replaced, read.transaction.hash)
        return Broadcast(made.verb, made.transaction, made.coins, made.fee, made.made_at, replaced).write()

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        """See ``HtlcLayer``."""
        leg = self._leg(htlc)
        seen = await self._seen(htlc)
        is_missing = side is Side.PAYER and credited(leg, seen.outputs) is None
        return self._view(htlc, side, seen, is_voided=is_missing and await self._is_voided(leg))

    def _view(self, htlc: Htlc, side: Side, seen: Seen, *, is_voided: bool) -> LegView:
        leg = self._leg(htlc)
        returnable = side is Side.PAYER and self._is_returnable(htlc, leg, seen)
        by_others = side is Side.PAYER and htlc.funded_by_others
        return seen_leg(leg, seen, side, by_others=by_others, is_voided=is_voided, is_returnable=returnable)

    def _is_returnable(self, htlc: Htlc, leg: BitcoinLeg, seen: Seen) -> bool:
        """Whether the payee's release signature for an open output is known. Only a payer knows one."""
        signed = self._released.get(leg.payment_hash, {})
        main = None if htlc.funded_by_others else open_funding(leg, seen)
        return any(_held(each) in signed for each in (open_outputs(seen) if main is None else [main]))

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """See ``HtlcLayer``: waits for the next block, a change in the mempool, or the payee's release."""
        leg = self._leg(htlc)
        before = await self._seen(htlc)
        while True:
            await asyncio.sleep(self._parts.settings.poll_interval_ms / 1_000)
            now = await self._seen(htlc)
            if now.outputs != before.outputs or now.clock != before.clock or now.clock != view.clock:
                return
            if view.state is LegState.NONE and credited(leg, now.outputs) is not None:
                return
            if self._is_returnable(htlc, leg, now) != view.returnable:
                return

    @property
    def can_follow(self) -> bool:
        """See ``HtlcLayer``."""
        return True

    def follow(self, htlc: Htlc, side: Side, view: LegView, listener: LegListener) -> float | None:
        """See ``HtlcLayer``: outputs and spends are reported, also of the mempool, and the lock time, and a release.

        Each block is reported where depth matters: to a funding, to an end, and to a payer whose funding is not there.
        """
        self._watch(self._leg(htlc))
        counts_blocks = view.state is not LegState.FUNDED and (view.state is not LegState.NONE or side is Side.PAYER)
        seen = self._last_seen(htlc)
        if seen is None or lasting(self._view(htlc, side, seen, is_voided=view.over)) != lasting(view):
            return None
        if seen.clock != view.clock:
            return None

        def look() -> object:
            seen = self._last_seen(htlc)
            if seen is None:
                return None
            clock = seen.clock if counts_blocks else self._leg(htlc).is_past(seen.clock)
            return lasting(self._view(htlc, side, seen, is_voided=view.over)), seen.outputs, clock

        self._parts.news.follow(htlc.payment_hash, listener, look)
        return math.inf

    def unfollow(self, payment_hash: bytes, listener: LegListener) -> None:
        """See ``HtlcLayer``."""
        self._parts.news.unfollow(payment_hash, listener)

    async def read_clock(self) -> ClockReading:
        """See ``HtlcLayer``: the median time past, and the height."""
        state = await self._parts.follower.read()
        age = self._parts.clock.now() - state.time
        if age > _STALE_SECONDS:
            raise BadAnswer(
                f"the node's newest block is {age / 3600:.1f} h old: it is not synced",
                code="clock",
                protocol=BITCOIN,
                retryable=True,
            )
        return ClockReading(state.median_time, state.tip.height)

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        """See ``HtlcLayer``: the transaction that spent the credited output, with the headers after its block."""
        leg, seen = self._leg(htlc), await self._seen(htlc)
        output = credited(leg, seen.outputs)
        if output is None or output.spend is None or output.spend.block is None:
            return None
        return await spend_evidence(self._parts.source, output.funding, output.spend, seen.final_depth)

    async def take_release(self, htlc: Htlc, release: Json) -> None:
        """See ``HtlcLayer``: keeps the payee's signatures that are valid for this leg."""
        leg, act = self._leg(htlc), read_act(release)
        if isinstance(act, ReleaseSignatures):
            valid = {held: signature for held, signature in act.signed if is_release(leg.htlc, held, signature)}
            self._released.setdefault(leg.payment_hash, {}).update(valid)
            self._parts.news.compare(leg.payment_hash)

    async def _fund(self, htlc: Htlc) -> Broadcast:
        leg, seen = self._leg(htlc), await self._seen(htlc)
        if leg.is_past(seen.clock):
            raise FundsRulesError("the output's deadline has passed", protocol=BITCOIN)
        holder, coins = swap_holder(leg.payment_hash), self._parts.coins
        await coins.bring_up_to_date()
        is_spent = not (await coins.wallet.confirmed_coins()).keys() >= set(await coins.held(holder))
        if is_spent or credited(leg, seen.outputs) is not None:
            raise FundsRulesError("this payment hash was funded before", protocol=BITCOIN)
        rate = max(await self._parts.source.fee_rate(2), leg.fee_floor)
        self._parts.check_fee_rate(rate)
        outputs = [TxOut(leg.amount, leg.htlc.program)]
        built = await coins.pay(holder, outputs, rate)
        scripts = await coins.wallet.scripts_of(built.coins)
        self._coins_of[leg.htlc.program].add(scripts[0])
        spent = tuple([Coin(point, script) for point, script in zip(built.coins, scripts, strict=True)])
        return Broadcast(Verb.FUND, built.transaction, spent, built.fee, seen.clock.height)

    def _check_refund_is_own(self, leg: BitcoinLeg) -> None:
        if not self._parts.keys.owns(leg.payer, leg.payment_hash):
            raise FundsRulesError("the output would be refunded to another party", protocol=BITCOIN)

    async def _void(self, htlc: Htlc) -> Broadcast:
        leg, seen = self._leg(htlc), await self._seen(htlc)
        funding = credited(leg, seen.outputs)
        if funding is not None and funding.block is not None:
            raise FundsRulesError("the funding is in a block", protocol=BITCOIN)
        coins = await self._parts.coins.held(swap_holder(leg.payment_hash))
        if not coins:
            raise FundsRulesError("no funding of this output was made with the wallet's coins", protocol=BITCOIN)
        script = (await self._parts.coins.wallet.scripts_of(coins[:1]))[0]
        built = await self._parts.coins.take_back(coins[0], await self._parts.source.fee_rate(1))
        return Broadcast(Verb.VOID, built.transaction, (Coin(coins[0], script),), built.fee, seen.clock.height)

    async def _is_voided(self, leg: BitcoinLeg) -> bool:
        """Whether a final transaction other than the funding has spent the first coin of the funding."""
        coins = await self._parts.coins.held(swap_holder(leg.payment_hash))
        if not coins:
            return False
        script = (await self._parts.coins.wallet.scripts_of(coins[:1]))[0]
        self._coins_of[leg.htlc.program].add(script)
        self._parts.follower.watch(script, max(0, leg.issued_height - _SCAN_BACK), coins[0])
        state = await self._parts.follower.read()
        final = state.tip.height - self._parts.settings.final_depth + 1
        return any(
            located.block is not None
            and located.block.height <= final
            and any(one.prevout == coins[0] for one in located.transaction.inputs)
            and all(one.script != leg.htlc.program for one in located.transaction.outputs)
            for located in self._parts.follower.located(script)
        )

    async def _claim(self, htlc: Htlc, preimage: Preimage, rate: int) -> Broadcast:
        leg, seen = self._leg(htlc), await self._seen(htlc)
        output = credited(leg, seen.outputs)
        if output is None or output.block is None:
            raise FundsRulesError("there is no confirmed output to claim", protocol=BITCOIN)
        to = await self._destination(leg)
        price = price_of(seen, [output], rate)
        made = claim(leg.htlc, _held(output), preimage, to, price, lambda digest: self._sign(leg, leg.payee, digest))
        fee = output.amount - sum(each.amount for each in made.outputs)
        return Broadcast(Verb.COLLECT, made, (Coin(output.outpoint, leg.htlc.program),), fee, seen.clock.height)

    async def _release(self, htlc: Htlc) -> ReleaseSignatures:
        leg, seen = self._leg(htlc), await self._seen(htlc)
        signed = [
            (held, release_signature(leg.htlc, held, lambda digest: self._sign(leg, leg.payee_release, digest)))
            for held in map(_held, together(leg, open_outputs(seen)))
        ]
        return ReleaseSignatures(tuple(signed))

    async def _reclaim(self, htlc: Htlc, rate: int) -> Broadcast:
        leg, seen = self._leg(htlc), await self._seen(htlc)
        signed, is_past = self._released.get(leg.payment_hash, {}), leg.is_past(seen.clock)
        main = None if htlc.funded_by_others else open_funding(leg, seen)
        outputs = [each for each in open_outputs(seen) if each.block is not None]
        if not outputs or (main is not None and main not in outputs):
            # A party takes its own funding back once, so nothing else is taken back before it.
            raise FundsRulesError("there is no confirmed output to take back", protocol=BITCOIN)
        free = outputs if is_past else [each for each in outputs if _held(each) in signed]
        chosen = together(leg, free, rate) if main is None or main in free else ()
        helds = [_held(each) for each in chosen]
        to, price = await self._destination(leg), price_of(seen, chosen, rate)
        if is_past:
            made = refund(leg.htlc, helds, to, price, lambda digest: self._sign(leg, leg.payer, digest))
        elif given := [(each, signed[each]) for each in helds]:
            made = release(leg.htlc, given, to, price, lambda digest: self._sign(leg, leg.payer, digest))
        else:
            raise FundsRulesError("the lock time is not reached, and the payee has not released", protocol=BITCOIN)
        fee = sum(each.amount for each in helds) - sum(each.amount for each in made.outputs)
        coins = tuple([Coin(each.outpoint, leg.htlc.program) for each in helds])
        return Broadcast(Verb.RECLAIM, made, coins, fee, seen.clock.height)

    async def _rate(self, htlc: Htlc, verb: Verb) -> int:
        state = await self._parts.follower.read()
        left = self._blocks_left(self._leg(htlc), verb, state.tip.height, state.median_time)
        return await self._parts.source.fee_rate(target_blocks(left))

    def _blocks_left(self, leg: BitcoinLeg, verb: Verb, height: int, median_time: int) -> int:
        """Blocks until an act has to be confirmed: a claim before the lock time, a refund within 36 blocks after it."""
        until = leg.locktime - height if leg.is_by_height else (leg.locktime - median_time) // 600
        return until - self._parts.settings.final_depth if verb is Verb.COLLECT else until + 36

    async def _destination(self, leg: BitcoinLeg) -> bytes:
        """The wallet's script that receives what the leg returns or pays."""
        known = self._destinations.get(leg.payment_hash)
        if known is None:
            known = self._destinations[leg.payment_hash] = await self._parts.coins.wallet.fresh_script()
        return known

    async def _seen(self, htlc: Htlc) -> Seen:
        self._watch(self._leg(htlc))
        return self._seen_at(htlc, await self._parts.follower.read())

    def _last_seen(self, htlc: Htlc) -> Seen | None:
        """What the last reading shows of the leg; None without one."""
        state = self._parts.follower.state
        return None if state is None else self._seen_at(htlc, state)

    def _seen_at(self, htlc: Htlc, state: ChainState) -> Seen:
        leg = self._leg(htlc)
        outputs = outputs_of(leg.htlc.program, self._parts.follower.located(leg.htlc.program))
        clock = ClockReading(state.median_time, state.tip.height)
        return Seen(outputs, clock, self._parts.settings.final_depth, int(self._parts.clock.now()))

    def _watch(self, leg: BitcoinLeg) -> None:
        self._parts.follower.watch(leg.htlc.program, max(0, leg.issued_height - _SCAN_BACK))

    def _sign(self, leg: BitcoinLeg, key: bytes, digest: bytes) -> bytes:
        return self._parts.keys.sign(key, leg.payment_hash, digest)

    @staticmethod
    def _leg(htlc: Htlc) -> BitcoinLeg:
        if not isinstance(htlc.leg, BitcoinLeg):
            raise InvalidRequest("this leg is not on Bitcoin's chain", protocol=BITCOIN)
        return htlc.leg


def _held(output: Output) -> Held:
    return Held(output.outpoint, output.amount)


def _most_rate(amount: int, size: int) -> int:
    """The highest rate that an act is worth: half of what it moves."""
    return amount * 1_000 // (2 * size)
