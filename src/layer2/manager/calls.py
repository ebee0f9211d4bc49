"""The calls of a manager that concern transfers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from layer2.aio.blocking import iterator_twin, twin
from layer2.aio.time_limit import time_limit
from layer2.errors import (
    AsyncTimeout,
    TransferAbandoned,
    TransferError,
    TransferLost,
    TransferRefunded,
    UnknownTransfer,
)
from layer2.manager.arguments import (
    check_implemented,
    check_key,
    check_type,
    check_until,
    read_timeout,
    read_transfer_id,
)
from layer2.manager.entering import EnteredParts
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import AssetId
from layer2.proofs.model import TransferProof
from layer2.provider_client import PairOffer
from layer2.terms.transfers import Quote, Transfer, TransferEvent, TransferRequest, TransferState

__all__ = ["TransferCalls"]


class TransferCalls(EnteredParts):
    """Quotes, starts, waits and lookups."""

    async def pairs_async(self, *, timeout: float | None = None) -> tuple[PairOffer, ...]:
        """The limits, fees and durations of all configured providers, for each pair of layers.

        They are not signed: only a quote binds a provider. Providers that do not answer are omitted.

        Raises:
            QuoteRefused, NodeError: no provider answers.
        """
        return await self._limited(self._taker().quoter.pairs(), timeout, "pairs_async")

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
        funded_by_others: bool = False,
        timeout: float | None = None,
    ) -> Quote:
        """Request quotes from all configured providers, check them, and return the cheapest.

        Args:
            amount: the amount to arrive, in the asset's smallest unit (BTC: satoshi); None with ``send_amount``.
            send_amount: the amount to leave the source; it arrives less the fee.
            recipient: a BOLT 11 invoice of another party; omitted, you receive the money.
            max_fee: the maximum fee: what leaves the source less what arrives. Default: 1 % of the amount plus twice
                the network costs that your clients estimate.
            funded_by_others: whether the source is paid from outside, such as by an exchange. The ``funding_request``
                of the started transfer has address, amount and deadline.

        Raises:
            InvalidRequest and its subclasses: the request is invalid; no provider was asked. Code
                ``max_fee_required``: a layer has no estimate of its network costs.
            QuoteRefused: every provider refused or exceeded ``max_fee``; lists each answer.
        """
        request = self._request(
            asset_id, amount, source_protocol, destination_protocol, recipient, max_fee, send_amount, funded_by_others
        )
        return await self._limited(self._taker().quoter.quote(request), timeout, "quote_transfer_async")

    async def start_transfer_async(
        self, quote: Quote, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> Transfer:
        """Agree on terms with the provider of a quote and start the transfer, which then runs in the background.

        The agreement is retried within ``timeout`` while the quote is valid. A quote starts one transfer.

        Args:
            idempotency_key: 1 to 200 printable characters. It stays free if the transfer ends before any money is
                locked.

        Returns:
            The transfer, durable: keep its id. If the idempotency key is known, or if the quote was started before,
            the existing transfer.

        Raises:
            QuoteExpired, TermsRefused, InsufficientFunds: nothing was locked.
            IdempotencyConflict: the key belongs to another request, or the quote to a transfer under another key.
            JournalBusy: another process acts on this journal.
            AsyncTimeout, NodeUnreachable: nothing was locked, and the transfer is recorded as abandoned.
        """
        check_type("quote", quote)
        return await self._taker().start(quote, idempotency_key, self._ends_at(timeout))

    async def get_transfer_async(self, transfer_id: str, *, timeout: float | None = None) -> Transfer:
        """The current state of a transfer in the journal.

        Raises:
            UnknownTransfer: the journal has no transfer with this id.
        """
        found = self._entered().records.get(read_transfer_id(transfer_id))
        return await self._limited(found, timeout, "get_transfer_async")

    async def get_transfer_by_key_async(self, idempotency_key: str, *, timeout: float | None = None) -> Transfer | None:
        """The transfer under an idempotency key, or None if the key was never used.

        Call this before requesting a quote. An abandoned transfer has released its key: a start with the same key
        creates a new transfer.

        Raises:
            InvalidRequest: code ``idempotency_key``: the key is not valid.
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
        """Resume every open transfer and return them. ``initialize_all_async`` calls this too.

        Raises:
            JournalBusy: another process drives them.
        """
        return await self._limited(self._taker().resume(), timeout, "resume_transfers_async")

    async def wait_for_transfer_async(
        self, transfer_id: str, *, until: TransferState = TransferState.COMPLETED, timeout: float | None = None
    ) -> TransferProof:
        """Wait until a transfer has ended and return its proof. Cancelling the wait never cancels the transfer.

        This manager drives the transfer meanwhile. If another process acts on this journal, it only reads the journal.

        Args:
            until: ``COMPLETED``: final on the destination layer. ``ARRIVED``: usable at the finality of the terms; the
                proof then has the finality reached so far. Keep the process running until the transfer is completed.
            timeout: seconds; None waits without limit.

        Raises:
            TransferRefunded: the money was refunded; holds the refund's proof.
            TransferAbandoned: the transfer ended without any money locked. If others fund it, this call looks at its
                address first, and waits for the refund of a late payment.
            TransferLost: money was lost; holds the evidence.
            AsyncTimeout: the transfer is still open; holds where the money is, and the deadline.
            TaskCancelled: the manager closed.
            UnknownTransfer: the journal has no transfer with this id.
        """
        check_until(until)
        swap_id, seconds = read_transfer_id(transfer_id), read_timeout(timeout, None)
        taker, records = self._taker(), self._entered().records
        transfer = None
        async with time_limit(asyncio.timeout(seconds)):
            transfer = await taker.wait(swap_id, until)
        if transfer is None:
            raise _still_open(await records.get(swap_id), seconds)
        proof = await records.proof(swap_id)
        match transfer.state:
            case TransferState.REFUNDED | TransferState.ABANDONED | TransferState.LOST:
                raise _ended_badly(transfer, proof)
            case _ if proof is None:
                raise UnknownTransfer(
                    f"{records.journal_name} has no proof of transfer {swap_id}",
                    transfer_id=swap_id,
                    funds=transfer.funds,
                )
            case _:
                return proof

    async def transfer_events(self, transfer_id: str) -> AsyncIterator[TransferEvent]:
        """The current state of a transfer, then every change until it ends.

        Raises:
            UnknownTransfer: the journal has no transfer with this id.
            TaskCancelled: the manager closed.
        """
        swap_id, previous = read_transfer_id(transfer_id), None
        async for transfer in self._taker().watch(swap_id):
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
        """Move an asset from one layer to another, and return the proof when it has arrived and is final.

        One call for looking up the key, quoting, starting and waiting. Until terms are agreed, retryable errors are
        retried: within ``timeout``, or within ``default_timeout_ms`` if it is omitted. After that, a time-out or a
        cancellation ends the wait, never the transfer.

        Args:
            amount: the amount to arrive, in the asset's smallest unit (BTC: satoshi); None with ``send_amount``.
            send_amount: the amount to leave the source; it arrives less the fee.
            recipient: a BOLT 11 invoice of another party; omitted, you receive the money.
            max_fee: the maximum fee: what leaves the source less what arrives. Default: 1 % of the amount plus twice
                the network costs that your clients estimate. Network costs that you pay yourself are not included.
            idempotency_key: calls with the same key are one transfer; 1 to 200 printable characters.
            until: ``COMPLETED`` or ``ARRIVED``, as in ``wait_for_transfer_async``.
            timeout: seconds; omitted, only the deadlines of the transfer limit the wait.

        Raises:
            As ``quote_transfer_async``, ``start_transfer_async`` and ``wait_for_transfer_async``.
        """
        check_until(until)
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
        funded_by_others: bool = False,
    ) -> TransferRequest:
        check_implemented(self.config.network, source, destination)
        check_type("funded_by_others", funded_by_others)
        optional = {"amount": amount, "send_amount": send_amount, "max_fee": max_fee, "recipient": recipient}
        for name, value in optional.items():
            if value is not None:
                check_type(name, value)
        return TransferRequest(asset, amount, source, destination, recipient, max_fee, send_amount, funded_by_others)

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


def _still_open(transfer: Transfer, timeout: float | None) -> AsyncTimeout:
    return AsyncTimeout(
        f"transfer {transfer.transfer_id} is still {transfer.state.value} after {timeout or 0:.3g} s and continues",
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
                f"the transfer did not complete, and the money was refunded: {transfer.reason}",
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
