"""The state machine of the simulated Lightning nodes under random calls: no money is created, nothing is paid twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from layer2.local.simnet.lightning.channel import CAPACITY_SAT, MAX_HTLCS, Channel, Channels, Side
from layer2.local.simnet.lightning.ledger import Ledger
from layer2.local.simnet.lightning.records import (
    KEYSEND_RECORD,
    FailureReason,
    Invoice,
    InvoiceState,
    LedgerError,
    Payment,
    PaymentState,
)

NUMBERS = st.integers(0, 5)
SIDES = st.sampled_from(Side)


def preimage(number: int) -> bytes:
    return sha256(bytes([number])).digest()


def payment_hash(number: int) -> bytes:
    return sha256(preimage(number)).digest()


class TwoNodes(RuleBasedStateMachine):
    """Makes calls in any order, for both nodes, with a few hashes."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(100)
        self.now = 1_000

    @rule(owner=SIDES, number=NUMBERS, amount=st.integers(1, 6_000_000_000), hold=st.booleans())
    def add_invoice(self, owner: Side, number: int, amount: int, hold: bool) -> None:
        invoice = Invoice(
            owner=owner,
            payment_hash=payment_hash(number),
            payment_address=bytes(32),
            payment_request="",
            memo="",
            description_hash=b"",
            value_msat=amount,
            created_at=self.now,
            expiry_seconds=600,
            final_cltv_delta=24,
            preimage=None if hold else preimage(number),
        )
        self.attempt(lambda: self.ledger.add_invoice(invoice))

    @rule(
        sender=SIDES,
        number=NUMBERS,
        amount=st.integers(1, 6_000_000_000),
        parts=st.integers(1, 5),
        keysend=st.sampled_from([None, None, True, False]),
    )
    def send(self, sender: Side, number: int, amount: int, parts: int, keysend: bool | None) -> None:
        """Pay an invoice if ``keysend`` is None; else send a preimage, the correct one if it is true."""
        records = {} if keysend is None else {KEYSEND_RECORD: preimage(number if keysend else number + 1)}

        def start() -> None:
            payment = self.ledger.start_payment(
                Payment(
                    owner=sender,
                    payment_hash=payment_hash(number),
                    payee=b"",
                    payment_address=bytes(32) if keysend is None else b"",
                    payment_request="",
                    amount_msat=amount,
                    final_cltv_delta=24,
                    created_at=self.now,
                    custom_records=records,
                )
            )
            shares = [amount // parts] * (parts - 1)
            self.ledger.attempt(payment, self.now, [*shares, amount - sum(shares)])

        self.attempt(start)

    @rule(owner=SIDES, number=NUMBERS)
    def settle(self, owner: Side, number: int) -> None:
        self.attempt(lambda: self.ledger.settle_invoice(owner, preimage(number), self.now))

    @rule(owner=SIDES, number=NUMBERS)
    def cancel(self, owner: Side, number: int) -> None:
        self.attempt(lambda: self.ledger.cancel_invoice(owner, payment_hash(number), self.now))

    @rule(sender=SIDES)
    def hold(self, sender: Side) -> None:
        self.ledger.hold_payments(sender)

    @rule(sender=SIDES)
    def release(self, sender: Side) -> None:
        self.ledger.release_payments(sender, self.now)

    @rule(blocks=st.integers(1, 12))
    def mine(self, blocks: int) -> None:
        self.ledger.mine(blocks, self.now)

    @rule(seconds=st.integers(1, 400))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        self.ledger.pass_time(self.now)

    @staticmethod
    def attempt(call: Callable[[], object]) -> None:
        with suppress(LedgerError):
            call()

    @invariant()
    def the_channel_holds_what_was_put_in(self) -> None:
        channels = self.ledger.channels
        total = sum(channels.balance_msat(side) + channels.pending_msat(side) for side in Side)
        assert total == CAPACITY_SAT * 1000
        assert all(channels.balance_msat(side) >= 0 for side in Side)

    @invariant()
    def what_is_in_flight_belongs_to_a_payment_in_flight(self) -> None:
        in_flight = {
            (side, payment.payment_hash)
            for side in Side
            for payment in self.ledger.books[side].payments.values()
            if payment.state is PaymentState.IN_FLIGHT
        }
        assert {(htlc.sender, htlc.payment_hash) for htlc in self.ledger.channels.htlcs} == in_flight
        for side in Side:
            pending = [htlc.amount_msat for htlc in self.ledger.channels.htlcs if htlc.sender is side]
            assert self.ledger.channels.pending_msat(side) == sum(pending)
            assert len(pending) <= MAX_HTLCS
            assert [(side, payment.payment_hash) for payment in self.ledger.books[side].payments_in_flight()] == sorted(
                ((owner, key) for owner, key in in_flight if owner is side), key=lambda pair: pair[1]
            )

    @invariant()
    def indexes_lead_to_what_has_them(self) -> None:
        for side in Side:
            books = self.ledger.books[side]
            added = [books.invoice_at(index + 1) for index in range(len(books.added))]
            assert added == list(books.invoices.values()) == list(books.added_since(0))
            assert [invoice.add_index for invoice in added] == list(range(1, len(added) + 1))
            assert set(books.by_address.values()) <= books.invoices.keys()
            settled = [invoice.settle_index for invoice in books.settled_since(0)]
            assert settled == list(range(1, len(settled) + 1))
            sent = [payment for index in range(len(books.sent)) if (payment := books.payment_at(index + 1))]
            assert sent == sorted(books.payments.values(), key=lambda payment: payment.index)

    @invariant()
    def a_payment_succeeds_with_the_preimage_exactly_when_the_invoice_is_settled(self) -> None:
        for side in Side:
            settled = {
                invoice.payment_hash: invoice
                for invoice in self.ledger.books[side.peer].invoices.values()
                if invoice.state is InvoiceState.SETTLED
            }
            succeeded = {
                payment.payment_hash: payment
                for payment in self.ledger.books[side].payments.values()
                if payment.state is PaymentState.SUCCEEDED
            }
            assert settled.keys() == succeeded.keys()
            for key, payment in succeeded.items():
                assert payment.preimage is not None
                assert sha256(payment.preimage).digest() == key
                assert payment.amount_msat == settled[key].amount_paid_msat

    @invariant()
    def nothing_leaves_a_final_state_but_a_failed_payment(self) -> None:
        last: dict[tuple[type, Side, bytes], Invoice | Payment] = {}
        for record in self.ledger.history:
            before = last.get((type(record), record.owner, record.payment_hash))
            if before is not None and before.state.is_final:
                assert before.state is PaymentState.FAILED
            last[type(record), record.owner, record.payment_hash] = record


TwoNodes.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, database=None
)
TestTwoNodes = TwoNodes.TestCase


