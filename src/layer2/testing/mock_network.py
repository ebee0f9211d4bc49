"""A network without nodes for a mock manager: a provider that signs, the taker's accounts, and the evidence of legs.

Quotes, terms, invoices and evidence have the real formats and pass the library's own checks. Nothing holds money.
"""

from __future__ import annotations

import hashlib
from typing import Final

from coincurve import PrivateKey, PublicKeyXOnly

from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import Layer2Error, StatementRefused
from layer2.formats import bolt11, merkle_patricia
from layer2.formats.bolt11_fields import InvoiceFields
from layer2.formats.evm_abi import event_topic
from layer2.formats.evm_address import address_of_public_key, to_checksum
from layer2.formats.evm_header import EvmHeader
from layer2.formats.evm_receipt import EvmLog, EvmReceipt, bloom_of
from layer2.formats.tagged_signature import sign
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evidence import EvmEvidence, EvmReceiptEvidence, LegEvidence, LightningPaymentEvidence
from layer2.legs.evm import NO_ADDRESS, EvmLeg, EvmOffer
from layer2.legs.leg import Htlc, Leg, LegOffer
from layer2.legs.lightning import LightningLeg, LightningOffer
from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import ActStatus, ClockReading, LegState, LegView, OfferRequest, Side, Verb
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage, SwapId
from layer2.ports.clock import Clock
from layer2.ports.journal import Json
from layer2.ports.legs import HtlcLayer
from layer2.proofs.statement import SignedStatement
from layer2.provider_client import PairOffer, ProviderClient, ProviderEndpoint, ProviderInfo
from layer2.swap_rules.agreement import SwapRequest, build_terms, provider_request
from layer2.swap_rules.timelocks import pairs_of
from layer2.terms.documents import QuoteTerms, Scheme, Signature, SignedQuote, SignedTerms, Terms
from layer2.terms.signing import quote_digest, terms_hash
from layer2.terms.transfers import TransferRequest
from layer2.testing import mock_bitcoin, mock_rootstock
from layer2.testing.mock import MOCK_BLOCK, UnmetExpectations

__all__ = ["IDENTITY_KEY", "PROVIDER_NAME", "TAKER", "TOKEN", "MockLegs", "MockProvider", "evidence_of"]

PROVIDER_NAME: Final = "mock"
TAKER: Final = PrivateKey(hashlib.sha256(b"layer2.testing taker").digest())
TOKEN: Final = hashlib.sha256(b"layer2.testing token").digest()[:20]
_CHAIN_IDS: Final = {Layer2ProtocolType.BOB: 60808, Layer2ProtocolType.ROOTSTOCK: 33}
_PROVIDER: Final = PrivateKey(hashlib.sha256(b"layer2.testing provider").digest())
_STRANGER: Final = PrivateKey(hashlib.sha256(b"layer2.testing stranger").digest())
IDENTITY_KEY: Final = PublicKeyXOnly.from_secret(_PROVIDER.secret).format()
_LAYERS: Final = (*_CHAIN_IDS, Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BITCOIN)
_NETWORK_COST: Final = 25
_MOST_SATOSHI: Final = 100_000_000


def _offer_of(layer: Layer2ProtocolType, key: PrivateKey) -> LegOffer:
    if layer is Layer2ProtocolType.LIGHTNING:
        return LightningOffer("bcrt", key.public_key.format())
    if layer is Layer2ProtocolType.BITCOIN:
        return mock_bitcoin.offer_of(key)
    account = address_of_public_key(key.public_key.format())
    token, decimals = (NO_ADDRESS, 18) if layer is Layer2ProtocolType.ROOTSTOCK else (TOKEN, 8)
    return EvmOffer(layer, _CHAIN_IDS[layer], HTLC_ADDRESS, token, decimals, account, Finality.LATEST)


def _invoice(key: PrivateKey, asked: OfferRequest, now: int) -> str:
    fields = InvoiceFields(
        prefix="bcrt",
        amount_msat=asked.amount * 1000,
        timestamp=now,
        payment_hash=asked.payment_hash,
        payment_secret=bytes(32),
        description=asked.memo,
        expiry=asked.expiry_seconds,
        min_final_cltv_expiry_delta=asked.min_blocks,
    )
    return bolt11.encode(fields, lambda digest: key.sign_recoverable(digest, hasher=None))


