"""The taker's side of transfers: from a request to a swap that the runner carries out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

from layer2.errors import (
    ConfigurationError,
    IdempotencyConflict,
    Layer2Error,
    Outcome,
    QuoteRefused,
    UnknownTransfer,
)
from layer2.formats import bolt11
from layer2.formats.evm_address import to_checksum
from layer2.formats.signed_terms import terms_hash, write_signed_terms
from layer2.interfaces import Clock, Entropy, PreimageSource, Role, SwapRecord
from layer2.layers import Layer2ProtocolType
from layer2.proofs.model import TransferProof
from layer2.protocol_client import HtlcLayer, OfferRequest
from layer2.provider_client import ProviderClient
from layer2.swap_engine.records import abandoned_state, agreed_state, describe, planned_record, read_request
from layer2.swap_engine.runner import SwapRunner, SwapStore
from layer2.swap_rules.agreement import SwapRequest, check_terms
from layer2.swap_rules.legs import Htlc, Side
from layer2.swap_rules.quotes import TakerNetwork, check_quote, check_request
from layer2.swap_rules.timelocks import TimelockSettings
from layer2.terms import SignedTerms
from layer2.transactions import Preimage, SwapId
from layer2.transfers import Quote, Transfer, TransferRequest

__all__ = ["Taker"]


class Taker:
    """Quotes, agreements and the record of the taker's own transfers.

    Args:
        network: asks what the own nodes and the configuration say of the network.
        address: 20 bytes: the own account on the EVM layer.
    """

    def __init__(
        self,
        *,
        journal: SwapStore,
        runner: SwapRunner,
        layers: Mapping[Layer2ProtocolType, HtlcLayer],
        providers: Sequence[ProviderClient],
        preimages: PreimageSource,
        settings: TimelockSettings,
        network: Callable[[], Awaitable[TakerNetwork]],
        address: bytes,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._journal = journal
        self._runner = runner
        self._layers = layers
        self._providers = {provider.endpoint.name: provider for provider in providers}
        self._preimages = preimages
        self._settings = settings
        self._network = network
        self._address = address
        self._clock = clock
        self._entropy = entropy

    def _now(self) -> int:
        return int(self._clock.now())

    async def quote(self, request: TransferRequest) -> Quote:
        """The cheapest checked offer.

        Raises:
            InvalidRequest, QuoteRefused, ConfigurationError: as ``quote_transfer_async``.
        """
        check_request(request, await self._network(), self._now(), self._settings)
        if not self._providers:
            raise ConfigurationError(
                "the configuration names no provider", code="no_provider", remedy="add a [[providers]] table"
            )
        answers = await asyncio.gather(
            *(self._quote_of(provider, request) for provider in self._providers.values()), return_exceptions=True
        )
        quotes: list[Quote] = []
        refusals: list[Layer2Error] = []
        for answer in answers:
            if isinstance(answer, Quote):
                quotes.append(answer)
            elif isinstance(answer, Layer2Error):
                refusals.append(answer)
            else:
                raise answer
        if quotes:
            return min(quotes, key=lambda quote: quote.send_amount)
        if len(refusals) == 1:
            raise refusals[0]
        listed = "; ".join(f"{name}: {error}" for name, error in zip(self._providers, refusals, strict=True))
        raise QuoteRefused(f"no provider offers this: {listed}", retryable=any(error.retryable for error in refusals))

    async def _quote_of(self, provider: ProviderClient, request: TransferRequest) -> Quote:
        signed = await provider.quote(request)
        key = provider.endpoint.identity_key
        check_quote(signed, request, key, await self._network(), self._now(), self._settings)
        return Quote(request, signed, provider.endpoint.name)

    async def begin(self, request: TransferRequest, idempotency_key: str | None) -> Transfer:
        """Quote and start in one, unless the key has a transfer already."""
        if idempotency_key is not None:
            known = await self._find(idempotency_key, request)
            if known is not None:
                return self._described(known)
        return await self.start(await self.quote(request), idempotency_key)

    async def start(self, quote: Quote, idempotency_key: str | None) -> Transfer:
        """Journal the plan, agree on terms, and let the runner go on.

        Raises:
            As ``start_transfer_async``; where it fails before terms are agreed, the transfer is recorded as abandoned.
        """
        provider = self._providers.get(quote.provider_name)
        if provider is None:
            raise ConfigurationError(f"the configuration names no provider {quote.provider_name!r}")
        network, key = await self._network(), provider.endpoint.identity_key
        check_quote(quote.offer, quote.request, key, network, self._now(), self._settings)
        swap_id = SwapId(self._entropy.token(16).hex())
        preimage: Preimage | None = None
        if quote.request.recipient is None:
            preimage = self._preimages.preimage(swap_id)
            payment_hash = preimage.payment_hash
        else:
            payment_hash = bolt11.decode(quote.request.recipient).payment_hash
        plan = planned_record(
            swap_id=swap_id,
            request=quote.request,
            provider_name=quote.provider_name,
            payment_hash=payment_hash,
            idempotency_key=idempotency_key,
            now=self._now(),
        )
        record = await self._journal.create(plan)
        if record.swap_id != swap_id:
            return self._described(record)
        try:
            signed = await self._agree(swap_id, quote, provider, payment_hash, preimage)
        except (Layer2Error, asyncio.CancelledError) as error:
            # Nothing was funded: the intent to fund is journaled only after terms are.
            reason = error.message if isinstance(error, Layer2Error) else "the call was cancelled before agreement"
            await asyncio.shield(self._abandon(record, reason))
            if isinstance(error, Layer2Error):
                error.transfer_id = swap_id
                error.outcome = Outcome.NOT_SENT
            raise
        record = await self._journal.advance(
            record,
            state=agreed_state(),
            is_final=False,
            event="terms agreed",
            now=self._now(),
            terms=write_signed_terms(signed),
        )
        self._runner.drive(record)
        return self._described(record)

    async def _abandon(self, record: SwapRecord, reason: str) -> None:
        await self._journal.advance(
            record, state=abandoned_state(reason), is_final=True, event="abandoned before agreement", now=self._now()
        )

    async def _agree(
        self, swap_id: SwapId, quote: Quote, provider: ProviderClient, payment_hash: bytes, preimage: Preimage | None
    ) -> SignedTerms:
        request, terms_of = quote.request, quote.offer.quote
        swap_request = SwapRequest(
            swap_id=swap_id,
            quote_id=terms_of.quote_id,
            payment_hash=payment_hash,
            offer=await self._offer(swap_id, request, payment_hash, preimage),
            taker_address=self._address,
        )
        signed = await provider.open_swap(swap_request)
        check_terms(signed, terms_of, swap_request, self._now(), self._settings)
        digest = terms_hash(signed.terms)
        for leg, side in ((signed.terms.source, Side.PAYER), (signed.terms.destination, Side.PAYEE)):
            if request.recipient is None or side is Side.PAYER:
                await self._layers[leg.protocol].check_can_finish(Htlc(leg, payment_hash, digest), side)
        return signed

    async def _offer(
        self, swap_id: SwapId, request: TransferRequest, payment_hash: bytes, preimage: Preimage | None
    ) -> str:
        if request.recipient is not None:
            return request.recipient.lower()
        if request.destination is not Layer2ProtocolType.LIGHTNING:
            return to_checksum(self._address)
        return await self._layers[request.destination].offer(
            OfferRequest(
                payment_hash=payment_hash,
                amount=request.amount,
                preimage=preimage,
                memo=swap_id,
                expiry_seconds=self._settings.own_invoice_expiry,
                final_cltv_delta=self._settings.own_final_cltv_delta,
            )
        )

    async def _find(self, idempotency_key: str, request: TransferRequest) -> SwapRecord | None:
        record = await self._journal.find(Role.TAKER, idempotency_key)
        if record is not None and read_request(record)[0] != request:
            raise IdempotencyConflict(
                "the idempotency key was used with another request; nothing was begun", transfer_id=record.swap_id
            )
        return record

    async def get(self, swap_id: SwapId) -> Transfer:
        return self._described(await self._load(swap_id))

    async def list(self, *, open_only: bool) -> Sequence[Transfer]:
        records = await self._journal.list(role=Role.TAKER, open_only=open_only)
        return [self._described(record) for record in records]

    async def resume(self) -> Sequence[Transfer]:
        """Drive every open transfer that has terms; one without can have moved nothing, and is abandoned."""
        for record in await self._journal.list(role=Role.TAKER, open_only=True):
            if record.terms is None:
                await self._abandon(record, "the program ended before terms were agreed")
        return [self._described(record) for record in await self._runner.resume((Role.TAKER,))]

    async def wait(self, swap_id: SwapId) -> Transfer:
        return self._described(await self._runner.wait(swap_id))

    async def watch(self, swap_id: SwapId) -> AsyncIterator[Transfer]:
        async with aclosing(self._runner.watch(swap_id)) as records:
            async for record in records:
                yield self._described(record)

    async def proof(self, swap_id: SwapId) -> TransferProof:
        """The proof of a transfer that has ended.

        Raises:
            UnknownTransfer: the journal has no proof for it.
        """
        proof = await self.find_proof(swap_id)
        if proof is None:
            raise UnknownTransfer(f"the journal has no proof of transfer {swap_id}", transfer_id=swap_id)
        return proof

    async def find_proof(self, swap_id: SwapId) -> TransferProof | None:
        data = await self._journal.load_proof(swap_id)
        return None if data is None else TransferProof.from_bytes(data)

    async def _load(self, swap_id: SwapId) -> SwapRecord:
        record = await self._journal.load(swap_id)
        if record is None or record.role is not Role.TAKER:
            raise UnknownTransfer(f"the journal has no transfer {swap_id}", transfer_id=swap_id)
        return record

    def _described(self, record: SwapRecord) -> Transfer:
        return describe(record, self._settings)
