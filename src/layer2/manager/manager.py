"""``Layer2Manager``: all configured layers, and transfers between them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from layer2.blocking import Portal, iterator_twin, twin
from layer2.config import Layer2Config
from layer2.errors import (
    AsyncRuntimeError,
    AsyncTimeout,
    InitializationError,
    Layer2Error,
    Outcome,
    ProtocolNotConfigured,
    ProtocolNotImplemented,
    TransferAbandoned,
    TransferRefunded,
)
from layer2.interfaces import Clock, Entropy, SystemClock, SystemEntropy
from layer2.layers import Layer2ProtocolType
from layer2.manager.taker import Taker
from layer2.manager.verification import verify_proof
from layer2.manager.wiring import Wiring
from layer2.money import AssetId
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofPolicy
from layer2.protocol_client import Layer2ProtocolAsync
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork
from layer2.transactions import SwapId
from layer2.transfers import Quote, Transfer, TransferEvent, TransferRequest, TransferState

__all__ = ["Layer2Manager"]

R = TypeVar("R")

log = logging.getLogger("layer2.manager")

_IMPLEMENTED = frozenset({Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING})


class Layer2Manager:
    """All configured layers, and transfers between them.

    Example::

        async with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
            await layers.initialize_all_async()
            proof = await layers.cross_layer_transfer_async(
                BTC, 100_000, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, max_fee=1_000
            )

    It belongs to the event loop that entered it. Blocking programs use plain ``with`` and the ``_sync`` twins; it
    then owns one thread with a loop. Leaving the block never waits for a transfer: open ones are logged with their
    deadlines, and go on at the next start.

    Args:
        config: which nodes, keys, providers and limits.
        clock: this machine's clock; only tests give another one.
        entropy: where swap ids come from; only tests give another one.
    """

    def __init__(self, config: Layer2Config, *, clock: Clock | None = None, entropy: Entropy | None = None) -> None:
        self.config = config
        self._clock = SystemClock() if clock is None else clock
        self._entropy = SystemEntropy() if entropy is None else entropy
        self._portal: Portal | None = None
        self._wiring: Wiring | None = None

    # Entering and leaving.

    async def __aenter__(self) -> Self:
        await self._open(Portal.here())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_async()

    def __enter__(self) -> Self:
        portal = Portal.with_own_thread()
        try:
            portal.run("__aenter__", lambda: self._open(portal))
        except BaseException:
            portal.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        portal = self._portal
        if portal is None:
            return
        try:
            portal.run("close_async", self.close_async)
        finally:
            portal.close()

    async def _open(self, portal: Portal) -> None:
        if self._portal is not None:
            raise AsyncRuntimeError("this manager is entered already; make another one")
        self._wiring = await Wiring.open(self.config, portal, self._clock, self._entropy)
        self._portal = portal

    async def close_async(self) -> tuple[Transfer, ...]:
        """Stop, without waiting for any transfer, and return the open ones.

        Waits on transfers raise ``TaskCancelled``. What is locked stays locked, and every open transfer goes on at
        the next start: each is logged with the deadline by which somebody must act.
        """
        if self._wiring is None:
            return ()
        wiring, self._wiring, self._portal = self._wiring, None, None
        open_transfers = await wiring.close()
        for transfer in open_transfers:
            log.warning(
                "transfer %s is still open (%s); %s; %s must act by %s: start again in time",
                transfer.transfer_id,
                transfer.state.value,
                transfer.funds,
                transfer.next_actor.value,
                transfer.deadline,
            )
        return open_transfers

    def blocking_portal(self) -> Portal:
        """The portal that the ``_sync`` twins go through.

        Raises:
            AsyncRuntimeError: the manager was not entered.
        """
        if self._portal is None:
            raise AsyncRuntimeError("this manager was not entered, or is closed; use 'async with' or 'with'")
        return self._portal

    def _entered(self) -> Wiring:
        self.blocking_portal().check_loop()
        if self._wiring is None:
            raise AsyncRuntimeError("this manager is closed")
        return self._wiring

    def _taker(self) -> Taker:
        return self._entered().taker()

    # Layers.

    async def initialize_all_async(self, *, timeout: float | None = None) -> None:
        """Initialize all configured layers at once, and then go on with every open transfer.

        Raises:
            InitializationError: lists every layer that failed and why; the others stay usable.
        """
        wiring = self._entered()
        names = list(wiring.clients)
        results = await asyncio.gather(
            *(wiring.clients[name].initialize_async(timeout=timeout) for name in names), return_exceptions=True
        )
        failures: dict[str, Layer2Error] = {}
        for name, result in zip(names, results, strict=True):
            if isinstance(result, Layer2Error):
                failures[name.value] = result
            elif isinstance(result, BaseException):
                raise result
        if failures:
            raise InitializationError(failures)
        if wiring.can_transfer:
            await wiring.taker().resume()

    @overload
    async def get_protocol_async(self, protocol_type: Literal[Layer2ProtocolType.BOB]) -> BobClient: ...
    @overload
    async def get_protocol_async(self, protocol_type: Literal[Layer2ProtocolType.LIGHTNING]) -> LightningNetwork: ...
    @overload
    async def get_protocol_async(
        self, protocol_type: Layer2ProtocolType
    ) -> Layer2ProtocolAsync[Any, Any, Any, Any]: ...
    async def get_protocol_async(self, protocol_type: Layer2ProtocolType) -> Layer2ProtocolAsync[Any, Any, Any, Any]:
        """The client of one layer. It shares this manager's loop and is closed with it.

        Raises:
            ProtocolNotImplemented: this version has no client for that layer.
            ProtocolNotConfigured: the configuration has no section for it.
        """
        wiring = self._entered()
        _check_implemented(protocol_type)
        client = wiring.clients.get(protocol_type)
        if client is None:
            raise ProtocolNotConfigured(
                f"the configuration has no section [{protocol_type.value.lower()}]", protocol=protocol_type.value
            )
        return client

    # Transfers.

    async def quote_transfer_async(
        self,
        asset_id: AssetId,
        amount: int,
        source_protocol: Layer2ProtocolType,
        destination_protocol: Layer2ProtocolType,
        *,
        recipient: str | None = None,
        max_fee: int | None = None,
        timeout: float | None = None,
    ) -> Quote:
        """Ask all configured providers, check what they sign, and return the cheapest offer.

        Args:
            amount: what has to arrive, in the asset's smallest unit (BTC: satoshi).
            recipient: a BOLT 11 invoice of somebody else that is to be paid; omitted, the money comes to you.
            max_fee: most that may leave the source beyond ``amount``.

        Raises:
            InvalidRequest and its kinds: the request cannot be; nobody was asked.
            QuoteRefused: nobody offers this, or only for more than ``max_fee``; says who answered what.
        """
        _check_implemented(source_protocol, destination_protocol)
        request = TransferRequest(asset_id, amount, source_protocol, destination_protocol, recipient, max_fee)
        return await self._limited(self._taker().quote(request), timeout, "quote_transfer_async")

    async def start_transfer_async(
        self, quote: Quote, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> Transfer:
        """Agree on terms with the provider of a quote and begin; the transfer then goes on by itself.

        Returns:
            The transfer, durable: keep its id. With a known idempotency key, the transfer that has it.

        Raises:
            QuoteExpired, TermsRefused, InsufficientFunds: nothing was locked.
            IdempotencyConflict: the key was used with another request.
            AsyncTimeout, NodeUnreachable: nothing was locked, and the transfer is recorded as abandoned.
        """
        started = self._taker().start(quote, idempotency_key)
        return await self._limited(started, timeout, "start_transfer_async")

    async def get_transfer_async(self, transfer_id: str, *, timeout: float | None = None) -> Transfer:
        """The transfer as the journal knows it now.

        Raises:
            UnknownTransfer: there is none with that id.
        """
        return await self._limited(self._taker().get(SwapId(transfer_id)), timeout, "get_transfer_async")

    async def list_transfers_async(
        self, *, open_only: bool = False, timeout: float | None = None
    ) -> Sequence[Transfer]:
        """All transfers of this journal, newest first."""
        return await self._limited(self._taker().list(open_only=open_only), timeout, "list_transfers_async")

    async def resume_transfers_async(self, *, timeout: float | None = None) -> Sequence[Transfer]:
        """Go on with every open transfer; return those. ``initialize_all_async`` does this too."""
        return await self._limited(self._taker().resume(), timeout, "resume_transfers_async")

    async def wait_for_transfer_async(self, transfer_id: str, *, timeout: float | None = None) -> TransferProof:
        """Wait until a transfer has ended and return its proof. Cancelling the wait never cancels the transfer.

        Raises:
            TransferRefunded: the money came back; holds the refund's proof.
            TransferAbandoned: it ended before any money was locked.
            AsyncTimeout: it is still under way; says where the money is and until when.
            TaskCancelled: the manager closed.
            UnknownTransfer: there is none with that id.
        """
        taker = self._taker()
        swap_id = SwapId(transfer_id)
        try:
            async with asyncio.timeout(timeout):
                transfer = await taker.wait(swap_id)
        except TimeoutError as error:
            if isinstance(error, Layer2Error):
                raise
            raise await self._still_under_way(taker, swap_id, timeout) from None
        match transfer.state:
            case TransferState.COMPLETED:
                return await taker.proof(swap_id)
            case TransferState.REFUNDED:
                raise TransferRefunded(
                    f"the transfer did not complete and the money is back: {transfer.reason}",
                    transfer_id=swap_id,
                    proof=await taker.find_proof(swap_id),
                )
            case _:
                raise TransferAbandoned(
                    f"the transfer ended before any money was locked: {transfer.reason}", transfer_id=swap_id
                )

    async def transfer_events(self, transfer_id: str) -> AsyncIterator[TransferEvent]:
        """Where the transfer is, and then every change, up to its end.

        Raises:
            UnknownTransfer: there is none with that id.
            TaskCancelled: the manager closed.
        """
        previous: TransferState | None = None
        async for transfer in self._taker().watch(SwapId(transfer_id)):
            yield TransferEvent(transfer, previous)
            previous = transfer.state

    async def cross_layer_transfer_async(
        self,
        asset_id: AssetId,
        amount: int,
        source_protocol: Layer2ProtocolType,
        destination_protocol: Layer2ProtocolType,
        *,
        recipient: str | None = None,
        max_fee: int | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> TransferProof:
        """Move an asset from one layer to another, and return the proof once it has arrived for good.

        Quote, start and wait in one call. A time-out or cancelling ends the wait, never the transfer.

        Args:
            amount: what has to arrive, in the asset's smallest unit (BTC: satoshi).
            recipient: a BOLT 11 invoice of somebody else that is to be paid; omitted, the money comes to you.
            max_fee: most that may leave the source beyond ``amount``. Gas that you pay yourself is not in it.
            idempotency_key: calls with the same key are one transfer.
            timeout: seconds; omitted, there is no limit but the transfer's own deadlines.

        Raises:
            As ``quote_transfer_async``, ``start_transfer_async`` and ``wait_for_transfer_async``.
        """
        _check_implemented(source_protocol, destination_protocol)
        request = TransferRequest(asset_id, amount, source_protocol, destination_protocol, recipient, max_fee)
        taker = self._taker()
        loop = asyncio.get_running_loop()
        ends_at = None if timeout is None else loop.time() + timeout
        begun = taker.begin(request, idempotency_key)
        transfer = await self._limited(begun, timeout, "cross_layer_transfer_async", default=False)
        left = None if ends_at is None else max(0.0, ends_at - loop.time())
        return await self.wait_for_transfer_async(transfer.transfer_id, timeout=left)

    async def verify_cross_layer_proof_async(
        self, proof: TransferProof, *, policy: ProofPolicy | None = None, timeout: float | None = None
    ) -> bool:
        """Whether a proof shows a completed transfer, under a policy.

        Args:
            policy: omitted: the terms are signed by a provider in the configuration, on its network and in its
                token, both legs are bound to them, and the header is canonical at your own node at the finality that
                the terms name. A policy that is given is used as it is, with the configuration's providers,
                networks and tokens where it names none.

        Returns:
            True for a completed transfer with everything shown that the policy requires; False where it is decided
            that not, a refunded transfer included.

        Raises:
            InvalidRequest: the policy has a ``trusted_header``: that is for ``check_proof``, which takes headers.
            ProofUndecided: your node cannot tell now; says when to ask again.
        """
        wiring = self._entered()
        checked = verify_proof(proof, wiring.proof_policy(policy), wiring.bob)
        return await self._limited(checked, timeout, "verify_cross_layer_proof_async")

    async def _limited(
        self, work: Coroutine[Any, Any, R], timeout: float | None, operation: str, *, default: bool = True
    ) -> R:
        seconds = self.config.default_timeout_ms / 1000 if timeout is None and default else timeout
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError as error:
            if isinstance(error, Layer2Error):
                raise
            raise AsyncTimeout(
                f"no result within {seconds:g} s; no money was locked by this call unless a transfer is listed as open",
                operation=operation,
                outcome=Outcome.UNKNOWN,
                remedy="look: await layers.list_transfers_async(open_only=True)",
            ) from None

    async def _still_under_way(self, taker: Taker, swap_id: SwapId, timeout: float | None) -> AsyncTimeout:
        transfer = await taker.get(swap_id)
        return AsyncTimeout(
            f"transfer {swap_id} is still under way after {timeout or 0:g} s; nothing is lost",
            code="transfer_timeout",
            operation="wait_for_transfer_async",
            transfer_id=swap_id,
            funds=transfer.funds,
            deadline=transfer.deadline,
            remedy=f'wait again: await layers.wait_for_transfer_async("{swap_id}")',
        )

    close_sync = twin(close_async)
    initialize_all_sync = twin(initialize_all_async)
    get_protocol_sync = twin(get_protocol_async)
    quote_transfer_sync = twin(quote_transfer_async)
    start_transfer_sync = twin(start_transfer_async)
    get_transfer_sync = twin(get_transfer_async)
    list_transfers_sync = twin(list_transfers_async)
    resume_transfers_sync = twin(resume_transfers_async)
    wait_for_transfer_sync = twin(wait_for_transfer_async)
    transfer_events_sync = iterator_twin(transfer_events)
    cross_layer_transfer_sync = twin(cross_layer_transfer_async)
    verify_cross_layer_proof_sync = twin(verify_cross_layer_proof_async)


def _check_implemented(*protocol_types: Layer2ProtocolType) -> None:
    for protocol_type in protocol_types:
        if protocol_type not in _IMPLEMENTED:
            raise ProtocolNotImplemented(
                f"{protocol_type.value} has no client in this version", protocol=protocol_type.value
            )
