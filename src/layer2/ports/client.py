"""The public calls of every layer's client, with their blocking twins."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar

from layer2.aio.blocking import Portal, twin
from layer2.errors import AsyncRuntimeError
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import AssetId, Balance
from layer2.model.transactions import TxState, TxStatus
from layer2.ports.legs import HtlcLayer

__all__ = ["Layer2ProtocolAsync"]

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