def test_a_channel_offers_no_more_than_the_balance_over_the_reserve() -> None:
    channel = Channel()
    most = channel.sendable_msat(Side.TAKER)
    assert most == 4_900_000_000
    with pytest.raises(ValueError, match="an HTLC needs a positive amount"):
        channel.offer(Side.TAKER, bytes(32), most + 1, 200)
    htlc = channel.offer(Side.TAKER, bytes(32), most, 200)
    channel.settle(htlc)
    with pytest.raises(KeyError):
        channel.fail(htlc)
    assert channel.balance_msat(Side.PROVIDER) == 9_900_000_000


def invoice_of_the_provider(ledger: Ledger) -> None:
    ledger.add_invoice(
        Invoice(
            owner=Side.PROVIDER,
            payment_hash=payment_hash(1),
            payment_address=b"s" * 32,
            payment_request="",
            memo="",
            description_hash=b"",
            value_msat=2_000,
            created_at=0,
            expiry_seconds=600,
            final_cltv_delta=24,
            preimage=None,
        )
    )


def payment_of_the_taker(ledger: Ledger, *, secret: bytes = b"s" * 32, amount_msat: int = 2_000) -> Payment:
    payment = ledger.start_payment(
        Payment(
            owner=Side.TAKER,
            payment_hash=payment_hash(1),
            payee=b"",
            payment_address=secret,
            payment_request="",
            amount_msat=amount_msat,
            final_cltv_delta=24,
            created_at=0,
        )
    )
    ledger.attempt(payment, 0)
    return ledger.books[Side.TAKER].payment(payment_hash(1))


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        pytest.param({}, PaymentState.IN_FLIGHT, id="as the invoice says"),
        pytest.param({"amount_msat": 3_000}, PaymentState.IN_FLIGHT, id="more than it asks"),
        pytest.param({"amount_msat": 1_999}, PaymentState.FAILED, id="less than it asks"),
        pytest.param({"secret": b"t" * 32}, PaymentState.FAILED, id="without its payment secret"),
    ],
)
def test_a_node_accepts_what_its_invoice_asks_for(changed: dict[str, Any], state: PaymentState) -> None:
    ledger = Ledger(100)
    invoice_of_the_provider(ledger)
    payment = payment_of_the_taker(ledger, **changed)
    assert payment.state is state
    if state is PaymentState.FAILED:
        assert payment.reason is FailureReason.INCORRECT_PAYMENT_DETAILS
        assert ledger.books[Side.PROVIDER].invoice(payment_hash(1)).state is InvoiceState.OPEN


