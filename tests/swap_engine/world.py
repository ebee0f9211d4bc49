"""The world of the tests: chains with the HTLC contract, and Lightning, in memory and in virtual time.

The world enforces the rules that no party can break (those of the contract and of HTLCs) and counts the money: balances
are changes since the beginning. It does not decide what parties and their nodes do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from layer2.legs.timelock_settings import REGTEST, TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Preimage
from layer2.ports.legs import LegListener
from swap_engine.chain import Chain, Transaction
from swap_engine.virtual_time import EPOCH

FIRST_HEIGHT = 1000


@dataclass
class Invoice:
    """One invoice and its payment that is under way."""

    payment_hash: bytes
    payee: str
    amount: int
    expires_at: int
    preimage: Preimage | None = None
    """None for a hold invoice. A plain invoice settles as soon as it is paid."""
    gives_up: bool = True
    """Whether the payee's node fails a held payment before its HTLCs expire. A dishonest node keeps it."""
    state: str = "open"
    payer: str = ""
    expiry_height: int = 0
    parts: tuple[int, ...] = ()
    """Millisatoshi of each HTLC."""
    ended_at: int = 0
    payment: str = "none"
    """``none``, ``initiated``, ``in_flight``, ``succeeded`` or ``failed``: what the payer's node knows."""
    is_forgotten: bool = False
    """Whether the payer's node has lost the payment."""
    sends: int = 0


@dataclass
class World:
    rules: TimelockSettings = REGTEST
    seconds_per_block: float = 8
    routes: bool = True
    split: Callable[[int], tuple[int, ...]] = lambda msat: (msat,)
    """The split of a payment into HTLCs."""
    owners: dict[bytes, str] = field(default_factory=dict)
    """The owner of an account on a chain."""
    chains: dict[Layer2ProtocolType, Chain] = field(default_factory=dict)
    transactions: dict[int, Transaction] = field(default_factory=dict)
    invoices: dict[bytes, Invoice] = field(default_factory=dict)
    paid: dict[str, int] = field(default_factory=dict)
    """The gain of each party over Lightning, in satoshi."""
    shown: set[bytes] = field(default_factory=set)
    """Preimages that were in a sent transaction, or settled a payment."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    changes: int = 0
    listeners: list[LegListener] = field(default_factory=list)

    def chain(self, layer: Layer2ProtocolType) -> Chain:
        if layer not in self.chains:
            self.chains[layer] = Chain(self, layer, self.rules.margins(layer))
        return self.chains[layer]

    def party(self, account: bytes) -> str:
        return self.owners[account]

    def gained(self, party: str) -> int:
        """The party's gain in satoshi since the beginning, over all layers."""
        on_chains = sum(chain.ledger().balances.get(party, 0) for chain in self.chains.values())
        return self.paid.get(party, 0) + on_chains

    # Time

    def now(self) -> int:
        return EPOCH + int(asyncio.get_running_loop().time())

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
        self.changes += 1
        for listener in tuple(self.listeners):
            listener.changed()

    # Lightning

    def pay(self, party: str, amount: int) -> None:
        self.paid[party] = self.paid.get(party, 0) + amount

    def send(self, invoice: Invoice, payer: str, cltv_limit: int) -> None:
        """A payer's node starts a payment, after checking that none is under way."""
        invoice.sends += 1
        invoice.payment, invoice.payer, invoice.is_forgotten = "initiated", payer, False

        def leave() -> None:
            invoice.payment = "in_flight"
            self.pay(payer, -invoice.amount)

        def arrive() -> None:
            if invoice.state != "open" or not self.routes or self.now() >= invoice.expires_at:
                self._fail(invoice)
                return
            invoice.state, invoice.parts = "accepted", self.split(invoice.amount * 1000)
            invoice.expiry_height = self.height() + cltv_limit
            if invoice.preimage is not None:
                self.settle(invoice, invoice.preimage)
                return
            kept = cltv_limit - (self.rules.hold_expiry_blocks if invoice.gives_up else 0)
            # The payment cannot be held longer than its HTLCs last.
            self.later(kept * self.seconds_per_block, lambda: self.cancel(invoice))

        self.later(0.5, leave)
        self.later(1, arrive)

    def settle(self, invoice: Invoice, preimage: Preimage) -> bool:
        if invoice.state != "accepted" or preimage.payment_hash != invoice.payment_hash:
            return False
        invoice.state, invoice.ended_at, invoice.preimage = "settled", self.now(), preimage
        invoice.payment = "succeeded"
        self.shown.add(preimage.secret)
        self.pay(invoice.payee, invoice.amount)
        # Until the commitment is irrevocable.
        self.later(2)
        self.change()
        return True

    def settle_on_chain(self, invoice: Invoice, preimage: Preimage) -> None:
        """The payee closes the channel, so the payer learns the preimage only some blocks later."""
        if invoice.state != "accepted":
            return
        invoice.state = "closing"

        def confirmed() -> None:
            invoice.state = "accepted"
            self.settle(invoice, preimage)

        self.later(self.rules.close_blocks * self.seconds_per_block, confirmed)

    def cancel(self, invoice: Invoice) -> None:
        if invoice.state == "accepted":
            self._fail(invoice)
        if invoice.state in ("open", "accepted"):
            invoice.state = "cancelled"
        self.change()

    def _fail(self, invoice: Invoice) -> None:
        invoice.payment = "failed"
        self.pay(invoice.payer, invoice.amount)
