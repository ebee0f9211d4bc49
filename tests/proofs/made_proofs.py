"""Proofs made with test keys: anyone who can sign and mine can make them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from coincurve import PrivateKey

from formats.invoices import SECOND_SECRET, extended
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.formats import bolt11, merkle_patricia
from layer2.formats.bolt11_fields import InvoiceFields
from layer2.formats.evm_abi import event_topic
from layer2.formats.evm_header import EvmHeader
from layer2.formats.evm_receipt import EvmLog, EvmReceipt, bloom_of
from layer2.formats.tagged_signature import sign
from layer2.legs.evidence import EvmReceiptEvidence, LightningPaymentEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Leg
from layer2.legs.lightning import LightningLeg
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, Preimage, SwapId
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import ProofLevel
from layer2.proofs.report import ProofReport
from layer2.terms.documents import Scheme, Signature, SignedTerms, Terms
from layer2.terms.signing import terms_hash

PROVIDER = PrivateKey(hashlib.sha256(b"provider").digest())
PROVIDER_KEY = PROVIDER.public_key.format()[1:]
PAYEE = PrivateKey(hashlib.sha256(b"payee").digest())
PREIMAGE = Preimage(hashlib.sha256(b"preimage").digest())
TOKEN = bytes.fromhex("11" * 20)
INVOICE_TIME = 1_790_000_000
INVOICE_EXPIRY = 3600
BLOCK_TIME = INVOICE_TIME + 60
AMOUNT = 100_000
FEE = 420


def invoice(
    *,
    amount: int | None = AMOUNT,
    preimage: Preimage = PREIMAGE,
    prefix: str = "bcrt",
    time: int = INVOICE_TIME,
    payee: PrivateKey = PAYEE,
) -> str:
    fields = InvoiceFields(
        prefix=prefix,
        amount_msat=None if amount is None else amount * 1000,
        timestamp=time,
        payment_hash=preimage.payment_hash,
        payment_secret=bytes(32),
        description="swap",
        expiry=INVOICE_EXPIRY,
        min_final_cltv_expiry_delta=80,
    )
    return bolt11.encode(fields, lambda digest: payee.sign_recoverable(digest, hasher=None))


def ambiguous_invoice() -> str:
    """The invoice with a second payment secret, signed again."""
    return extended(invoice(), SECOND_SECRET, PAYEE)


def evm_leg(**changes: Any) -> EvmLeg:
    leg = EvmLeg(
        protocol=Layer2ProtocolType.BOB,
        chain_id=60808,
        contract=HTLC_ADDRESS,
        token=TOKEN,
        token_decimals=8,
        amount=AMOUNT + FEE,
        payer=bytes.fromhex("22" * 20),
        payee=bytes.fromhex("33" * 20),
        deadline=BLOCK_TIME + 100_000,
        finality=Finality.SAFE,
    )
    return replace(leg, **changes)


def rootstock_leg(**changes: Any) -> EvmLeg:
    return evm_leg(**{"protocol": Layer2ProtocolType.ROOTSTOCK, "chain_id": 33, "amount": AMOUNT} | changes)


def lightning_leg(text: str | None = None, *, amount: int = AMOUNT, **changes: Any) -> LightningLeg:
    leg = LightningLeg(
        prefix="bcrt",
        invoice=invoice(amount=amount) if text is None else text,
        payee=PAYEE.public_key.format(),
        amount_msat=amount * 1000,
        cltv_limit=200,
        min_blocks_left=0,
        fee_limit_msat=10_000,
    )
    return replace(leg, **changes)


def terms(source: Leg | None = None, destination: Leg | None = None, **changes: Any) -> Terms:
    made = Terms(
        swap_id=SwapId("ab" * 16),
        quote_id="cd" * 16,
        network="regtest",
        asset="BTC",
        payment_hash=PREIMAGE.payment_hash,
        amount=AMOUNT,
        provider_fee=FEE,
        network_fee=0,
        source=evm_leg() if source is None else source,
        destination=lightning_leg() if destination is None else destination,
        issued_at=INVOICE_TIME + 1,
        fund_by=INVOICE_TIME + 600,
        counter_fund_by=INVOICE_TIME + 1200,
        collect_by=INVOICE_TIME + 3600,
        provider=PROVIDER_KEY,
    )
    return replace(made, **changes)


def signed(made: Terms, key: PrivateKey = PROVIDER) -> SignedTerms:
    return SignedTerms(made, Signature(Scheme.BIP340, sign(key.secret, terms_hash(made), bytes(32))))


def block_levels(report: ProofReport) -> set[ProofLevel]:
    """The levels of the legs whose evidence names a block."""
    return {leg.level for leg in (report.source, report.destination) if leg.header is not None}


def evidence_of(
    leg: EvmLeg,
    made: Terms,
    *,
    event: str = "Claimed",
    preimage: Preimage = PREIMAGE,
    emitter: bytes | None = None,
    succeeded: bool = True,
    block_time: int = BLOCK_TIME,
    neighbours: int = 4,
) -> EvmReceiptEvidence:
    """Mine a block whose third receipt ends the leg's lock."""
    lock = leg.lock(made.payment_hash, terms_hash(made))
    signature, data = (
        ("Claimed(bytes32,bytes32,bytes32)", preimage.secret)
        if event == "Claimed"
        else ("Refunded(bytes32,bytes32)", b"")
    )
    log = EvmLog(
        leg.contract if emitter is None else emitter, (event_topic(signature), lock.lock_id, lock.payment_hash), data
    )
    logs = (log,) if succeeded else ()
    receipts = [EvmReceipt(2, True, 21_000 * (n + 1), bloom_of(()), ()) for n in range(neighbours)]
    receipts[2:2] = [EvmReceipt(2, succeeded, 100_000, bloom_of(logs), logs)]
    values = [receipt.encode() for receipt in receipts]
    header = EvmHeader(
        parent_hash=bytes(32),
        ommers_hash=bytes(32),
        fee_recipient=bytes(20),
        state_root=bytes(32),
        transactions_root=bytes(32),
        receipts_root=merkle_patricia.trie_root(values),
        logs_bloom=bytes(256),
        difficulty=0,
        number=1234,
        gas_limit=30_000_000,
        gas_used=200_000,
        timestamp=block_time,
        extra_data=b"",
        prev_randao=bytes(32),
        nonce=bytes(8),
        base_fee_per_gas=7,
        withdrawals_root=bytes(32),
        blob_gas_used=0,
        excess_blob_gas=0,
        parent_beacon_block_root=bytes(32),
        requests_hash=hashlib.sha256(b"").digest(),
    )
    return EvmReceiptEvidence(leg.protocol, header.encode(), 2, merkle_patricia.prove(values, 2), 0)


