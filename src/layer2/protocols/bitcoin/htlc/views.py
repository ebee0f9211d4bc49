"""What the outputs to a leg's script show of the leg. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from layer2.contracts.bitcoin_htlc import Branch
from layer2.errors import BadAnswer
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.views import ClockReading, LegState, LegView, Side
from layer2.model.transactions import Preimage
from layer2.protocols.bitcoin.chain.outputs import Output, Spend
from layer2.protocols.bitcoin.fees import INCREMENT
from layer2.protocols.bitcoin.htlc.spending import SpendPrice
from layer2.protocols.bitcoin.source.http import BITCOIN

__all__ = [
    "Seen",
    "conflicting",
    "credited",
    "lasting",
    "open_funding",
    "open_outputs",
    "price_of",
    "seen_leg",
    "together",
]

_BLOCK_SECONDS: Final = 600
_MATURITY: Final = 100
"""Confirmations from which a block's own reward can be spent: a claim of it before that is not valid."""
_NO_CLOCK: Final = ClockReading(0, 0)
_MOST_OTHERS: Final = 99
_INPUT_SIZE: Final = 101
"""Virtual bytes that one more output adds to a refund, at most."""
_WORTH_A_REFUND: Final = 1_000
"""Satoshi; a smaller output is taken back only together with others."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One read of a leg."""

    outputs: Sequence[Output]
    """Those to the leg's script: the confirmed ones in the chain's order, then the unconfirmed."""
    clock: ClockReading
    final_depth: int
    """Confirmations with which an end is final."""
    now: int
    """Unix seconds."""

    def depth(self, spend_or_output: Spend | Output) -> int:
        """Confirmations; 0 while it is unconfirmed."""
        block = spend_or_output.block
        return 0 if block is None else self.clock.height - block.height + 1


def credited(leg: BitcoinLeg, outputs: Sequence[Output]) -> Output | None:
    """The output that counts as the leg's funding: the first with the exact amount, a confirmed one before others."""
    exact = [each for each in outputs if each.amount == leg.amount]
    return next((each for each in exact if each.block is not None), exact[0] if exact else None)


def open_outputs(seen: Seen) -> Sequence[Output]:
    """The outputs that no confirmed transaction spends, of any amount."""
    return [each for each in seen.outputs if each.spend is None or each.spend.block is None]


def open_funding(leg: BitcoinLeg, seen: Seen) -> Output | None:
    """The credited output, unless a confirmed transaction spends it."""
    output = credited(leg, seen.outputs)
    return None if output is None or (output.spend is not None and output.spend.block is not None) else output


def together(leg: BitcoinLeg, outputs: Sequence[Output], rate: int = 0) -> Sequence[Output]:
    """The outputs that one act covers: the credited one first, then the largest of the others.

    Anyone can pay to the script. Nodes do not relay a thousand inputs, and what the payee claims of the others in the
    mempool must not hold up the refund of the credited one.

    Args:
        outputs: open ones.
        rate: satoshi per 1,000 virtual bytes. Others that are not worth their input stay, unless there is no more.
    """
    first = credited(leg, outputs)
    others = [each for each in outputs if each is not first]
    good = [each for each in others if each.amount * 1_000 > _INPUT_SIZE * rate and not _is_claimed(leg, each)]
    if first is None and not good:
        good = others
    largest = sorted(good, key=lambda each: each.amount, reverse=True)[:_MOST_OTHERS]
    kept = {each.outpoint for each in largest}
    return [*([] if first is None else [first]), *(each for each in good if each.outpoint in kept)]


def _is_claimed(leg: BitcoinLeg, output: Output) -> bool:
    spending = None if output.spend is None else leg.htlc.spending(output.spend.witness)
    return spending is not None and spending[0] is Branch.CLAIM