class MockLegs(HtlcLayer):
    """The taker's part in swaps on one layer, up to the agreement. No act is ever asked of it."""

    def __init__(self, layer: Layer2ProtocolType, clock: Clock) -> None:
        self._layer = layer
        self._clock = clock

    async def leg_offer(self) -> LegOffer:
        """The taker's account."""
        return _offer_of(self._layer, TAKER)

    async def offer(self, request: OfferRequest) -> str:
        """The taker's account or keys, or an invoice of its node."""
        if self._layer is Layer2ProtocolType.LIGHTNING:
            return _invoice(TAKER, request, int(self._clock.now())) if request.side is Side.PAYEE else ""
        if self._layer is Layer2ProtocolType.BITCOIN:
            return mock_bitcoin.keys_of(TAKER).write()
        return to_checksum(address_of_public_key(TAKER.public_key.format()), _CHAIN_IDS[self._layer])

    async def network_cost(self, amount: int) -> int | None:
        """25 sat."""
        return _NETWORK_COST

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        """Do nothing: a mock layer is always ready."""
        return

    async def read_clock(self) -> ClockReading:
        """The manager's clock."""
        return ClockReading(int(self._clock.now()), mock_bitcoin.HEIGHT)

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        """No leg holds money."""
        return LegView(LegState.NONE, await self.read_clock())

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        """Not called."""
        raise AssertionError("the mock network performs no acts")

    async def perform(self, act: Json) -> None:
        """Not called."""
        raise AssertionError("the mock network performs no acts")

    async def act_status(self, act: Json) -> ActStatus:
        """Not called."""
        raise AssertionError("the mock network performs no acts")

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        """Not called."""
        raise AssertionError("the mock network performs no acts")

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        """Not called."""
        raise AssertionError("the mock network performs no acts")


class MockProvider(ProviderClient):
    """A provider that quotes and signs at once, except if an error is queued for the call.

    Args:
        base_fee: satoshi, for a swap of any amount.
        fee_ppm: millionths of the amount, on top of it.
    """

    def __init__(self, base_fee: int, fee_ppm: int, clock: Clock) -> None:
        self.endpoint = ProviderEndpoint(PROVIDER_NAME, "https://mock.invalid", IDENTITY_KEY)
        self.quote_errors: list[Layer2Error] = []
        self.start_errors: list[Layer2Error] = []
        self.base_fee = base_fee
        self._fee_ppm = fee_ppm
        self._clock = clock
        self._quotes = 0
        self._foreign: dict[bytes, Preimage] = {}

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    def make_invoice(self, amount: int, expiry_seconds: int) -> str:
        """A stranger's invoice over an amount in satoshi."""
        preimage = Preimage(hashlib.sha256(b"layer2.testing invoice" + len(self._foreign).to_bytes(8)).digest())
        self._foreign[preimage.payment_hash] = preimage
        asked = OfferRequest(Side.PAYEE, preimage.payment_hash, amount, "mock invoice", expiry_seconds, 24)
        return _invoice(_STRANGER, asked, int(self._clock.now()))

    def foreign_preimage(self, payment_hash: bytes) -> Preimage | None:
        """The preimage of a stranger's invoice."""
        return self._foreign.get(payment_hash)

    async def info(self) -> ProviderInfo:
        """Every pair of layers, from the smallest amount of its legs to 1 BTC."""
        offers = {layer: _offer_of(layer, _PROVIDER) for layer in _LAYERS}
        pairs = tuple(
            PairOffer(
                provider_name=PROVIDER_NAME,
                source=source,
                destination=destination,
                min_amount=max(durations.source.smallest, durations.destination.smallest),
                max_amount=_MOST_SATOSHI,
                base_fee=self.base_fee,
                fee_ppm=self._fee_ppm,
                network_fee=0,
                collect_by=durations.collect_by,
                known=durations.known,
                source_deadline=durations.source_deadline,
                worst=durations.worst,
            )
            for (source, destination), durations in pairs_of(offers, REGTEST).items()
        )
        return ProviderInfo(IDENTITY_KEY, REGTEST.network, offers, pairs, True, None)

    async def quote(self, request: TransferRequest) -> SignedQuote:
        """A signed quote; raises a queued error instead."""
        _fail(self.quote_errors)
        if request.recipient is not None and bolt11.decode(request.recipient).payment_hash not in self._foreign:
            raise UnmetExpectations("a mock manager pays only invoices that its make_invoice made")
        now = int(self._clock.now())
        amount = request.amount
        if amount is None:
            assert request.send_amount is not None
            amount = (request.send_amount - self.base_fee) * 1_000_000 // (1_000_000 + self._fee_ppm)
        self._quotes += 1
        quote = QuoteTerms(
            quote_id=f"{self._quotes:032x}",
            network=REGTEST.network,
            asset=request.asset.code,
            amount=amount,
            provider_fee=self.base_fee + amount * self._fee_ppm // 1_000_000
            if request.send_amount is None
            else request.send_amount - amount,
            network_fee=0,
            source=_offer_of(request.source, _PROVIDER),
            destination=_offer_of(request.destination, _PROVIDER),
            issued_at=now,
            valid_until=now + REGTEST.quote_validity,
            provider=IDENTITY_KEY,
        )
        return SignedQuote(quote, _signature(quote_digest(quote)))

    async def open_swap(self, request: SwapRequest, quote: SignedQuote) -> SignedTerms:
        """Signed terms; raises a queued error instead."""
        _fail(self.start_errors)
        quoted, now, named = quote.quote, int(self._clock.now()), ""
        height = 0 if quoted.height_from is None else mock_bitcoin.HEIGHT
        if quoted.source.protocol is Layer2ProtocolType.LIGHTNING:
            named = _invoice(_PROVIDER, provider_request(quoted, request, now, height, REGTEST), now)
        terms = build_terms(quoted, request, now, REGTEST, provider_named=named, height=height)
        return SignedTerms(terms, _signature(terms_hash(terms)))

    async def release_of(self, swap_id: SwapId, access_token: bytes) -> Json | None:
        """None: the script of a transfer decides when it is refunded."""
        return None

    async def completion_statement(self, terms: Terms, access_token: bytes) -> SignedStatement:
        """Refuse: no node shows how a scripted transfer ended."""
        raise StatementRefused("a mock provider has no nodes, and states nothing", transfer_id=terms.swap_id)


