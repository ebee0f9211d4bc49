"""A client's part in swaps, which the swap engine drives: ``client.legs``."""

from __future__ import annotations

from abc import ABC, abstractmethod

from layer2.errors import ProtocolNotImplemented
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc, LegOffer
from layer2.legs.views import ActStatus, ClockReading, LegView, OfferRequest, Side, Verb
from layer2.model.transactions import Preimage
from layer2.ports.journal import Json

__all__ = ["HtlcLayer"]


class HtlcLayer(ABC):
    """The ability to hold value under a payment hash. Two layers that have it make a pair.

    The swap engine calls these methods, users do not: a client has an object of this kind as ``client.legs``. An act
    is prepared (pure data, signed where the layer signs), journaled, and then performed; performing the same act again
    is harmless, except a funding on a leg that is not ``is_repeatable``.

    Raises, all methods: NodeError and its kinds; after a send that was not answered with outcome UNKNOWN.
    """

    @abstractmethod
    async def leg_offer(self) -> LegOffer:
        """This party's account on the layer, with the network and the unit: its side of a quote."""

    @abstractmethod
    async def offer(self, request: OfferRequest) -> str:
        """What this party names for its side of one leg: its account, its key, or an invoice; empty where nothing."""

    @abstractmethod
    async def network_cost(self, amount: int) -> int | None:
        """An estimate of what the network costs for one leg of that amount, both in satoshi; None where the layer's
        costs are in another coin whose price is not configured."""

    @abstractmethod
    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """Check gas, liquidity, sync and clock for every act that this side of the leg may need.

        Raises:
            InsufficientFunds, NodeError: it could not finish; nothing was begun.
        """

    async def reserve(self, htlc: Htlc, side: Side) -> None:
        """Keep what an open swap may need to finish, such as gas, until ``free``. Can be repeated."""
        return

    def free(self, htlc: Htlc) -> None:
        """Keep nothing any more for a swap that has ended, or was never agreed. Can be repeated."""
        return

    @abstractmethod
    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        """Make the act, complete and signed, without sending anything that shows it.

        Args:
            preimage: for COLLECT.

        Raises:
            InsufficientFunds: it cannot be paid for.
            FundsRulesError: this act is not this side's, or would fund the hash a second time.
        """

    def discard(self, act: Json) -> None:
        """Take back an act that could not be journaled and was not performed: it leaves nothing behind."""
        return

    @abstractmethod
    async def perform(self, act: Json) -> None:
        """Send an act that is durable already. Returns when the node took it; that is not success.

        Raises:
            TransactionError: refused, outcome REJECTED.
            NodeUnreachable: outcome NOT_SENT where surely nothing left, otherwise UNKNOWN.
        """

    @abstractmethod
    async def act_status(self, act: Json) -> ActStatus:
        """What became of an act, asked by its own id."""

    async def repriced(self, act: Json, htlc: Htlc) -> Json | None:
        """An act that is under way, made again at a higher price, or None where it may wait on.

        Nothing is sent: it is journaled as the act's next attempt and then performed. At most one of the two ever has
        an effect, and ``act_status`` of the new one speaks for both.

        Raises:
            InsufficientFunds: it should be offered at more, and the account has no more.
        """
        return None

    @abstractmethod
    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        """One read of the leg; every detail is checked against ``htlc``.

        Money under the same hash that differs in any detail, or that another party locked, is not this leg.
        """

    @abstractmethod
    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """Return when ``observe`` may answer something else than ``view``; may return too early."""

    @abstractmethod
    async def read_clock(self) -> ClockReading:
        """The layer's clocks, checked: a stale tip or a node whose time is off by more than 60 s is refused.

        Raises:
            BadAnswer: the node is not synced, or its clock differs from this machine's.
        """

    @abstractmethod
    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        """Portable evidence of how the leg ended, or None where the layer leaves none (a failed payment)."""

    async def late_fundings(self, since: int) -> tuple[frozenset[bytes], int]:
        """The payment hashes of fundings to this party as payee in blocks from ``since`` on, and the block from which
        to ask next time. One request serves all swaps; layers that refuse late fundings by themselves have none."""
        return frozenset(), since

    async def courtesy(self, htlc: Htlc, preimage: Preimage) -> None:
        """Payer: let the payee be paid, where whoever knows the preimage can do that. Not journaled: repeating it, or
        leaving it out, costs no party anything that it is owed.

        Raises:
            ProtocolNotImplemented: only the payee can collect on this layer.
        """
        raise ProtocolNotImplemented("only the payee can collect on this layer")
