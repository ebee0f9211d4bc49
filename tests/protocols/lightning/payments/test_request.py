"""Rules and limits of payments, and the JSON of acts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import ConfigurationError, FormatError, FundsRulesError, InvalidAmount, InvalidRequest
from layer2.formats import bolt11
from layer2.formats.bolt11 import Bolt11Invoice, InvoiceFields
from layer2.formats.bolt11_fields import Tag
from layer2.model.transactions import Preimage
from layer2.protocols.lightning import KeysendRequest, LightningSettings, PaymentRequest
from layer2.protocols.lightning.acts import Act, Cancel, Keysend, Pay, Settle, read_act, write_act
from layer2.protocols.lightning.payments.request import check_keysend, check_payable
from protocols.lightning.world import HASH, PREIMAGE, START

PAYEE = PrivateKey(b"\x01" * 32)
OWN_KEY = PrivateKey(b"\x02" * 32).public_key.format()
SETTINGS = LightningSettings(
    network="regtest",
    rest_url="https://127.0.0.1:8080",
    certificate_file="tls.cert",
    macaroon_file="admin.macaroon",
)
FIELDS = InvoiceFields(
    prefix="bcrt",
    amount_msat=50_000_001,
    timestamp=START,
    payment_hash=HASH,
    payment_secret=bytes(32),
    description="tea",
    expiry=600,
    min_final_cltv_expiry_delta=80,
)


def invoice_of(**changes: Any) -> Bolt11Invoice:
    text = bolt11.encode(replace(FIELDS, **changes), lambda digest: PAYEE.sign_recoverable(digest, hasher=None))
    return bolt11.decode(text)


def resolved(**limits: Any) -> Pay:
    invoice = invoice_of()
    return PaymentRequest(invoice.text, **limits).resolved(invoice, SETTINGS)


def check(
    pay: Pay, invoice: Bolt11Invoice, *, prefix: str = "bcrt", own_key: bytes = OWN_KEY, now: float = START
) -> None:
    check_payable(pay, invoice, prefix=prefix, own_key=own_key, now=now)


def test_limits_that_are_not_given_come_from_the_settings() -> None:
    pay = resolved()
    assert pay.fee_limit_msat == 250_001  # 5000 millionths of 50,000,001, rounded up.
    assert pay.cltv_limit == 80 + 3 + SETTINGS.timelocks.route_blocks
    assert pay.timeout_seconds == 60
    check(pay, invoice_of())


def test_limits_that_are_given_hold() -> None:
    pay = resolved(fee_limit_msat=0, cltv_limit=84, timeout_seconds=5)
    assert (pay.fee_limit_msat, pay.cltv_limit, pay.timeout_seconds) == (0, 84, 5)
    check(pay, invoice_of())


def test_an_invoice_without_an_amount_is_paid_with_the_payers_and_with_no_other() -> None:
    invoice = invoice_of(amount_msat=None)
    with pytest.raises(InvalidAmount, match="leaves the amount to the payer"):
        PaymentRequest(invoice.text).resolved(invoice, SETTINGS)
    pay = PaymentRequest(invoice.text, amount_msat=2_000_000).resolved(invoice, SETTINGS)
    assert (pay.amount_msat, pay.fee_limit_msat) == (2_000_000, 10_000)
    check(pay, invoice)


def test_an_amount_beside_the_invoices_own_must_be_the_same() -> None:
    invoice = invoice_of()
    assert PaymentRequest(invoice.text, amount_msat=50_000_001).resolved(invoice, SETTINGS) == resolved()
    with pytest.raises(InvalidAmount, match="asks for 50000001 msat; the payment is over 50000000 msat"):
        PaymentRequest(invoice.text, amount_msat=50_000_000).resolved(invoice, SETTINGS)


def test_a_fee_limit_of_nothing_stays_nothing_and_a_cltv_limit_is_never_nothing() -> None:
    assert resolved(fee_limit_msat=0).fee_limit_msat == 0
    # lnd reads a limit of 0 blocks as 2016.
    with pytest.raises(InvalidRequest, match="cltv_limit"):
        PaymentRequest("lnbcrt", cltv_limit=0)
    with pytest.raises(FundsRulesError, match="between 84 and 2016"):
        check(replace(resolved(), cltv_limit=0), invoice_of())


def test_an_invoice_that_would_lock_the_money_too_long_is_refused() -> None:
    invoice = invoice_of(min_final_cltv_expiry_delta=2_000)
    with pytest.raises(FundsRulesError, match="2000 blocks"):
        PaymentRequest(invoice.text).resolved(invoice, SETTINGS)


@pytest.mark.parametrize(
    "limits",
    [
        {"amount_msat": 0},
        {"amount_msat": 1.0},
        {"fee_limit_msat": -1},
        {"fee_limit_msat": 1.0},
        {"cltv_limit": 0},
        {"cltv_limit": True},
        {"timeout_seconds": 0},
        {"max_parts": 0},
    ],
    ids=str,
)
def test_a_limit_that_cannot_be_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(limits))):
        PaymentRequest("lnbcrt", **limits)


def test_the_digest_distinguishes_requests_and_not_spellings() -> None:
    text = invoice_of().text
    assert PaymentRequest(text).digest() == PaymentRequest(text.upper()).digest()
    digests = {
        PaymentRequest(text, **limits).digest()
        for limits in (
            {},
            {"amount_msat": 9},
            {"fee_limit_msat": 9},
            {"cltv_limit": 9},
            {"timeout_seconds": 9},
            {"max_parts": 9},
        )
    }
    keysends = {
        KeysendRequest(PAYEE.public_key.format(), **limits).digest()
        for limits in (
            {"amount_msat": 9},
            {"amount_msat": 10},
            {"amount_msat": 9, "fee_limit_msat": 9},
            {"amount_msat": 9, "cltv_limit": 9},
            {"amount_msat": 9, "timeout_seconds": 9},
        )
    }
    assert len(digests | keysends) == 11


def test_a_keysend_has_every_limit_and_counts_with_lnds_final_delta() -> None:
    request = KeysendRequest(PAYEE.public_key.format(), 1_000_001)
    keysend = request.resolved(PREIMAGE, SETTINGS)
    assert keysend == Keysend(
        payee=PAYEE.public_key.format(),
        amount_msat=1_000_001,
        preimage=PREIMAGE,
        fee_limit_msat=5_001,
        cltv_limit=80 + 3 + SETTINGS.timelocks.route_blocks,
        timeout_seconds=60,
    )
    assert keysend.payment_hash == HASH
    check_keysend(keysend, own_key=OWN_KEY)
    check_keysend(replace(keysend, cltv_limit=84), own_key=OWN_KEY)


@pytest.mark.parametrize("cltv_limit", [0, 83, 2_017])
def test_a_keysend_that_no_route_could_carry_is_not_sent(cltv_limit: int) -> None:
    keysend = replace(KeysendRequest(PAYEE.public_key.format(), 1).resolved(PREIMAGE, SETTINGS), cltv_limit=cltv_limit)
    with pytest.raises(FundsRulesError, match="between 84 and 2016") as caught:
        check_keysend(keysend, own_key=OWN_KEY)
    assert caught.value.tx_id == HASH.hex()


def test_the_own_node_is_not_sent_to() -> None:
    keysend = KeysendRequest(OWN_KEY, 1).resolved(PREIMAGE, SETTINGS)
    with pytest.raises(FundsRulesError, match="own node"):
        check_keysend(keysend, own_key=OWN_KEY)


@pytest.mark.parametrize(
    ("payee", "amount_msat", "error"),
    [
        pytest.param(b"", 1, FormatError, id="no key"),
        pytest.param(b"\x02" + b"\xff" * 32, 1, FormatError, id="no point"),
        pytest.param(PAYEE.public_key.format(compressed=False), 1, FormatError, id="not compressed"),
        pytest.param(PAYEE.public_key.format(), 0, InvalidAmount, id="nothing"),
        pytest.param(PAYEE.public_key.format(), True, InvalidAmount, id="no number"),
    ],
)
def test_a_keysend_that_cannot_be_is_refused(payee: bytes, amount_msat: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        KeysendRequest(payee, amount_msat)


@pytest.mark.parametrize(
    ("changes", "arguments", "problem"),
    [
        pytest.param({"prefix": "bc"}, {}, "for the network 'bc'", id="mainnet"),
        pytest.param({}, {"prefix": "tb"}, "the node is on 'tb'", id="testnet node"),
        pytest.param({"payment_hash": bytes(32)}, {}, "another payment hash", id="hash"),
        pytest.param({"amount_msat": 50_000_000}, {}, "asks for 50000000 msat, not 50000001", id="amount"),
        pytest.param({}, {"own_key": PAYEE.public_key.format()}, "from your own node", id="own invoice"),
        pytest.param({"feature_bits": frozenset({8, 14, 30})}, {}, "atomic multi-path", id="AMP required"),
        pytest.param({"feature_bits": frozenset({8, 14, 31})}, {}, "atomic multi-path", id="AMP offered"),
        pytest.param({}, {"now": START + 541}, "expires too soon", id="about to expire"),
        pytest.param({"min_final_cltv_expiry_delta": 90}, {"cltv_limit": 93}, "between 94 and 2016", id="CLTV"),
    ],
)
def test_an_invoice_that_breaks_a_rule_is_not_paid(
    changes: dict[str, Any], arguments: dict[str, Any], problem: str
) -> None:
    pay = resolved(cltv_limit=arguments.pop("cltv_limit", 200))
    with pytest.raises(FundsRulesError, match=problem) as caught:
        check(pay, invoice_of(**changes), **arguments)
    assert caught.value.tx_id == HASH.hex()


def test_an_invoice_with_blinded_paths_is_not_paid() -> None:
    invoice = replace(invoice_of(), has_blinded_paths=True)
    with pytest.raises(FundsRulesError, match="blinded paths"):
        check(resolved(), invoice)


def test_an_invoice_that_readers_understand_differently_is_not_paid() -> None:
    invoice = replace(invoice_of(), unknown_tags=((Tag.PAYMENT_SECRET, bytes(52)),))
    with pytest.raises(FundsRulesError, match="repeats a field"):
        check(resolved(), invoice)


def test_the_last_second_in_which_an_invoice_is_paid_leaves_the_payment_its_time() -> None:
    check(resolved(timeout_seconds=60), invoice_of(), now=START + 540)
    with pytest.raises(FundsRulesError, match="expires too soon"):
        check(resolved(timeout_seconds=60), invoice_of(), now=START + 541)


INTEGERS = st.integers(0, 2**31)
MILLISATOSHI = st.integers(0, 2**63)
HASHES = st.binary(min_size=32, max_size=32)
PREIMAGES = st.builds(Preimage, HASHES)
ACTS = st.one_of(
    st.builds(
        Pay,
        payment_hash=HASHES,
        invoice=st.text("0123456789abcdefghijklmnopqrstuvwxyz", max_size=300),
        amount_msat=MILLISATOSHI,
        fee_limit_msat=MILLISATOSHI,
        cltv_limit=INTEGERS,
        timeout_seconds=INTEGERS,
        max_parts=st.integers(0, 1000),
    ),
    st.builds(
        Keysend,
        payee=st.binary(min_size=33, max_size=33),
        amount_msat=MILLISATOSHI,
        preimage=PREIMAGES,
        fee_limit_msat=MILLISATOSHI,
        cltv_limit=INTEGERS,
        timeout_seconds=INTEGERS,
    ),
    st.builds(Settle, PREIMAGES),
    st.builds(Cancel, HASHES),
)


@given(ACTS)
def test_an_act_is_read_as_it_was_written_also_from_text(act: Act) -> None:
    assert read_act(json.loads(json.dumps(write_act(act)))) == act


@given(ACTS, st.data())
def test_an_act_that_lacks_a_field_or_has_one_more_is_refused(act: Act, data: st.DataObject) -> None:
    written = write_act(act)
    left_out = data.draw(st.sampled_from(sorted(written)))
    for changed in ({name: value for name, value in written.items() if name != left_out}, {**written, "more": 1}):
        with pytest.raises(FormatError):
            read_act(changed)


@given(ACTS)
def test_the_preimage_of_an_act_is_in_no_representation_of_it(act: Act) -> None:
    if isinstance(act, Keysend | Settle):
        shown = f"{act!r} {act}"
        assert act.preimage.secret.hex() not in shown
        assert repr(act.preimage.secret) not in shown


@pytest.mark.parametrize(
    "changes",
    [{"act": "steal"}, {"payment_hash": "00"}, {"amount_msat": -1}, {"cltv_limit": "200"}, {"more": 1}],
    ids=str,
)
def test_an_act_that_was_changed_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        read_act({**write_act(resolved()), **changes})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"rest_url": "http://127.0.0.1:8080"}, "rest_url", id="no TLS"),
        pytest.param({"rest_url": "https://user:secret@127.0.0.1"}, "rest_url", id="password"),
        pytest.param({"rest_url": "https://127.0.0.1/v1"}, "rest_url", id="path"),
        pytest.param({"rest_url": "https://"}, "rest_url", id="no host"),
        pytest.param({"network": "main"}, "network", id="network"),
        pytest.param({"minimum_version": "new"}, "minimum_version", id="version"),
        pytest.param({"default_timeout_ms": 0}, "default_timeout_ms", id="time-out"),
        pytest.param({"fee_limit_ppm": -1}, "fee_limit_ppm", id="fee limit"),
        pytest.param({"max_payment_streams": -1}, "max_payment_streams", id="streams"),
    ],
)
def test_settings_that_cannot_be_are_named_and_not_repeated(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        replace(SETTINGS, **changes)
    assert "secret" not in str(caught.value)
