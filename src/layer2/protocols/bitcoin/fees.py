"""Fee rates, in satoshi per 1,000 virtual bytes. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["INCREMENT", "RELAXED_TARGET", "next_rate", "target_blocks"]

INCREMENT: Final = 1_000
"""What a replacement pays for its own size in addition, as Bitcoin Core and btcd require (BIP 125, rule 4)."""
_RISE_PERCENT: Final = 25
_CALM_BLOCKS: Final = 36
RELAXED_TARGET: Final = 6
"""Within how many blocks a transaction without a deadline should be confirmed."""


def target_blocks(blocks_left: int) -> int:
    """Within how many blocks an act should be confirmed, if it has to be within ``blocks_left``."""
    return max(1, min(RELAXED_TARGET, blocks_left // RELAXED_TARGET))


def next_rate(rate: int, estimate: int, blocks_left: int, most: int) -> int | None:
    """The rate of the next version of a pending act, or None if it can stay.

    It is replaced if the estimate is a quarter above its rate, or at every block once fewer than 36 are left. The
    result depends only on the arguments, so a restart changes nothing.

    Args:
        rate: of the newest version.
        estimate: for ``target_blocks(blocks_left)``.
        blocks_left: until the act has to be in a block; may be negative.
        most: the highest rate that the act is worth.
    """
    raised = rate + max(INCREMENT, rate * _RISE_PERCENT // 100)
    if estimate < raised and blocks_left >= _CALM_BLOCKS:
        return None
    wanted = min(max(estimate, raised), most)
    return wanted if wanted >= rate + INCREMENT else None