def to_lightning(made: Terms | None = None, **evidence: Any) -> TransferProof:
    """A completed transfer from BOB to Lightning."""
    made = terms() if made is None else made
    assert isinstance(made.source, EvmLeg)
    payment = LightningPaymentEvidence(evidence.pop("payment", PREIMAGE))
    return TransferProof(signed(made), evidence_of(made.source, made, **evidence), payment)


def to_bob(made: Terms | None = None, **evidence: Any) -> TransferProof:
    """A completed transfer from Lightning to BOB."""
    if made is None:
        made = terms(lightning_leg(amount=AMOUNT + FEE), evm_leg(amount=AMOUNT))
    assert isinstance(made.destination, EvmLeg)
    payment = LightningPaymentEvidence(evidence.pop("payment", PREIMAGE))
    return TransferProof(signed(made), payment, evidence_of(made.destination, made, **evidence))


def refunded(made: Terms | None = None) -> TransferProof:
    """A transfer from BOB to Lightning whose lock was refunded."""
    made = terms() if made is None else made
    assert isinstance(made.source, EvmLeg)
    return TransferProof(signed(made), evidence_of(made.source, made, event="Refunded"), None)


def between_chains(made: Terms | None = None, **evidence: Any) -> TransferProof:
    """A completed transfer from BOB to Rootstock."""
    made = terms(evm_leg(), rootstock_leg()) if made is None else made
    assert isinstance(made.source, EvmLeg)
    assert isinstance(made.destination, EvmLeg)
    return TransferProof(
        signed(made), evidence_of(made.source, made, **evidence), evidence_of(made.destination, made, **evidence)
    )
