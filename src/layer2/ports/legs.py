"""``HtlcLayer``: the calls with which the swap engine drives legs on a layer (``client.legs``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from layer2.errors import ProtocolNotImplemented
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc, LegOffer
from layer2.legs.views import ActStatus, ClockReading, LegView, OfferRequest, Side, Verb
from layer2.model.transactions import Preimage
from layer2.ports.journal import Json
from layer2.ports.nonces import NonceClaim

__all__ = ["HtlcLayer", "LegListener"]


class LegListener(Protocol):
    """What a layer calls about a leg that it follows. Both methods return at once and raise nothing."""

    def changed(self) -> None:
        """The leg may have changed."""
        ...

    def missed(self) -> None:
        """News of this leg and of many others may have been missed. All of them are observed, one after the other."""
        ...


class HtlcLayer(ABC):
    """A layer that can hold value under a payment hash. Swaps are possible between any two such layers.

    The swap engine calls these methods, users do not: a client has such an object as ``client.legs``. An act is
    prepared (pure data, signed if the layer signs), journaled, and then performed. Performing the same act again is
    harmless, except for a funding on a leg that is not ``is_repeatable``.

    Raises, all methods: NodeError and its subclasses, with outcome UNKNOWN after a send without an answer.
    """

    @abstractmethod
    async def leg_offer(self) -> LegOffer:
        """This party's side of a quote: its account on the layer, the network and the unit."""

    @abstractmethod
    async def offer(self, request: OfferRequest) -> str:
        """What this party names for its side of one leg: its account, its key or an invoice; or an empty text."""

    @abstractmethod
    async def network_cost(self, amount: int) -> int | None:
        """The estimated network costs of one leg of that amount, both in satoshi; None if the layer's costs are in
        another coin whose price is not configured."""

    async def check_can_pay(self, amount: int) -> None:
        """Check this party's balance before the other party is asked for terms.

        Args:
            amount: satoshi that this party will pay as payer, with routing costs.

        Raises:
            InsufficientFunds: names the layer, the account and the amounts.
        """
        return

    @abstractmethod
    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """Check gas, liquidity, sync and clock for every act that this side of the leg may need.

        Raises:
            InsufficientFunds, NodeError: this side could not finish; nothing was started.
        """

    async def reserve(self, htlc: Htlc, side: Side) -> None:
        """Reserve what an open swap may need to finish, such as gas, until ``free``. Can be repeated."""
        return

    def free(self, htlc: Htlc) -> None:
        """Release the reserve of a swap that has ended, or was never agreed. Can be repeated."""
        return

    @abstractmethod
    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        """Make the act, complete and signed, without sending anything that reveals it.

        Args:
            preimage: for COLLECT.

        Raises:
            InsufficientFunds: the account cannot pay for it.
            FundsRulesError: the act belongs to the other side, or would fund the hash a second time.
        """

    def discard(self, act: Json) -> None:
        """Discard an act that was not journaled and not performed, with everything that was reserved for it."""
        return

    def nonces(self, act: Json, *, is_journaled: bool) -> Sequence[NonceClaim]:
        """The nonces that an act's transactions take in the journal; none on a layer without them.

        Args:
            is_journaled: the act is journaled and is about to be sent. Otherwise the nonces are taken with its intent.
        """
        return ()

    @abstractmethod
    async def perform(self, act: Json) -> None:
        """Send a journaled act. Returns when the node accepts it, which does not mean success.

        Raises:
            TransactionError: the node refused it, with outcome REJECTED.
            NodeUnreachable: outcome NOT_SENT if certainly nothing was sent, otherwise UNKNOWN.
        """

    @abstractmethod
    async def act_status(self, act: Json) -> ActStatus:
        """The status of an act, read by its id."""

    async def repriced(self, act: Json, htlc: Htlc) -> Json | None:
        """An act that is under way, made again with a higher fee; None if its fee is enough.

        Nothing is sent: the engine journals the result as the act's next attempt and then performs it. At most one of
        the two ever takes effect, and ``act_status`` of the new one covers both.

        Raises:
            InsufficientFunds: the act needs a higher fee, and the account cannot pay it.
        """
        return None

    @abstractmethod
    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        """Read the leg, and check every detail against ``htlc``.

        Money under the same hash that differs in any detail, or that another party locked, does not count.
        """

    @abstractmethod
    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """Return when ``observe`` may return something else than ``view``; may return too early."""

    @property
    def can_follow(self) -> bool:
        """Whether this layer has ``follow`` now. Without it, its swaps keep a task each."""
        return False

    def follow(self, htlc: Htlc, side: Side, view: LegView, listener: LegListener) -> float | None:
        """Report changes of a leg to a listener until ``unfollow``. A leg that is followed has no task.

        It compares with what is known and registers in one step: nothing that was reported after ``view`` is missed.
        The listener is not called within this call.

        Args:
            view: the last result of ``observe`` for this leg.

        Returns:
            Unix seconds, the next time at which ``observe`` may return something else without a report; infinity for
            none. None: the leg is not followed, because ``view`` may be out of date, or shows what is not followed.
        """
        return None

    def unfollow(self, payment_hash: bytes, listener: LegListener) -> None:
        """End ``follow`` for a listener. Has no effect if it does not follow a leg with this hash here."""
        return

    @abstractmethod
    async def read_clock(self) -> ClockReading:
        """Read and check the layer's clocks. A stale tip, or a node whose time differs by more than 60 s, is refused.

        Raises:
            BadAnswer: the node is not synced, or its clock differs from this machine's.
        """

    @abstractmethod
    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        """Portable evidence of how the leg ended, or None if the layer leaves none (a failed payment)."""

    async def late_fundings(self, since: int) -> tuple[frozenset[bytes], int]:
        """The payment hashes of fundings to this party as payee since block ``since``, and the block from which to ask
        next time. One request serves all swaps. A layer that refuses late fundings by itself returns none."""
        return frozenset(), since

    async def take_release(self, htlc: Htlc, release: Json) -> None:
        """Payer: note the payee's release, which the payee served. Layers on which the payee releases alone ignore it.

        Raises:
            FormatError: it is not a release of this layer.
        """
        return

    async def courtesy(self, htlc: Htlc, preimage: Preimage) -> None:
        """Payer: collect the leg for the payee, if any party with the preimage can do that. Not journaled: omitting or
        repeating it costs no party anything that it is owed.

        Raises:
            ProtocolNotImplemented: only the payee can collect on this layer.
        """
        raise ProtocolNotImplemented("only the payee can collect on this layer")
