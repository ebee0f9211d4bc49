"""Thousands of invoices and payments do not slow a simulated Lightning node's calls, so it can be used for benchmarks.

The tests count the interpreter's instructions, which do not depend on other processes of the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from hashlib import sha256
from types import FrameType
from typing import Any

import pytest

from layer2.local.simnet.clock import SimClock
from layer2.local.simnet.lightning.channel import Side
from layer2.local.simnet.lightning.identity import LightningIdentity
from layer2.local.simnet.lightning.ledger import Ledger
from layer2.local.simnet.lightning.messages import Message
from layer2.local.simnet.lightning.node import SimulatedNode
from layer2.local.simnet.lightning.records import Invoice, Payment
from layer2.local.simnet.lightning.streams import StateFeed, one_invoice
from simnet.lightning_client import START, preimage_of

FEW, MANY = 30, 2_000
OPEN, HELD, PAID, NEW = 1_000_000, 2_000_000, 3_000_000, 4_000_000


def hash_of(number: int) -> bytes:
    return sha256(preimage_of(number)).digest()


class Provider:
    """A provider's node with many open invoices, each with a subscriber, and many paid ones."""

    def __init__(self, count: int) -> None:
        self.clock = SimClock.manual(START)
        self.ledger = Ledger(800)
        self.feed = StateFeed(self.ledger)
        seed = b"a seed for tests"
        self.node = SimulatedNode(LightningIdentity(seed, Side.PROVIDER, 700, 1), self.ledger, self.clock)
        self.payer = SimulatedNode(LightningIdentity(seed, Side.TAKER, 700, 1), self.ledger, self.clock)
        for number in range(count):
            self.add(OPEN + number, is_hold=True)
            self.feed.open(one_invoice(self.ledger.books[Side.PROVIDER], hash_of(OPEN + number)))
            self.add(PAID + number, is_hold=False)
            self.pay(PAID + number)
        self.add(HELD, is_hold=True)
        self.pay(HELD)
        self.feed.wake()

    def add(self, number: int, *, is_hold: bool) -> None:
        """Put an invoice into the ledger without its signature, which takes most of the time."""
        self.ledger.add_invoice(
            Invoice(
                owner=Side.PROVIDER,
                payment_hash=hash_of(number),
                payment_address=bytes(32),
                payment_request="lnbcrt1",
                memo="",
                description_hash=b"",
                value_msat=1000,
                created_at=START,
                expiry_seconds=3600,
                final_cltv_delta=24,
                preimage=None if is_hold else preimage_of(number),
            )
        )

    def pay(self, number: int) -> None:
        payment = self.ledger.start_payment(
            Payment(
                owner=Side.TAKER,
                payment_hash=hash_of(number),
                payee=b"",
                payment_address=bytes(32),
                payment_request="lnbcrt1",
                amount_msat=1000,
                final_cltv_delta=24,
                created_at=START,
            )
        )
        self.ledger.attempt(payment, START)


CALLS: dict[str, Callable[[Provider], object]] = {
    "time passes": lambda it: it.ledger.pass_time(START + 1),
    "an invoice is made": lambda it: it.node.invoices.add_hold_invoice(Message({"hash": hash_of(NEW), "value": 1})),
    "an invoice is looked up": lambda it: it.node.invoices.lookup_invoice(Message({"r_hash_str": hash_of(OPEN).hex()})),
    "an invoice is cancelled": lambda it: it.node.invoices.cancel_invoice(Message({"payment_hash": hash_of(OPEN)})),
    "an invoice is settled": lambda it: it.node.invoices.settle_invoice(Message({"preimage": preimage_of(HELD)})),
    "an invoice is paid": lambda it: it.pay(OPEN),
    "an invoice is listened to": lambda it: it.feed.open(
        it.node.invoices.subscribe_single_invoice(Message({"r_hash": hash_of(OPEN)}))
    ),
    "all invoices are listened to": lambda it: it.feed.open(it.node.invoices.subscribe_invoices(Message({}))),
    "the newest invoices are listed": lambda it: it.node.invoices.list_invoices(
        Message({"reversed": True, "num_max_invoices": 10})
    ),
    "invoices are listed from an index on": lambda it: it.node.invoices.list_invoices(
        Message({"index_offset": 20, "num_max_invoices": 10})
    ),
    "a payment is tracked": lambda it: it.feed.open(
        it.payer.payments.track_payment(Message({"payment_hash": hash_of(PAID)}))
    ),
    "all payments are listened to": lambda it: it.feed.open(it.payer.payments.track_payments(Message({}))),
    "the newest payments are listed": lambda it: it.payer.payments.list_payments(
        Message({"reversed": True, "max_payments": 10, "include_incomplete": True})
    ),
    "payments are listed from an index on": lambda it: it.payer.payments.list_payments(
        Message({"index_offset": 5, "max_payments": 10})
    ),
}


@pytest.fixture(scope="module")
def costs() -> dict[str, tuple[int, int]]:
    few, many = Provider(FEW), Provider(MANY)
    return {name: (cost(call, few), cost(call, many)) for name, call in CALLS.items()}


def cost(call: Callable[[Provider], object], provider: Provider) -> int:
    """The number of instructions for the call and for publishing its events."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call(provider)
        provider.feed.wake()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", CALLS)
def test_a_call_costs_no_more_with_many_invoices_and_payments(costs: dict[str, tuple[int, int]], name: str) -> None:
    few, many = costs[name]
    assert few > 0
    # Longer numbers take a few more instructions. One more per invoice would add thousands.
    assert many < few + 100
