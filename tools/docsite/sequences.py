"""Draw the sequence of a swap in each direction: ``python -m tools.docsite.sequences``, into ``docs/diagrams``.

The deadlines are the code's own, with mainnet's margins and BOB's latest block. A test compares the files with them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.docsite import svg

from layer2.legs.evm import EvmOffer
from layer2.legs.leg import LegOffer
from layer2.legs.lightning import LightningOffer
from layer2.legs.timelock_settings import MAINNET
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.swap_rules.timelocks import PairDurations, pair_durations

__all__ = ["DIAGRAMS", "pictures"]

DIAGRAMS: Final = Path(__file__).parents[2] / "docs" / "diagrams"
_LANES: Final = ("you", "BOB", "Lightning", "provider")
_FIRST, _GAP, _STEP, _TOP = 90, 240, 50, 118


@dataclass(frozen=True, slots=True)
class Message:
    """An arrow between two lanes; within one lane it is a note."""

    sender: str
    receiver: str
    words: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A horizontal line: what must have happened by then."""

    words: str


_Row = Message | Deadline


def _hours(seconds: int) -> str:
    return f"{seconds / 3600:.1f} h"


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} min"


def _offers() -> tuple[LegOffer, LegOffer]:
    key, account = b"\x02" * 33, b"\x0a" * 20
    layer = Layer2ProtocolType.BOB
    return EvmOffer(layer, 60808, account, account, 8, account, Finality.LATEST), LightningOffer("bc", key)


def _agreement() -> Iterator[_Row]:
    yield Message("you", "provider", "ask for a quote", "amount, layers")
    yield Message("provider", "you", "signed quote", f"valid {MAINNET.quote_validity} s")


def _fund_by() -> Deadline:
    return Deadline(f"fund_by: {_minutes(MAINNET.funding_window)} after the terms")


def _bob_to_lightning(times: PairDurations) -> Iterator[_Row]:
    yield from _agreement()
    yield Message("you", "Lightning", "make a hold invoice at your lnd", "your own preimage, from your swap seed")
    yield Message("you", "provider", "BOB account and invoice")
    yield Message("provider", "you", "signed terms", "you rebuild and compare every field")
    yield Message("you", "BOB", "lock the amount and the fees", "journaled first")
    yield _fund_by()
    yield Message("BOB", "provider", "the lock is as final as agreed")
    yield Message("provider", "Lightning", "pay your invoice", "your lnd holds the payment")
    yield Message("you", "Lightning", "settle: the preimage is out", "only after all checks of the held payment")
    yield Deadline(f"collect_by: {_hours(times.collect_by)} after the terms; later you show no preimage")
    yield Message("Lightning", "provider", "the preimage")
    yield Message("provider", "BOB", "claim the lock with the preimage")
    yield Deadline(
        f"deadline of the lock: at most {_hours(times.source_deadline)}; from then on you can refund it alone"
    )
    yield Message("you", "BOB", "refund, if the provider vanished")
    yield Deadline(f"your money is surely back after {_hours(times.worst)}")


def _lightning_to_bob(times: PairDurations) -> Iterator[_Row]:
    yield from _agreement()
    yield Message("you", "provider", "BOB account and payment hash", "your own preimage, from your swap seed")
    yield Message("provider", "Lightning", "make a hold invoice", "under your payment hash")
    yield Message("provider", "you", "signed terms with the invoice", "you rebuild and compare every field")
    yield Message("you", "Lightning", "pay the invoice", "the provider's lnd holds the payment; journaled first")
    yield _fund_by()
    yield Message("Lightning", "provider", "the payment is held")
    yield Message("provider", "BOB", "lock the amount for you")
    yield Message("BOB", "you", "the lock is as final as agreed")
    yield Message("you", "BOB", "claim: the preimage is out")
    yield Deadline(f"collect_by: {_hours(times.collect_by)} after the terms; later you show no preimage")
    yield Message("BOB", "provider", "the preimage")
    yield Message("provider", "Lightning", "settle the held payment")
    yield Deadline(f"the payment expires: at most {_hours(times.source_deadline)}; unsettled, it returns by itself")
    yield Deadline(f"your money is surely back after {_hours(times.worst)}, if the provider vanished")


def pictures() -> dict[str, str]:
    """File names and their content."""
    bob, lightning = _offers()
    there, back = pair_durations(bob, lightning, MAINNET), pair_durations(lightning, bob, MAINNET)
    return {
        "bob-to-lightning.svg": _picture("A swap from BOB to Lightning, on mainnet", [*_bob_to_lightning(there)]),
        "lightning-to-bob.svg": _picture("A swap from Lightning to BOB, on mainnet", [*_lightning_to_bob(back)]),
    }


def _picture(title: str, rows: list[_Row]) -> str:
    right, bottom = _FIRST + _GAP * (len(_LANES) - 1), _TOP + _STEP * len(rows)
    shapes = [svg.text(20, 28, title, "title", "start")]
    shapes.append(
        svg.text(20, 46, "times from the signing of the terms, in the worst case of both clocks", "small", "start")
    )
    for lane in _LANES:
        x = _x(lane)
        shapes.append(svg.line(x, 92, x, bottom, "life"))
        shapes += [svg.rectangle(x - 55, 62, 110, 30, "box"), svg.text(x, 82, lane)]
    for number, row in enumerate(rows):
        shapes += _shapes(row, _TOP + number * _STEP + 22, right)
    return svg.document(right + 90, bottom + 20, title, shapes)


def _x(lane: str) -> float:
    return _FIRST + _GAP * _LANES.index(lane)


def _shapes(row: _Row, y: float, right: float) -> Iterator[str]:
    match row:
        case Message():
            start, end = _x(row.sender), _x(row.receiver)
            yield svg.line(start, y, end, y, "edge")
            yield svg.text((start + end) / 2, y - 6, row.words, "label")
            if row.more:
                yield svg.text((start + end) / 2, y + 14, row.more, "label small")
        case Deadline():
            yield svg.line(20, y, right + 70, y, "deadline")
            yield svg.text((20 + right + 70) / 2, y - 6, row.words, "label")


def main() -> int:
    """Draw both directions."""
    DIAGRAMS.mkdir(exist_ok=True)
    for name, content in pictures().items():
        (DIAGRAMS / name).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
