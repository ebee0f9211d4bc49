"""What is true in the tests: chains with the HTLC contract, and Lightning, in memory and on virtual time.

The world keeps the rules that nobody can break (the contract's, and those of HTLCs) and counts the money: balances are
changes since the beginning. What parties and their nodes choose to do is not decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from layer2.legs.timelock_settings import REGTEST, TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Preimage
from swap_engine.chain import Chain, Transaction
from swap_engine.virtual_time import EPOCH

FIRST_HEIGHT = 1000


@dataclass
class Invoice:
    """One invoice and the one payment of it that is under way."""

    payment_hash: bytes
    payee: str
    amount: int
    expires_at: int
    preimage: Preimage | None = None
    """None: a hold invoice. A plain one settles as soon as it is paid."""
    gives_up: bool = True
    """Whether the payee's node gives a held payment back before its HTLCs expire. A dishonest one keeps it."""
    state: str = "open"
    payer: str = ""
    expiry_height: int = 0
    parts: tuple[int, ...] = ()
    """Millisatoshi of each HTLC."""
    ended_at: int = 0
    payment: str = "none"
    """``none``, ``initiated``, ``in_flight``, ``succeeded`` or ``failed``: what the payer's node knows."""
    is_forgotten: bool = False
    """The payer's node does not know the payment any more."""
    sends: int = 0


@dataclass
class World:
    rules: TimelockSettings = REGTEST
    seconds_per_block: float = 8
    routes: bool = True
    split: Callable[[int], tuple[int, ...]] = lambda msat: (msat,)
    """How a payment is split into HTLCs."""
    owners: dict[bytes, str] = field(default_factory=dict)
    """Whose an account on a chain is."""
    chains: dict[Layer2ProtocolType, Chain] = field(default_factory=dict)
    transactions: dict[int, Transaction] = field(default_factory=dict)
    invoices: dict[bytes, Invoice] = field(default_factory=dict)
    paid: dict[str, int] = field(default_factory=dict)
    """Satoshi that each party gained over Lightning."""
    shown: set[bytes] = field(default_factory=set)
    """Secrets that were in any transaction that was sent, or settled any payment."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def chain(self, layer: Layer2ProtocolType) -> Chain:
        if layer not in self.chains:
            self.chains[layer] = Chain(self, layer, self.rules.margins(layer))
        return self.chains[layer]

    def party(self, account: bytes) -> str:
        return self.owners[account]

    def gained(self, party: str) -> int:
        """What the party has more than at the beginning, satoshi, over all layers."""
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

    # Lightning

    def pay(self, party: str, amount: int) -> None:
        self.paid[party] = self.paid.get(party, 0) + amount

    def send(self, invoice: Invoice, payer: str, cltv_limit: int) -> None:
        """A payment that a payer's node begins. It has checked that there is none under way."""
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
            # Nobody can hold the payment any longer than its HTLCs last.
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
        """The payee closes the channel: the payer learns the preimage only some blocks later."""
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
