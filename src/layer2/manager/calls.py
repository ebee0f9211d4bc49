"""The calls of a manager that concern transfers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from layer2.aio.blocking import iterator_twin, twin
from layer2.errors import (
    AsyncTimeout,
    InvalidRequest,
    Layer2Error,
    TransferAbandoned,
    TransferError,
    TransferLost,
    TransferRefunded,
    UnknownTransfer,
)
from layer2.manager.entering import EnteredParts
from layer2.manager.protocols import check_implemented
from layer2.manager.starting import check_key
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import AssetId
from layer2.model.transactions import SwapId
from layer2.proofs.model import TransferProof
from layer2.provider_client import PairOffer
from layer2.terms.transfers import Quote, Transfer, TransferEvent, TransferRequest, TransferState

__all__ = ["TransferCalls"]

_WAITED_FOR = frozenset({TransferState.ARRIVED, TransferState.COMPLETED})


class TransferCalls(EnteredParts):
    """Quotes, transfers and waits."""

    async def pairs_async(self, *, timeout: float | None = None) -> tuple[PairOffer, ...]:
        """What the configured providers offer, before any quote: limits, fees, and how long money can be bound.

        Not signed; only a quote binds a provider. Providers that do not answer are left out.

        Raises:
            QuoteRefused, NodeError: no provider answers.
        """
        return await self._limited(self._taker().pairs(), timeout, "pairs_async")

    async def quote_transfer_async(
        self,
        asset_id: AssetId,
        amount: int | None,
        source_protocol: Layer2ProtocolType,
        destination_protocol: Layer2ProtocolType,
        *,
        send_amount: int | None = None,
        recipient: str | None = None,
        max_fee: int | None = None,
        timeout: float | None = None,
    ) -> Quote:
        """Ask all configured providers, check what they sign, and return the cheapest offer.

        Args:
            amount: what has to arrive, in the asset's smallest unit (BTC: satoshi); None with ``send_amount``.
            send_amount: what has to leave the source; what arrives is that without the fee.
            recipient: a BOLT 11 invoice of someone else that is to be paid; omitted, the money comes to you.
            max_fee: most that may leave the source beyond what arrives; omitted, 1 % of the amount and twice the
                network costs that your own clients estimate.

        Raises:
            InvalidRequest and its kinds: the request cannot be; nobody was asked. Code ``max_fee_required``: a layer
                has no estimate of its network costs.
            QuoteRefused: nobody offers this, or only for more than ``max_fee``; lists each provider's answer.
        """
        request = self._request(
            asset_id, amount, source_protocol, destination_protocol, recipient, max_fee, send_amount
        )
        return await self._limited(self._taker().quote(request), timeout, "quote_transfer_async")

    async def start_transfer_async(
        self, quote: Quote, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> Transfer:
        """Agree on terms with the provider of a quote and begin; the transfer then goes on by itself.

        Agreeing is tried again within the time and while the quote is valid. A quote starts one transfer.

        Args:
            idempotency_key: 1 to 200 characters. It stays free where the transfer ends before any money is locked.

        Returns:
            The transfer, durable: keep its id. With a known idempotency key, or a quote that was started before, the
            transfer that has it.

        Raises:
            QuoteExpired, TermsRefused, InsufficientFunds: nothing was locked.
            IdempotencyConflict: the key has another request, or the quote a transfer under another key.
            JournalBusy: another process acts on this journal.
            AsyncTimeout, NodeUnreachable: nothing was locked, and the transfer is recorded as abandoned.
        """
        if not isinstance(quote, Quote):
            raise InvalidRequest(
                f"a transfer is started from a Quote, not from a {type(quote).__name__}",
                code="quote",
                remedy="quote = await layers.quote_transfer_async(...)",
            )
        return await self._taker().start(quote, idempotency_key, self._ends_at(timeout))

    async def get_transfer_async(self, transfer_id: str, *, timeout: float | None = None) -> Transfer:
        """The transfer as the journal knows it now.

        Raises:
            UnknownTransfer: there is none with that id.
        """
        records, swap_id = self._entered().records, SwapId(transfer_id)

        async def get() -> Transfer:
            return records.described(await records.load(swap_id))

        return await self._limited(get(), timeout, "get_transfer_async")

    async def get_transfer_by_key_async(self, idempotency_key: str, *, timeout: float | None = None) -> Transfer | None:
        """The transfer under an idempotency key as the journal knows it now, or None where the key was never used.

        Look here before asking for a quote. A transfer that was abandoned has given its key back: starting with the
        same key begins a new one.

        Raises:
            InvalidRequest: code ``idempotency_key``: no key can be like that.
        """
        check_key(idempotency_key)
        found = self._entered().records.find(idempotency_key)
        return await self._limited(found, timeout, "get_transfer_by_key_async")

    async def list_transfers_async(
        self, *, open_only: bool = False, timeout: float | None = None
    ) -> Sequence[Transfer]:
        """All transfers of this journal, newest first."""
        listed = self._entered().records.list(open_only=open_only)
        return await self._limited(listed, timeout, "list_transfers_async")

    async def resume_transfers_async(self, *, timeout: float | None = None) -> Sequence[Transfer]:
        """Go on with every open transfer; return those. ``initialize_all_async`` does this too.

        Raises:
            JournalBusy: another process goes on with them.
        """
        return await self._limited(self._taker().resume(), timeout, "resume_transfers_async")

    async def wait_for_transfer_async(
        self, transfer_id: str, *, until: TransferState = TransferState.COMPLETED, timeout: float | None = None
    ) -> TransferProof:
        """Wait until a transfer has ended and return its proof. Cancelling the wait never cancels the transfer.

        The transfer goes on meanwhile, unless another process acts on this journal: then only the journal is watched.

        Args:
            until: ``COMPLETED``: final on its layer; or ``ARRIVED``: usable at the finality of the terms, with a proof
                at the finality that is reached by then. Keep running until it is completed.

        Raises:
            TransferRefunded: the money came back; holds the refund's proof.
            TransferAbandoned: it ended without any money locked.
            TransferLost: money was lost; holds the evidence.
            AsyncTimeout: it is still under way; holds where the money is, and the deadline.
            TaskCancelled: the manager closed.
            UnknownTransfer: there is none with that id.
        """
        if until not in _WAITED_FOR:
            raise InvalidRequest("until is TransferState.COMPLETED or TransferState.ARRIVED", code="until")
        taker, records, swap_id = self._taker(), self._entered().records, SwapId(transfer_id)
        try:
            async with asyncio.timeout(timeout):
                transfer = await taker.wait(swap_id, until)
        except TimeoutError as error:
            if isinstance(error, Layer2Error):
                raise
            raise _still_under_way(records.described(await records.load(swap_id)), timeout) from None
        proof = await records.proof(swap_id)
        match transfer.state:
            case TransferState.REFUNDED | TransferState.ABANDONED | TransferState.LOST:
                raise _ended_badly(transfer, proof)
            case _ if proof is None:
                raise UnknownTransfer(
                    f"the journal has no proof of transfer {swap_id}", transfer_id=swap_id, funds=transfer.funds
                )
            case _:
                return proof

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
        amount: int | None,
        source_protocol: Layer2ProtocolType,
        destination_protocol: Layer2ProtocolType,
        *,
        send_amount: int | None = None,
        recipient: str | None = None,
        max_fee: int | None = None,
        idempotency_key: str | None = None,
        until: TransferState = TransferState.COMPLETED,
        timeout: float | None = None,
    ) -> TransferProof:
        """Move an asset from one layer to another, and return the proof once it has arrived for good.

        Look the key up, quote, start and wait in one call. Until terms are agreed, what can be tried again is tried
        again: within ``timeout``, or within ``default_timeout_ms`` where it is omitted. A time-out or cancelling
        afterwards ends the wait, never the transfer.

        Args:
            amount: what has to arrive, in the asset's smallest unit (BTC: satoshi); None with ``send_amount``.
            send_amount: what has to leave the source; what arrives is that without the fee.
            recipient: a BOLT 11 invoice of someone else that is to be paid; omitted, the money comes to you.
            max_fee: most that may leave the source beyond what arrives; omitted, 1 % of the amount and twice the
                network costs that your own clients estimate. Network costs that you pay yourself are not in it.
            idempotency_key: calls with the same key are one transfer; 1 to 200 characters.
            until: ``COMPLETED``, or ``ARRIVED``, as ``wait_for_transfer_async``.
            timeout: seconds; omitted, there is no limit but the transfer's own deadlines.

        Raises:
            As ``quote_transfer_async``, ``start_transfer_async`` and ``wait_for_transfer_async``.
        """
        if until not in _WAITED_FOR:
            raise InvalidRequest("until is TransferState.COMPLETED or TransferState.ARRIVED", code="until")
        request = self._request(
            asset_id, amount, source_protocol, destination_protocol, recipient, max_fee, send_amount
        )
        ends_at = self._ends_at(timeout)
        transfer = await self._taker().begin(request, idempotency_key, ends_at)
        left = None if timeout is None else max(0.0, ends_at - asyncio.get_running_loop().time())
        return await self.wait_for_transfer_async(transfer.transfer_id, until=until, timeout=left)

    def _request(
        self,
        asset: AssetId,
        amount: int | None,
        source: Layer2ProtocolType,
        destination: Layer2ProtocolType,
        recipient: str | None,
        max_fee: int | None,
        send_amount: int | None,
    ) -> TransferRequest:
        check_implemented(self._network, source, destination)
        return TransferRequest(asset, amount, source, destination, recipient, max_fee, send_amount)

    pairs_sync = twin(pairs_async)
    quote_transfer_sync = twin(quote_transfer_async)
    start_transfer_sync = twin(start_transfer_async)
    get_transfer_sync = twin(get_transfer_async)
    get_transfer_by_key_sync = twin(get_transfer_by_key_async)
    list_transfers_sync = twin(list_transfers_async)
    resume_transfers_sync = twin(resume_transfers_async)
    wait_for_transfer_sync = twin(wait_for_transfer_async)
    transfer_events_sync = iterator_twin(transfer_events)
    cross_layer_transfer_sync = twin(cross_layer_transfer_async)


def _still_under_way(transfer: Transfer, timeout: float | None) -> AsyncTimeout:
    return AsyncTimeout(
        f"transfer {transfer.transfer_id} is still {transfer.state.value} after {timeout or 0:g} s, and goes on",
        code="transfer_timeout",
        operation="wait_for_transfer_async",
        transfer_id=transfer.transfer_id,
        tx_id=transfer.source_tx_id,
        funds=transfer.funds,
        deadline=transfer.deadline,
        remedy=f'wait again: await layers.wait_for_transfer_async("{transfer.transfer_id}")',
    )


def _ended_badly(transfer: Transfer, proof: TransferProof | None) -> TransferError:
    match transfer.state:
        case TransferState.REFUNDED:
            return TransferRefunded(
                f"the transfer did not complete and the money is back: {transfer.reason}",
                transfer_id=transfer.transfer_id,
                proof=proof,
            )
        case TransferState.LOST:
            sent, fee = transfer.send_amount, transfer.fee
            return TransferLost(
                f"money was lost in transfer {transfer.transfer_id}: {transfer.reason}",
                transfer_id=transfer.transfer_id,
                funds=transfer.funds,
                send_amount=sent,
                receive_amount=None if sent is None or fee is None else sent - fee,
                source_tx_id=transfer.source_tx_id,
                destination_tx_id=transfer.destination_tx_id,
            )
        case _:
            return TransferAbandoned(
                f"the transfer ended without any money locked: {transfer.reason}",
                transfer_id=transfer.transfer_id,
                funds=transfer.funds,
            )
