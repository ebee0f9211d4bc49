"""The public calls of every layer's client, with their blocking twins."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

from layer2.aio.blocking import Portal, twin
from layer2.errors import AsyncRuntimeError
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import AssetId, Balance
from layer2.model.transactions import TxState, TxStatus
from layer2.ports.legs import HtlcLayer

__all__ = ["Client", "Layer2ProtocolAsync"]

Tx = TypeVar("Tx")
TxId = TypeVar("TxId")
Address = TypeVar("Address")
Proof = TypeVar("Proof")


class Layer2ProtocolAsync(ABC, Generic[Tx, TxId, Address, Proof]):
    """The client of one layer, which uses the party's own node.

    Use ``async with`` (or plain ``with`` in a blocking program), or take it from a ``Layer2Manager`` that is entered.
    Every ``timeout`` is in seconds; the default is the client's ``default_timeout_ms``. A time-out raises
    ``AsyncTimeout``, and does not stop a transaction or payment that was sent.
    """

    protocol_type: ClassVar[Layer2ProtocolType]
    legs: HtlcLayer
    """The calls that the swap engine uses."""
    _portal: Portal | None = None
    _limit: asyncio.Semaphore | None = None
    """Limits the concurrent public calls of all clients of a manager, in order of arrival."""

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
        """Set the event loop of this client, and the limit of its calls; a manager does this for its clients.

        The limit applies to public calls except waits. It does not apply to the acts of swaps, so a claim or a refund
        never queues behind other work.
        """
        self._portal = portal
        self._limit = limit

    def blocking_portal(self) -> Portal:
        """The portal through which the ``_sync`` twins call.

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
        """Close connections and end the client's tasks. Nothing that was sent is cancelled."""

    @abstractmethod
    async def initialize_async(self, *, timeout: float | None = None) -> None:
        """Connect, and check that the node is the configured one and usable. Can be repeated.

        Raises:
            NodeUnreachable, WrongNetwork, AuthenticationFailed, BadAnswer: the node cannot be used.
            AsyncTimeout: there was no result in time.
        """

    @abstractmethod
    async def submit_transaction_async(
        self, transaction: Tx, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> TxStatus[TxId]:
        """Send one transaction or payment; return its status when the node has accepted it.

        Its id is durable before anything is sent, and every error after signing contains it as ``tx_id``.

        Raises:
            TransactionError: the node refused it (outcome REJECTED).
            NodeUnreachable, AsyncTimeout: there was no answer (outcome UNKNOWN): look it up by ``tx_id``.
            IdempotencyConflict: the key was used with another transaction.
        """

    @abstractmethod
    async def get_transaction_status_async(self, tx_id: TxId, *, timeout: float | None = None) -> TxStatus[TxId]:
        """Read the status from the node. An unknown id gives ``TxState.UNKNOWN``, which does not mean failure."""

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
        """Send an asset to a recipient on this layer; return the id when the node has accepted the send.

        Args:
            amount: in the asset's smallest unit (BTC: satoshi).

        Raises:
            InvalidAmount, UnknownAsset, InsufficientFunds: nothing was sent.
            After signing: as ``submit_transaction_async``.
        """

    @abstractmethod
    async def verify_proof_async(self, proof: Proof, *, timeout: float | None = None) -> bool:
        """Whether this layer's evidence is valid and canonical at this client's node.

        Raises:
            ProofUndecided: the node cannot decide it now.
        """

    @abstractmethod
    async def balances_async(self, *, timeout: float | None = None) -> Mapping[AssetId, Balance]:
        """The balances of the configured party on this layer."""

    @abstractmethod
    async def receive_address_async(self, *, timeout: float | None = None) -> Address:
        """The address at which others can pay this party."""

    @abstractmethod
    async def wait_for_status_async(
        self, tx_id: TxId, *, until: TxState = TxState.INCLUDED, timeout: float | None = None
    ) -> TxStatus[TxId]:
        """Wait until the transaction has reached that state, or is FAILED or DROPPED.

        By default there is no time limit, because the time depends on the chain and not on the node.
        """

    initialize_sync = twin(initialize_async)
    submit_transaction_sync = twin(submit_transaction_async)
    get_transaction_status_sync = twin(get_transaction_status_async)
    transfer_asset_sync = twin(transfer_asset_async)
    verify_proof_sync = twin(verify_proof_async)
    balances_sync = twin(balances_async)
    receive_address_sync = twin(receive_address_async)
    wait_for_status_sync = twin(wait_for_status_async)


Client: TypeAlias = Layer2ProtocolAsync[Any, Any, Any, Any]
"""The client of a layer that is only known at run time."""