@pytest.mark.parametrize(
    ("blocks", "state"),
    [
        pytest.param(3, PaymentState.IN_FLIGHT, id="padding used up"),
        pytest.param(4, PaymentState.FAILED, id="one block more"),
    ],
)
def test_an_htlc_that_arrives_late_needs_the_final_delta(blocks: int, state: PaymentState) -> None:
    ledger = Ledger(100)
    invoice_of_the_provider(ledger)
    ledger.hold_payments(Side.TAKER)
    payment_of_the_taker(ledger)
    ledger.mine(blocks, 0)
    ledger.release_payments(Side.TAKER, 0)
    assert ledger.books[Side.TAKER].payment(payment_hash(1)).state is state


def test_a_payment_that_fails_in_flight_first_shows_its_reason() -> None:
    ledger = Ledger(100)
    payment_of_the_taker(ledger)
    reason = FailureReason.INCORRECT_PAYMENT_DETAILS
    states = [(record.state.value, record.reason) for record in ledger.history if isinstance(record, Payment)]
    assert states == [
        ("IN_FLIGHT", FailureReason.NONE),
        ("IN_FLIGHT", FailureReason.NONE),
        ("IN_FLIGHT", reason),
        ("FAILED", reason),
    ]


def test_a_payment_in_parts_is_accepted_and_settled_as_one() -> None:
    ledger = Ledger(100)
    invoice_of_the_provider(ledger)
    payment = ledger.start_payment(
        Payment(
            owner=Side.TAKER,
            payment_hash=payment_hash(1),
            payee=b"",
            payment_address=b"s" * 32,
            payment_request="",
            amount_msat=5_000,
            final_cltv_delta=24,
            created_at=0,
        )
    )
    ledger.attempt(payment, 0, [2_000, 2_000, 1_000])
    accepted = ledger.books[Side.PROVIDER].invoice(payment_hash(1))
    assert [held.htlc.amount_msat for held in accepted.htlcs] == [2_000, 2_000, 1_000]
    assert accepted.amount_paid_msat == 5_000
    ledger.settle_invoice(Side.PROVIDER, preimage(1), 0)
    states = [
        (record.state, [attempt.state.value for attempt in record.attempts])
        for record in ledger.history
        if isinstance(record, Payment)
    ][-3:]
    assert states == [
        (PaymentState.IN_FLIGHT, ["SUCCEEDED", "IN_FLIGHT", "IN_FLIGHT"]),
        (PaymentState.IN_FLIGHT, ["SUCCEEDED", "SUCCEEDED", "IN_FLIGHT"]),
        (PaymentState.SUCCEEDED, ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED"]),
    ]
    assert ledger.channels.sent_msat(Side.TAKER) == 5_000


def test_a_channel_carries_no_more_htlcs_than_its_peer_accepts() -> None:
    channel = Channel()
    htlcs = [channel.offer(Side.TAKER, bytes(32), 1_000, 200) for _ in range(MAX_HTLCS)]
    assert not channel.can_offer(Side.TAKER, 1_000)
    assert channel.can_offer(Side.PROVIDER, 1_000)
    channel.fail(htlcs[0])
    assert channel.can_offer(Side.TAKER, 1_000)
    assert not channel.can_offer(Side.TAKER, 2_000, 2)


def test_several_channels_carry_more_htlcs_than_one() -> None:
    channels = Channels(2)
    htlcs = []
    for _ in range(MAX_HTLCS + 1):
        (channel,) = channels.placed(Side.TAKER, [1_000]) or ()
        htlcs.append(channel.offer(Side.TAKER, bytes(32), 1_000, 200))
    assert [htlc.channel for htlc in htlcs] == [0] * MAX_HTLCS + [1]
    assert channels.pending_msat(Side.TAKER) == (MAX_HTLCS + 1) * 1_000
    channels.settle(htlcs[-1])
    channels.fail(htlcs[0])
    assert [len(channel.htlcs) for channel in channels.all] == [MAX_HTLCS - 1, 0]
    assert channels.sent_msat(Side.TAKER) == 1_000


def test_the_parts_of_a_payment_count_together_in_each_channel() -> None:
    channels = Channels(2)
    most = channels.all[0].sendable_msat(Side.TAKER)
    assert [channel.number for channel in channels.placed(Side.TAKER, [most, most]) or ()] == [0, 1]
    assert channels.placed(Side.TAKER, [most, most, 1_000]) is None
    assert channels.placed(Side.TAKER, [most + 1]) is None
