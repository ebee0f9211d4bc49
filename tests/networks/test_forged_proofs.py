"""A forger with real nodes, real money and no payment: what it can show to a stranger who asks a node of its own."""

from __future__ import annotations

import os
from dataclasses import replace

from coincurve import PrivateKey

from layer2 import FINAL, Preimage, ProofOutcome, TransferProof
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.legs.leg import Htlc
from layer2.legs.lightning import LightningLeg
from layer2.legs.shown import OpenPoint, PreimageMaker, Shown
from layer2.legs.views import LegState, Side
from layer2.local.network import LocalNetworkControl
from layer2.manager.verification import confirmed_report, verify_proof
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs import ProofLevel
from layer2.terms.signing import terms_hash
from networks.legs import AMOUNT, FundedLeg, new_leg
from networks.parties import Clients
from proofs import made_proofs as made


async def test_a_hold_invoice_that_nobody_paid_shows_no_payment(
    control: LocalNetworkControl, taker: Clients, provider: Clients
) -> None:
    # The forger asks the honest provider for a hold invoice of its own hash and never pays it. It signs terms with its
    # own key, locks to itself, and claims.
    forger, preimage = PrivateKey(), Preimage(os.urandom(32))
    invoice = await provider.lightning.create_hold_invoice_async(preimage.payment_hash, AMOUNT)
    lock = (await new_leg("bob", control, taker, taker)).htlc.leg
    payment = LightningLeg(
        prefix=invoice.prefix,
        invoice=invoice.text,
        payee=invoice.payee,
        amount_msat=AMOUNT * 1000,
        cltv_limit=200,
        min_blocks_left=0,
        fee_limit_msat=0,
    )
    terms = made.terms(
        payment,
        lock,
        payment_hash=preimage.payment_hash,
        amount=AMOUNT,
        provider_fee=0,
        issued_at=invoice.timestamp + 1,
        provider=forger.public_key.format()[1:],
    )
    locked = FundedLeg(taker.bob, taker.bob, preimage, Htlc(lock, preimage.payment_hash, terms_hash(terms)), control)
    await locked.fund()
    await locked.until_seen(Side.PAYEE, state=LegState.FUNDED)
    await locked.collect()
    await locked.until_final(Side.PAYEE, state=LegState.COLLECTED)
    evidence = await taker.bob.legs.evidence(locked.htlc, Side.PAYEE)
    forged = TransferProof(made.signed(terms, forger), LightningPaymentEvidence(preimage), evidence)
    clients = {Layer2ProtocolType.BOB: provider.bob}
    policy = replace(FINAL, providers=frozenset({terms.provider}), networks=frozenset({"regtest"}))
    report = await confirmed_report(forged, policy, clients)
    # The lock is real, and its end is final. No payment is shown.
    assert (report.outcome, report.destination.level) == (ProofOutcome.COMPLETED, ProofLevel.FINALIZED)
    assert report.preimage_maker is PreimageMaker.TAKER
    assert Shown.INDEPENDENT_PAYEE not in report.source.shown
    assert OpenPoint.PAYMENT in {matter.point for matter in report.open_points}
    declared = replace(policy, own_preimage_payees=frozenset({invoice.payee}))
    assert not await verify_proof(forged, declared, clients)
    assert await provider.lightning.holds_async() == ()
    await provider.lightning.cancel_invoice_async(preimage.payment_hash)
