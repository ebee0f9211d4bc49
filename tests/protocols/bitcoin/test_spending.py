"""Claims, refunds and releases, judged by Bitcoin Core's own consensus code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from coincurve import PrivateKey

from layer2.errors import InvalidAmount
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxOut
from layer2.protocols.bitcoin.htlc.spending import (
    CLAIM_SIZE,
    REFUND_SIZE,
    Held,
    SpendPrice,
    claim,
    refund,
    release,
    release_signature,
)
from protocols.bitcoin.scripts import HTLC, LOCKTIME, PAYEE, PAYEE_RELEASE, PAYER, PREIMAGE, STRANGER, core_accepts

TO = b"\x00\x14" + bytes(20)
HELD = Held(OutPoint(b"\x09" * 32, 1), 100_000)
OTHER = Held(OutPoint(b"\x0a" * 32, 0), 55_000)
RATE = 20_000


def signer(key: PrivateKey) -> Callable[[bytes], bytes]:
    return lambda digest: key.sign(digest, hasher=None)


def rate_of(transaction: Transaction, amount: int) -> float:
    return (amount - sum(each.amount for each in transaction.outputs)) * 1_000 / transaction.virtual_size


def test_a_claim_is_valid_and_pays_the_rate() -> None:
    made = claim(HTLC, HELD, PREIMAGE, TO, SpendPrice(RATE), signer(PAYEE))
    assert core_accepts(made, [HELD.amount])
    assert [each.script for each in made.outputs] == [TO]
    assert RATE <= rate_of(made, HELD.amount) <= RATE * 1.03
    assert made.virtual_size <= CLAIM_SIZE
    assert HTLC.spending(made.inputs[0].witness) is not None


def test_a_claim_by_another_key_is_not_valid() -> None:
    assert not core_accepts(claim(HTLC, HELD, PREIMAGE, TO, SpendPrice(RATE), signer(STRANGER)), [HELD.amount])


def test_a_refund_takes_every_output_back_from_the_lock_time_on() -> None:
    made = refund(HTLC, [HELD, OTHER], TO, SpendPrice(RATE), signer(PAYER))
    assert made.locktime == LOCKTIME
    assert core_accepts(made, [HELD.amount, OTHER.amount])
    assert RATE <= rate_of(made, HELD.amount + OTHER.amount) <= RATE * 1.03
    assert not core_accepts(replace(made, locktime=LOCKTIME - 1), [HELD.amount, OTHER.amount])
    assert refund(HTLC, [HELD], TO, SpendPrice(RATE), signer(PAYER)).virtual_size <= REFUND_SIZE


def test_a_release_pays_where_the_payer_chooses() -> None:
    signatures = [(held, release_signature(HTLC, held, signer(PAYEE_RELEASE))) for held in (HELD, OTHER)]
    made = release(HTLC, signatures, TO, SpendPrice(RATE), signer(PAYER))
    assert made.locktime == 0
    assert core_accepts(made, [HELD.amount, OTHER.amount])
    changed = replace(made, outputs=(TxOut(1_000, TO),))
    assert not core_accepts(changed, [HELD.amount, OTHER.amount])


def test_a_release_signature_does_not_release_another_output() -> None:
    signature = release_signature(HTLC, HELD, signer(PAYEE_RELEASE))
    assert not core_accepts(release(HTLC, [(OTHER, signature)], TO, SpendPrice(RATE), signer(PAYER)), [OTHER.amount])


def test_a_fee_is_at_most_half_of_the_amount() -> None:
    made = claim(HTLC, HELD, PREIMAGE, TO, SpendPrice(10_000_000), signer(PAYEE))
    assert made.outputs[0].amount == HELD.amount - HELD.amount // 2


def test_a_fee_that_leaves_dust_is_refused() -> None:
    with pytest.raises(InvalidAmount, match="would leave less than 330 sat"):
        claim(HTLC, Held(HELD.outpoint, 600), PREIMAGE, TO, SpendPrice(10_000_000), signer(PAYEE))
    with pytest.raises(InvalidAmount, match="would leave less than 330 sat"):
        refund(HTLC, [Held(HELD.outpoint, 400)], TO, SpendPrice(1_000), signer(PAYER))


def test_a_spend_that_replaces_another_one_pays_its_fee_and_for_its_own_size() -> None:
    made = refund(HTLC, [HELD], TO, SpendPrice(1_000, replaced=5_000), signer(PAYER))
    fee = HELD.amount - made.outputs[0].amount
    assert 5_000 + made.virtual_size <= fee <= 5_000 + REFUND_SIZE
