"""A counterparty that does whatever the contract and Lightning let it do, whenever it likes."""

from __future__ import annotations

from collections.abc import Callable

from layer2.formats.signed_terms import terms_hash
from layer2.swap_rules.legs import Htlc
from layer2.terms import EvmLeg
from swap_engine.two_parties import Scene
from swap_engine.world import Transaction
from swap_rules.example_terms import PREIMAGE


class Adversary:
    """The moves of one dishonest side. A move that the rules do not allow now does nothing."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.scene, self.world, self.name = scene, scene.world, name
        leg = next(one for one in (scene.terms.source, scene.terms.destination) if isinstance(one, EvmLeg))
        self._htlc = Htlc(leg, scene.terms.payment_hash, terms_hash(scene.terms))
        self.moves: dict[str, Callable[[], None]] = {
            "lock": lambda: self._broadcast("fund"),
            "claim": self._claim,
            "refund": lambda: self._broadcast("reclaim"),
            "pay": lambda: self._pay(self.scene.payment.cltv_limit),
            "pay with little time": lambda: self._pay(self.scene.payment.cltv_limit // 2),
            "settle": self._settle,
            "settle on chain": self._settle_on_chain,
            "cancel": self._cancel,
        }

    def make(self, move: str) -> None:
        self.moves[move]()
        self.world.change()

    @property
    def _knows_preimage(self) -> bool:
        # Only the taker has made it; everybody else reads it in what was sent.
        return self.name == "taker" or PREIMAGE.secret in self.world.shown

    def _broadcast(self, verb: str) -> None:
        if verb == "fund" and self._htlc.leg != self._own_evm_leg():
            return
        self.world.broadcast(Transaction(self.name, verb, self._htlc, None))

    def _own_evm_leg(self) -> object:
        return self.scene.terms.source if self.name == "taker" else self.scene.terms.destination

    def _claim(self) -> None:
        if self._knows_preimage:
            self.world.broadcast(Transaction(self.name, "collect", self._htlc, PREIMAGE))

    def _pay(self, cltv_limit: int) -> None:
        if self.scene.invoice.payee != self.name and self.scene.invoice.sends == 0:
            self.world.send(self.scene.invoice, self.name, cltv_limit)

    def _settle(self) -> None:
        if self._knows_preimage and self.scene.invoice.payee == self.name:
            self.world.settle(self.scene.invoice, PREIMAGE)

    def _settle_on_chain(self) -> None:
        if self._knows_preimage and self.scene.invoice.payee == self.name:
            self.world.settle_on_chain(self.scene.invoice, PREIMAGE)

    def _cancel(self) -> None:
        if self.scene.invoice.payee == self.name:
            self.world.cancel(self.scene.invoice)
