"""How long a followed record is used instead of a look-up, and when a leg's view may differ by time alone."""

from __future__ import annotations

from typing import Any

import pytest

from layer2.formats import bolt11
from layer2.legs.lightning import LightningLeg
from layer2.legs.timelock_settings import settings_for
from layer2.legs.views import ClockReading, Side
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState
from layer2.protocols.lightning.statuses import HashStatus
from layer2.protocols.lightning.tracked import TrackedHash
from layer2.protocols.lightning.views import next_time
from protocols.lightning.world import World, leg_to_provider

NOW = 1_000.0


def invoice(state: InvoiceState) -> InvoiceRecord:
    return InvoiceRecord(
        payment_hash=bytes(32),
        text="lnbcrt1",
        state=state,
        htlcs=(),
        preimage=None,
        is_hold=True,
        expires_at=2_000,
        paid_msat=0,
        made_at=0,
        settled_at=0,
        add_index=1,
        settle_index=0,
    )


INVOICES: dict[str, tuple[InvoiceState | None, float, bool, bool]] = {
    "open, reported by its stream": (InvoiceState.OPEN, 60.0, True, True),
    "open, not renewed by look-ups": (InvoiceState.OPEN, 121.0, True, False),
    "open, without a stream": (InvoiceState.OPEN, 1.1, False, False),
    "open, just looked up": (InvoiceState.OPEN, 0.5, False, True),
    "held, reported lately": (InvoiceState.ACCEPTED, 4.9, True, True),
    "held, the stream may have died": (InvoiceState.ACCEPTED, 5.1, True, False),
    "held, without a stream": (InvoiceState.ACCEPTED, 1.1, False, False),
    "settled": (InvoiceState.SETTLED, 9_999.0, False, True),
    "cancelled": (InvoiceState.CANCELED, 9_999.0, False, True),
    "not there": (None, 0.0, True, False),
}


@pytest.mark.parametrize("case", INVOICES)
def test_an_invoice_is_used_while_nothing_can_be_missed(case: str) -> None:
    state, age, has_stream, is_known = INVOICES[case]
    record = None if state is None else invoice(state)
    tracked = TrackedHash(bytes(32), Side.PAYEE, HashStatus(None, record), invoice_at=NOW - age)
    assert tracked.knows_invoice(NOW, 10.0, has_stream=has_stream) is is_known


@pytest.mark.parametrize(
    ("changes", "is_known"),
    [
        ({"side": Side.PAYER}, True),
        ({"side": Side.PAYER, "was_sent": True}, False),
        ({"side": Side.PAYER, "payment_at": NOW - 121}, False),
        ({"side": None}, False),
    ],
    ids=["not sent", "may have been sent", "long ago", "others can pay it"],
)
def test_the_absence_of_a_payment_is_used_while_only_this_client_can_end_it(
    changes: dict[str, Any], is_known: bool
) -> None:
    tracked = TrackedHash(bytes(32), **({"payment_at": NOW} | changes))
    assert tracked.knows_payment(NOW, 10.0, has_stream=False) is is_known


async def test_the_times_at_which_a_view_may_differ_come_in_turn(world: World) -> None:
    htlc = await leg_to_provider(world)
    assert isinstance(htlc.leg, LightningLeg)
    rules = settings_for("regtest")
    expiry, times, time = bolt11.decode(htlc.leg.invoice).expires_at, [], 0
    for _ in range(4):
        time = next_time(htlc.leg, ClockReading(time, 800), rules)
        times.append(time - expiry)
    assert times[:3] == [1, 121, 121 + rules.payment_timeout]
    assert times[3] > times[2]
    assert next_time(htlc.leg, ClockReading(time, 800), rules) > 2**60
