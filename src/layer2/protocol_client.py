"""What every layer's client offers: the public async methods, their blocking twins, and the ability to hold swaps."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar

from layer2.blocking import Portal, twin
from layer2.errors import AsyncRuntimeError, ProtocolNotImplemented
from layer2.interfaces import Json
from layer2.layers import Layer2ProtocolType
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc, LegOffer
from layer2.legs.views import ActStatus, ClockReading, LegView, OfferRequest, Side, Verb
from layer2.money import AssetId, Balance
from layer2.transactions import Preimage, TxState, TxStatus

__all__ = ["HtlcLayer", "Layer2ProtocolAsync"]

Tx = TypeVar("Tx")
TxId = TypeVar("TxId")
Address = TypeVar("Address")
Proof = TypeVar("Proof")


class Layer2ProtocolAsync(ABC, Generic[Tx, TxId, Address, Proof]):
    """One layer, reached through the party's own node.

    Use ``async with`` (or plain ``with`` in a blocking program), or take it from a ``Layer2Manager`` that is entered.
    ``timeout`` is in seconds everywhere; omitted, the client's ``default_timeout_ms`` holds. A time-out raises
    ``AsyncTimeout``, and what was sent by then goes on.
    """

    protocol_type: ClassVar[Layer2ProtocolType]
    legs: HtlcLayer
    """The client's part in swaps, which the swap engine uses."""
    _portal: Portal | None = None
    _limit: asyncio.Semaphore | None = None
    """Shared by the clients of a manager: how many public calls may be at nodes at once. First come, first served."""

    async def __aenter__(self) -> Self:
        self.bind(Portal.here())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal = None
        await self.aclose()

    def __enter__(self) -> Self:
        self.bind(Portal.with_own_thread())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        portal, self._portal = self._portal, None
        if portal is not None:
            try:
                portal.run("aclose", self.aclose)
            finally:
                portal.close()

    def bind(self, portal: Portal, limit: asyncio.Semaphore | None = None) -> None:
        """Set the event loop of this client, and what limits its calls; a manager does this for its clients.

        The limit holds for the public calls that end by themselves. Waits do not count, nor do the acts of swaps: a
        claim or a refund never queues behind other work.
        """
        self._portal = portal
        self._limit = limit

    def blocking_portal(self) -> Portal:
        """The portal that the ``_sync`` twins go through.

        Raises:
            AsyncRuntimeError: the client was not entered.
        """
        if self._portal is None:
            raise AsyncRuntimeError(
                f"this {type(self).__name__} was not entered; use 'with' or 'async with', or a Layer2Manager"
            )
        return self._portal

    @abstractmethod
    async def aclose(self) -> None:
        """Close connections and end the client's own tasks. Nothing that was sent is called back."""

    @abstractmethod
    async def initialize_async(self, *, timeout: float | None = None) -> None:
        """Connect, and check that the node is the configured one and fit for use. Can be repeated.

        Raises:
            NodeUnreachable, WrongNetwork, AuthenticationFailed, BadAnswer: what is wrong, and the remedy.
            AsyncTimeout: no result in time.
        """

    @abstractmethod
    async def submit_transaction_async(
        self, transaction: Tx, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> TxStatus[TxId]:
        """Send one transaction or payment; return its status right after the node took it.

        Its id is durable before anything is sent, and every error after signing carries it as ``tx_id``.

        Raises:
            TransactionError: refused (outcome REJECTED).
            NodeUnreachable, AsyncTimeout: nothing was heard (outcome UNKNOWN): look it up by ``tx_id``.
            IdempotencyConflict: the key was used with another transaction.
        """

    @abstractmethod
    async def get_transaction_status_async(self, tx_id: TxId, *, timeout: float | None = None) -> TxStatus[TxId]:
        """Ask the node now. An unknown id is ``TxState.UNKNOWN``, not an error, and not failure."""

    @abstractmethod
    async def transfer_asset_async(
        self,
        asset_id: AssetId,
        amount: int,
        recipient: Address,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> TxId:
        """Send an asset to a recipient on this layer; return the id once the node took it.

        Args:
            amount: in the asset's smallest unit (BTC: satoshi).

        Raises:
            InvalidAmount, UnknownAsset, InsufficientFunds: nothing was sent.
            As ``submit_transaction_async`` after signing.
        """

    @abstractmethod
    async def verify_proof_async(self, proof: Proof, *, timeout: float | None = None) -> bool:
        """Whether this layer's evidence holds and is canonical at this client's own node.

        Raises:
            ProofUndecided: the node cannot tell now.
        """

    @abstractmethod
    async def balances_async(self, *, timeout: float | None = None) -> Mapping[AssetId, Balance]:
        """What the configured party owns on this layer."""

    @abstractmethod
    async def receive_address_async(self, *, timeout: float | None = None) -> Address:
        """Where others can send to."""

    @abstractmethod
    async def wait_for_status_async(
        self, tx_id: TxId, *, until: TxState = TxState.INCLUDED, timeout: float | None = None
    ) -> TxStatus[TxId]:
        """Wait until the transaction is at least in that state, or FAILED or DROPPED.

        Omitted, ``timeout`` means no limit: how long a chain takes is not the node's affair.
        """

    initialize_sync = twin(initialize_async)
    submit_transaction_sync = twin(submit_transaction_async)
    get_transaction_status_sync = twin(get_transaction_status_async)
    transfer_asset_sync = twin(transfer_asset_async)
    verify_proof_sync = twin(verify_proof_async)
    balances_sync = twin(balances_async)
    receive_address_sync = twin(receive_address_async)
    wait_for_status_sync = twin(wait_for_status_async)


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
