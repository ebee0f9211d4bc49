from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from layer2.errors import InvalidAmount, InvalidRequest, QuoteExpired, QuoteRefused, TermsRefused, UnknownAsset
from layer2.layers import Layer2ProtocolType
from layer2.money import ETH
from layer2.swap_rules.agreement import routing_fee_limit
from layer2.swap_rules.quotes import check_quote, check_request
from layer2.swap_rules.timelocks import MAINNET, REGTEST
from layer2.transactions import Finality
from layer2.transfers import TransferRequest
from swap_rules.made_agreements import (
    AMOUNT,
    BOB,
    IDENTITY_KEY,
    LIGHTNING,
    NOW,
    PROVIDER_NODE,
    STRANGERS_NODE,
    TAKER_NETWORK,
    TAKER_NODE,
    invoice,
    quote,
    signed_quote,
    transfer,
)


def refusal(made: Any, request: TransferRequest, **changes: Any) -> str | None:
    network = replace(TAKER_NETWORK, **changes)
    try:
        check_quote(signed_quote(made), request, IDENTITY_KEY, network, NOW + 1, REGTEST)
    except (TermsRefused, QuoteRefused, QuoteExpired, InvalidRequest) as error:
        return error.code
    return None


@pytest.mark.parametrize("source", [BOB, LIGHTNING])
def test_an_honest_quote_is_taken(source: Layer2ProtocolType) -> None:
    assert refusal(quote(source), transfer(source)) is None


LIES: list[tuple[str, Any]] = [
    ("network", "mainnet"),
    ("asset", "ETH"),
    ("source", Layer2ProtocolType.ROOTSTOCK),
    ("destination", Layer2ProtocolType.LIQUID),
    ("amount", AMOUNT - 1),
    ("chain_id", 1),
    ("contract", b"\x66" * 20),
    ("token", b"\x66" * 20),
    ("token_decimals", 18),
    ("evm_address", bytes(20)),
    ("lightning_network", "bc"),
    ("node_key", TAKER_NODE.public_key.format()),
    ("node_key", b"\x05" + bytes(32)),
    ("issued_at", NOW + 62),
    ("provider", STRANGERS_NODE.public_key.format()[1:]),
]


@pytest.mark.parametrize(("field", "lie"), LIES, ids=[name for name, _ in LIES])
def test_a_quote_for_something_else_is_refused_by_the_fields_name(field: str, lie: Any) -> None:
    assert refusal(quote(**{field: lie}), transfer()) == f"quote_{field}"


def test_a_quote_that_another_key_signed_is_refused() -> None:
    forged = signed_quote(quote(), STRANGERS_NODE)
    with pytest.raises(TermsRefused) as refused:
        check_quote(forged, transfer(), IDENTITY_KEY, TAKER_NETWORK, NOW, REGTEST)
    assert refused.value.code == "quote_signature"


def test_a_quote_for_another_network_than_the_configured_one_is_refused() -> None:
    with pytest.raises(TermsRefused) as refused:
        check_quote(signed_quote(quote()), transfer(), IDENTITY_KEY, TAKER_NETWORK, NOW, MAINNET)
    assert refused.value.code == "quote_network"


def test_a_quote_holds_until_its_last_second() -> None:
    made = signed_quote(quote())
    check_quote(made, transfer(), IDENTITY_KEY, TAKER_NETWORK, NOW + 60, REGTEST)
    with pytest.raises(QuoteExpired):
        check_quote(made, transfer(), IDENTITY_KEY, TAKER_NETWORK, NOW + 61, REGTEST)


def test_a_lock_that_is_less_settled_than_asked_for_is_refused_where_the_preimage_would_be_shown() -> None:
    assert refusal(quote(LIGHTNING), transfer(LIGHTNING), least_finality=Finality.SAFE) == "quote_finality"
    stronger = quote(LIGHTNING, finality=Finality.FINALIZED)
    assert refusal(stronger, transfer(LIGHTNING), least_finality=Finality.SAFE) is None
    assert refusal(quote(), transfer(), least_finality=Finality.SAFE) is None


def test_a_fee_up_to_the_limit_is_taken_and_one_satoshi_more_is_not() -> None:
    assert refusal(quote(), transfer(max_fee=470)) is None
    assert refusal(quote(), transfer(max_fee=469)) == "max_fee"


def test_the_limit_holds_for_the_route_of_a_lightning_source_too() -> None:
    most = 470 + routing_fee_limit(AMOUNT + 470)
    assert refusal(quote(LIGHTNING), transfer(LIGHTNING, max_fee=most)) is None
    assert refusal(quote(LIGHTNING), transfer(LIGHTNING, max_fee=most - 1)) == "max_fee"


def test_a_recipient_whose_invoice_the_provider_signed_is_refused() -> None:
    assert refusal(quote(), transfer(recipient=invoice(PROVIDER_NODE))) == "invoice_payee"
    assert refusal(quote(), transfer(recipient=invoice(STRANGERS_NODE))) is None


def asked(request: TransferRequest) -> str | None:
    try:
        check_request(request, TAKER_NETWORK, NOW, REGTEST)
    except InvalidRequest as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"asset": ETH}, "unknown_asset"),
        ({"amount": 0}, "invalid_amount"),
        ({"amount": -1}, "invalid_amount"),
        ({"amount": 1.0}, "invalid_amount"),
        ({"amount": True}, "invalid_amount"),
        ({"destination": BOB}, "same_layer"),
        ({"destination": Layer2ProtocolType.ROOTSTOCK}, "pair"),
        ({"max_fee": -1}, "max_fee"),
        ({"max_fee": 0.5}, "max_fee"),
        ({"recipient": "lnbcrt1"}, "invoice_format"),
        ({"recipient": invoice(prefix="bc")}, "invoice_network"),
        ({"recipient": invoice(amount_msat=None)}, "invoice_amount"),
        ({"recipient": invoice(amount_msat=1)}, "invoice_amount"),
        ({"recipient": invoice(timestamp=NOW - 10_000)}, "invoice_expired"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_is_refused_before_anybody_is_asked(changes: dict[str, Any], code: str) -> None:
    assert asked(transfer(**changes)) == code


def test_value_for_somebody_elses_account_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidRequest, match="could refund the lock in front of your claim") as refused:
        check_request(transfer(LIGHTNING, recipient="0x" + "66" * 20), TAKER_NETWORK, NOW, REGTEST)
    assert refused.value.code == "recipient"


def test_the_invoice_of_a_recipient_gives_the_payment_hash() -> None:
    theirs = invoice(STRANGERS_NODE, payment_hash=b"\x09" * 32)
    read = check_request(transfer(recipient=theirs), TAKER_NETWORK, NOW, REGTEST)
    assert read is not None
    assert (read.payment_hash, read.payee) == (b"\x09" * 32, STRANGERS_NODE.public_key.format())


def test_without_a_recipient_there_is_no_invoice_to_read() -> None:
    assert check_request(transfer(), TAKER_NETWORK, NOW, REGTEST) is None


def test_an_asset_that_cannot_be_swapped_is_named() -> None:
    with pytest.raises(UnknownAsset, match="ETH"):
        check_request(transfer(asset=ETH), TAKER_NETWORK, NOW, REGTEST)
    with pytest.raises(InvalidAmount):
        check_request(transfer(amount=0), TAKER_NETWORK, NOW, REGTEST)
