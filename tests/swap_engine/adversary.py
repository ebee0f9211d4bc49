"""A counterparty that does anything that the contract and Lightning allow, at any time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from layer2.errors import TransactionError
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Leg
from layer2.legs.lightning import LightningLeg
from swap_engine.chain import Transaction
from swap_engine.two_parties import Scene
from swap_rules.example_terms import PAYMENT_HASH, PREIMAGE


class Adversary:
    """The moves of one dishonest side. A move that the rules do not allow has no effect."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.scene, self.world, self.name = scene, scene.world, name
        legs = (scene.terms.source, scene.terms.destination)
        self._pays, self._gets = legs if name == "taker" else legs[::-1]
        self.moves: dict[str, Callable[[], None]] = {
            "lock": lambda: self._broadcast("fund", self._pays),
            "claim": self._claim,
            "refund": lambda: self._broadcast("refund", self._pays),
            "give back": lambda: self._broadcast("refund", self._gets),
            "pay": lambda: self._pay(1),
            "pay with little time": lambda: self._pay(2),
            "settle": self._settle,
            "settle on chain": self._settle_on_chain,
            "cancel": self._cancel,
        }

    def make(self, move: str) -> None:
        self.moves[move]()
        self.world.change()

    @property
    def _knows_preimage(self) -> bool:
        # Only the taker has made it; other parties read it in transactions.
        return self.name == "taker" or PREIMAGE.secret in self.world.shown

    def _broadcast(self, verb: str, leg: Leg) -> None:
        if not isinstance(leg, EvmLeg):
            return
        chain = self.world.chain(leg.protocol)
        preimage = PREIMAGE if verb == "collect" else None
        nonce = chain.next_nonce(self.name)
        # Enough for every price that honest parties offer.
        made = Transaction(self.name, nonce, verb, self.scene.htlc(leg), preimage, chain.price)
        with suppress(TransactionError):
            chain.broadcast(made)

    def _claim(self) -> None:
        if self._knows_preimage:
            for leg in (self._gets, self._pays):
                self._broadcast("collect", leg)

    def _pay(self, divisor: int) -> None:
        invoice = self.world.invoices.get(PAYMENT_HASH)
        if isinstance(self._pays, LightningLeg) and invoice is not None and invoice.payment == "none":
            self.world.send(invoice, self.name, self._pays.cltv_limit // divisor)

    def _settle(self) -> None:
        if self._knows_preimage and isinstance(self._gets, LightningLeg):
            self.world.settle(self.scene.invoice, PREIMAGE)

    def _settle_on_chain(self) -> None:
        if self._knows_preimage and isinstance(self._gets, LightningLeg):
            self.world.settle_on_chain(self.scene.invoice, PREIMAGE)

    def _cancel(self) -> None:
        if isinstance(self._gets, LightningLeg):
            self.world.cancel(self.scene.invoice)