def conflicting(seen: Seen, outputs: Sequence[Output]) -> tuple[int, int]:
    """The highest fee, in satoshi, and the highest rate of the mempool's spends of these outputs; zero without any.

    At the lock time both parties can spend an output, and nodes take the one that pays more.
    """
    amounts = {each.outpoint: each.amount for each in seen.outputs}
    fee = rate = 0
    for output in outputs:
        if output.spend is None or output.spend.block is not None:
            continue
        conflict = output.spend.transaction
        if any(each.prevout not in amounts for each in conflict.inputs):
            # It spends other coins too, so its fee is not known.
            continue
        paid = sum(amounts[each.prevout] for each in conflict.inputs) - sum(each.amount for each in conflict.outputs)
        fee, rate = max(fee, paid), max(rate, -(-paid * 1_000 // conflict.virtual_size))
    return fee, rate


def price_of(seen: Seen, outputs: Sequence[Output], rate: int) -> SpendPrice:
    """What a spend of these outputs pays: the rate, or more if the mempool has another spend of them."""
    fee, conflicting_rate = conflicting(seen, outputs)
    return SpendPrice(max(rate, conflicting_rate + INCREMENT) if fee else rate, fee)


def seen_leg(
    leg: BitcoinLeg, seen: Seen, side: Side, *, by_others: bool, is_voided: bool, is_returnable: bool
) -> LegView:
    """The view of the leg.

    Args:
        side: of the party that sees it.
        by_others: as payer, whether others fund it.
        is_voided: as payer, whether a transaction that spends an input of the funding otherwise is final.
        is_returnable: as payer, whether the payee's release signature for an open output is known.
    """
    output = credited(leg, seen.outputs)
    counted = [each for each in open_outputs(seen) if each.amount >= _WORTH_A_REFUND]
    if output is None:
        # To a payer that funds the leg itself, another amount is a stranger's payment, and not its own funding.
        counts_wrong = side is Side.PAYEE or by_others
        pending = counts_wrong and bool(counted)
        if counts_wrong and not pending and (returned := _wrong_returned(leg, seen)) is not None:
            return returned
        state = LegState.PENDING if pending else LegState.NONE
        reason = "the output's amount differs from the terms'" if pending else None
        return LegView(state, seen.clock, over=is_voided and not pending, returnable=is_returnable, reason=reason)
    has_more = by_others and any(each is not output for each in counted)
    if output.spend is not None:
        ended = _ended(leg, seen, output.spend)
        if ended is not None:
            return replace(ended, has_more=has_more)
    depth = max(leg.depth, _MATURITY) if output.is_coinbase else leg.depth
    funded = output.block is not None and seen.depth(output) >= depth
    return LegView(
        LegState.FUNDED if funded else LegState.PENDING,
        seen.clock,
        tx_id=_tx_id(output),
        returnable=is_returnable,
        has_more=has_more,
    )


def lasting(view: LegView) -> LegView:
    """The view without what changes with every block or every second."""
    return replace(view, clock=_NO_CLOCK, final_at=None)


def _wrong_returned(leg: BitcoinLeg, seen: Seen) -> LegView | None:
    """The view if only other amounts were paid, and they are back with the payer."""
    spends = [each.spend for each in seen.outputs if each.spend is not None]
    ended = _ended(leg, seen, min(spends, key=seen.depth)) if spends else None
    return ended if ended is not None and ended.state is LegState.RETURNED else None


def _ended(leg: BitcoinLeg, seen: Seen, spend: Spend) -> LegView | None:
    """The view of a spent output. A refund or release that is not confirmed has not ended the leg."""
    spending = leg.htlc.spending(spend.witness)
    if spending is None:
        raise BadAnswer("the source shows a spend of the output that its script does not allow", protocol=BITCOIN)
    branch, secret = spending
    depth = seen.depth(spend)
    if branch is not Branch.CLAIM and depth == 0:
        return None
    is_final = depth >= seen.final_depth
    return LegView(
        LegState.COLLECTED if branch is Branch.CLAIM else LegState.RETURNED,
        seen.clock,
        arrived=depth >= leg.depth,
        final=is_final,
        over=is_final and branch is not Branch.CLAIM,
        preimage=None if secret is None else Preimage(secret),
        tx_id=spend.transaction.id,
        final_at=None if is_final or depth == 0 else seen.now + (seen.final_depth - depth) * _BLOCK_SECONDS,
    )


def _tx_id(output: Output) -> str:
    return output.outpoint.tx_hash[::-1].hex()