def _fail(errors: list[Layer2Error]) -> None:
    if errors:
        raise errors.pop(0)


def _signature(digest: bytes) -> Signature:
    return Signature(Scheme.BIP340, sign(_PROVIDER.secret, digest, bytes(32)))


def evidence_of(leg: Leg, terms: Terms, preimage: Preimage | None, now: int) -> LegEvidence | None:
    """The evidence of how a leg ended.

    Args:
        preimage: of a leg that was collected; None if it was refunded.
        now: unix seconds of the block.
    """
    match leg:
        case EvmLeg():
            return _receipt_evidence(leg, terms, preimage, now)
        case BitcoinLeg():
            return mock_bitcoin.spend_evidence(leg, (TAKER, _PROVIDER), preimage, now)
        case LightningLeg():
            return None if preimage is None else LightningPaymentEvidence(preimage)
        case _:
            raise AssertionError(f"the mock network has no layer for {leg.kind}")


def _receipt_evidence(leg: EvmLeg, terms: Terms, preimage: Preimage | None, now: int) -> EvmEvidence:
    lock = leg.lock(terms.payment_hash, terms_hash(terms))
    event = "Refunded(bytes32,bytes32)" if preimage is None else "Claimed(bytes32,bytes32,bytes32)"
    topics = (event_topic(event), lock.lock_id, lock.payment_hash)
    log = EvmLog(leg.contract, topics, b"" if preimage is None else preimage.secret)
    if leg.protocol is Layer2ProtocolType.ROOTSTOCK:
        return mock_rootstock.receipt_evidence(log, now)
    logs = (log,)
    values = [EvmReceipt(2, True, 100_000, bloom_of(logs), logs).encode()]
    header = EvmHeader(
        parent_hash=bytes(32),
        ommers_hash=bytes(32),
        fee_recipient=bytes(20),
        state_root=bytes(32),
        transactions_root=bytes(32),
        receipts_root=merkle_patricia.trie_root(values),
        logs_bloom=bytes(256),
        difficulty=0,
        number=1,
        gas_limit=30_000_000,
        gas_used=100_000,
        timestamp=now,
        extra_data=MOCK_BLOCK,
        prev_randao=bytes(32),
        nonce=bytes(8),
        base_fee_per_gas=7,
        withdrawals_root=bytes(32),
        blob_gas_used=0,
        excess_blob_gas=0,
        parent_beacon_block_root=bytes(32),
        requests_hash=bytes(32),
    )
    return EvmReceiptEvidence(leg.protocol, header.encode(), 0, merkle_patricia.prove(values, 0), 0)
