"""What is true in the tests: a chain with the HTLC contract, and Lightning, in memory and on virtual time.

The world keeps the rules that nobody can break (the contract's, and those of HTLCs) and counts the money: balances are
changes since the beginning. What parties and their nodes choose to do is not decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from layer2.formats import bolt11
from layer2.swap_rules.legs import ActStatus, Htlc
from layer2.swap_rules.timelocks import REGTEST, TimelockSettings
from layer2.terms import EvmLeg, LightningLeg
from layer2.transactions import Preimage
from swap_engine.virtual_time import EPOCH

FIRST_HEIGHT = 1000


@dataclass
class Lock:
    leg: EvmLeg
    payer: str
    locked_at: int
    state: str = "locked"
    ended_at: int = 0
    preimage: Preimage | None = None


@dataclass
class Transaction:
    sender: str
    verb: str
    htlc: Htlc
    preimage: Preimage | None
    status: ActStatus = ActStatus.UNSEEN


@dataclass
class Invoice:
    """One invoice and the one payment of it that is under way."""

    payment_hash: bytes
    payee: str
    amount: int
    expires_at: int
    preimage: Preimage | None
    """None: a hold invoice."""
    settles_itself: bool = True
    """A plain invoice at an honest node; a dishonest payee may hold any payment."""
    state: str = "open"
    payer: str = ""
    expiry_height: int = 0
    parts: int = 1
    ended_at: int = 0
    payment: str = "none"
    """``none``, ``in_flight``, ``succeeded`` or ``failed``: what the payer's node knows."""
    sends: int = 0


@dataclass
class World:
    settings: TimelockSettings = REGTEST
    seconds_per_block: float = 8
    chain_early: int = 0
    """How far the rollup's clock is ahead of wall time, seconds."""
    inclusion_seconds: Callable[[], int] = lambda: 2
    routes: bool = True
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    locks: dict[bytes, Lock] = field(default_factory=dict)
    transactions: dict[int, Transaction] = field(default_factory=dict)
    invoices: dict[bytes, Invoice] = field(default_factory=dict)
    shown: set[bytes] = field(default_factory=set)
    """Secrets that were in any transaction that was sent, or settled any payment."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    # Time

    def now(self) -> int:
        return EPOCH + int(asyncio.get_running_loop().time())

    def chain_time(self) -> int:
        return self.now() + self.chain_early

    def height(self) -> int:
        return FIRST_HEIGHT + int((self.now() - EPOCH) / self.seconds_per_block)

    def later(self, seconds: float, what: Callable[[], None] = lambda: None) -> None:
        def then() -> None:
            what()
            self.change()

        asyncio.get_running_loop().call_later(seconds, then)

    def change(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def pay(self, party: str, layer: str, amount: int) -> None:
        self.balances[party, layer] = self.balances.get((party, layer), 0) + amount

    # The chain

    def broadcast(self, transaction: Transaction) -> None:
        if transaction.preimage is not None:
            self.shown.add(transaction.preimage.secret)
        if transaction.status is ActStatus.UNSEEN:
            transaction.status = ActStatus.UNDER_WAY
            self.later(self.inclusion_seconds(), lambda: self.execute(transaction))

    def execute(self, transaction: Transaction) -> None:
        """The contract's rules."""
        htlc, lock = transaction.htlc, self.locks.get(transaction.htlc.payment_hash)
        leg, time = htlc.leg, self.chain_time()
        assert isinstance(leg, EvmLeg)
        transaction.status = ActStatus.FAILED
        match transaction.verb:
            case "fund":
                if lock is not None or time >= leg.deadline:
                    return
                self.locks[htlc.payment_hash] = Lock(leg, transaction.sender, self.now())
                self.pay(transaction.sender, "bob", -leg.amount)
            case "collect":
                if lock is None or lock.state != "locked":
                    return
                lock.state, lock.ended_at, lock.preimage = "claimed", self.now(), transaction.preimage
                self.pay("provider" if lock.payer == "taker" else "taker", "bob", leg.amount)
            case _:
                if lock is None or lock.state != "locked":
                    return
                if time < leg.deadline and transaction.sender == lock.payer:
                    return
                lock.state, lock.ended_at = "refunded", self.now()
                self.pay(lock.payer, "bob", leg.amount)
        transaction.status = ActStatus.DONE
        # Each finality changes what nodes answer.
        self.later(self.settings.safe_time)
        self.later(self.settings.finality_time)

    # Lightning

    def send(self, invoice: Invoice, payer: str, cltv_limit: int, parts: int = 1) -> None:
        """One call of a payer's node. A payment that failed may be sent again, as lnd allows."""
        invoice.sends += 1
        if invoice.payment in ("in_flight", "succeeded"):
            return
        invoice.payment, invoice.payer = "in_flight", payer
        self.pay(payer, "lightning", -invoice.amount)

        def arrive() -> None:
            if invoice.state != "open" or not self.routes or self.now() >= invoice.expires_at:
                self.fail(invoice)
                return
            invoice.state, invoice.parts = "accepted", parts
            invoice.expiry_height = self.height() + cltv_limit
            if invoice.preimage is not None and invoice.settles_itself:
                self.settle(invoice, invoice.preimage)
                return
            self.later(cltv_limit * self.seconds_per_block, lambda: self.time_out(invoice))

        self.later(1, arrive)

    def settle(self, invoice: Invoice, preimage: Preimage) -> None:
        if invoice.state != "accepted" or preimage.payment_hash != invoice.payment_hash:
            return
        invoice.state, invoice.ended_at, invoice.preimage = "settled", self.now(), preimage
        invoice.payment = "succeeded"
        self.shown.add(preimage.secret)
        self.pay(invoice.payee, "lightning", invoice.amount)
        # Until the commitment is irrevocable.
        self.later(2)

    def settle_on_chain(self, invoice: Invoice, preimage: Preimage) -> None:
        """The payee closes the channel: the payer learns the preimage only some blocks later."""
        if invoice.state != "accepted":
            return
        invoice.state = "closing"

        def confirmed() -> None:
            invoice.state = "accepted"
            self.settle(invoice, preimage)

        self.later(self.settings.close_blocks * self.seconds_per_block, confirmed)

    def cancel(self, invoice: Invoice) -> None:
        if invoice.state == "accepted":
            self.fail(invoice)
        if invoice.state in ("open", "accepted"):
            invoice.state = "cancelled"

    def time_out(self, invoice: Invoice) -> None:
        """The HTLCs' expiry: nobody can hold the payment any longer."""
        self.cancel(invoice)

    def fail(self, invoice: Invoice) -> None:
        invoice.payment = "failed"
        self.pay(invoice.payer, "lightning", invoice.amount)


def expires_at(leg: LightningLeg) -> int:
    return bolt11.decode(leg.invoice).expires_at
