"""Terms of one swap in each direction, on regtest settings, with real invoices and margins that hold."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from coincurve import PrivateKey

from layer2.formats import bolt11
from layer2.layers import Layer2ProtocolType
from layer2.swap_rules.timelocks import (
    REGTEST,
    TimelockSettings,
    cltv_limit_for,
    destination_evm_deadline,
    hold_invoice_cltv_delta,
    last_payment_time,
    last_reveal_time,
    min_blocks_left_for,
    source_evm_deadline,
)
from layer2.terms import EvmLeg, LightningLeg, Terms
from layer2.transactions import Finality, Preimage, SwapId

NOW = 1_800_000_000
PREIMAGE = Preimage(hashlib.sha256(b"an example").digest())
PAYMENT_HASH = PREIMAGE.payment_hash
SWAP_ID = SwapId("5a" * 16)
AMOUNT = 100_000
FEE = 420
TAKER_EVM, PROVIDER_EVM = b"\x01" * 20, b"\x02" * 20
TAKER_NODE, PROVIDER_NODE = PrivateKey(b"\x11" * 32), PrivateKey(b"\x22" * 32)


def an_invoice(signer: PrivateKey, amount: int, expiry: int, final_delta: int, *, now: int = NOW) -> str:
    return bolt11.encode(
        bolt11.InvoiceFields(
            prefix="bcrt",
            amount_msat=amount * 1000,
            timestamp=now,
            payment_hash=PAYMENT_HASH,
            payment_secret=b"\x07" * 32,
            description=SWAP_ID,
            expiry=expiry,
            min_final_cltv_expiry_delta=final_delta,
        ),
        lambda digest: signer.sign_recoverable(digest, hasher=None),
    )


def an_evm_leg(payer: bytes, payee: bytes, amount: int, deadline: int) -> EvmLeg:
    return EvmLeg(
        protocol=Layer2ProtocolType.BOB,
        chain_id=60808,
        contract=b"\x0c" * 20,
        token=b"\x0d" * 20,
        token_decimals=8,
        amount=amount,
        payer=payer,
        payee=payee,
        deadline=deadline,
        finality=Finality.SAFE,
    )


def bob_to_lightning(settings: TimelockSettings = REGTEST, *, now: int = NOW) -> Terms:
    """The taker locks on BOB, the provider pays the taker's invoice."""
    expiry, delta = settings.own_invoice_expiry, settings.own_final_cltv_delta
    limit = cltv_limit_for(delta, settings)
    payment = LightningLeg(
        network="bcrt",
        invoice=an_invoice(TAKER_NODE, AMOUNT, expiry, delta, now=now),
        payee=TAKER_NODE.public_key.format(),
        amount_msat=AMOUNT * 1000,
        cltv_limit=limit,
        min_blocks_left=0,
        fee_limit_msat=100_000,
    )
    deadline = source_evm_deadline(now + expiry, settings.payment_timeout, limit, settings)
    return replace(
        _terms(now, settings),
        source=an_evm_leg(TAKER_EVM, PROVIDER_EVM, AMOUNT + FEE, deadline),
        destination=payment,
        counter_fund_by=last_payment_time(now + expiry, settings),
        collect_by=now + expiry,
    )


def lightning_to_bob(settings: TimelockSettings = REGTEST, *, now: int = NOW) -> Terms:
    """The taker pays the provider's hold invoice, the provider locks on BOB."""
    fund_by = now + settings.funding_window
    counter_fund_by = fund_by + settings.counter_funding_window
    deadline = destination_evm_deadline(counter_fund_by, Finality.SAFE, settings)
    blocks = min_blocks_left_for(deadline, now, settings)
    delta = hold_invoice_cltv_delta(blocks, settings)
    payment = LightningLeg(
        network="bcrt",
        invoice=an_invoice(PROVIDER_NODE, AMOUNT + FEE, settings.own_invoice_expiry, delta, now=now),
        payee=PROVIDER_NODE.public_key.format(),
        amount_msat=(AMOUNT + FEE) * 1000,
        cltv_limit=cltv_limit_for(delta, settings),
        min_blocks_left=blocks,
        fee_limit_msat=100_000,
    )
    return replace(
        _terms(now, settings),
        source=payment,
        destination=an_evm_leg(PROVIDER_EVM, TAKER_EVM, AMOUNT, deadline),
        counter_fund_by=counter_fund_by,
        collect_by=last_reveal_time(deadline, settings),
    )


def _terms(now: int, settings: TimelockSettings) -> Terms:
    leg = an_evm_leg(TAKER_EVM, PROVIDER_EVM, 1, 0)
    return Terms(
        swap_id=SWAP_ID,
        quote_id="0b" * 16,
        network=settings.network,
        asset="BTC",
        payment_hash=PAYMENT_HASH,
        amount=AMOUNT,
        provider_fee=FEE - 100,
        network_fee=100,
        source=leg,
        destination=leg,
        issued_at=now,
        fund_by=now + settings.funding_window,
        counter_fund_by=0,
        collect_by=0,
        provider=b"\x0e" * 32,
    )
