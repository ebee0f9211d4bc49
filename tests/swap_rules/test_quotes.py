"""Requests and quotes: what a taker accepts, and the codes of its refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from layer2.errors import InvalidAmount, InvalidRequest, QuoteExpired, QuoteRefused, TermsRefused, UnknownAsset
from layer2.legs.bitcoin import BitcoinOffer
from layer2.legs.lightning import routing_fee_limit
from layer2.legs.timelock_settings import MAINNET, REGTEST, TESTNET, TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, ETH
from layer2.model.transactions import Finality
from layer2.swap_rules.agreement import taker_requests
from layer2.swap_rules.quotes import TakerOffers, check_quote, check_recipient, check_request, default_max_fee
from layer2.terms.transfers import TransferRequest
from swap_rules.example_terms import (
    AMOUNT,
    FEE,
    IDENTITY_KEY,
    LAYER_OF,
    NOW,
    PAYMENT_HASH,
    PROVIDER_NODE,
    STRANGERS_NODE,
    SWAP_ID,
    TAKER_EVM,
    TAKER_NODE,
    invoice_for,
    offer_of,
    quote_of,
    signed_quote,
)

NAMES = ("bob", "rootstock", "lightning", "bitcoin")
PAIRS = [(source, destination) for source in NAMES for destination in NAMES if source != destination]
OWN = TakerOffers({LAYER_OF[name]: offer_of(LAYER_OF[name], taker=True) for name in NAMES})
BOB, LIGHTNING = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING


def transfer(source: str = "bob", destination: str = "lightning", **changes: Any) -> TransferRequest:
    return replace(TransferRequest(BTC, AMOUNT, LAYER_OF[source], LAYER_OF[destination]), **changes)


def invoice(signer: Any = STRANGERS_NODE, **changes: Any) -> str:
    wanted = taker_requests(quote_of(), SWAP_ID, PAYMENT_HASH, NOW, REGTEST)[1]
    return invoice_for(wanted, signer, REGTEST, **changes)


def refusal(
    made: Any,
    request: TransferRequest,
    own: TakerOffers = OWN,
    *,
    max_fee: int = 10_000,
    now: int = NOW,
    rules: TimelockSettings = REGTEST,
) -> str | None:
    try:
        check_quote(signed_quote(made), request, IDENTITY_KEY, own, now, rules, max_fee=max_fee)
    except (TermsRefused, QuoteRefused, QuoteExpired, InvalidRequest) as error:
        return error.code
    return None


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_an_honest_quote_is_taken(pair: tuple[str, str]) -> None:
    assert refusal(quote_of(*pair), transfer(*pair)) is None


LIES: list[tuple[str, Any]] = [
    ("network", "mainnet"),
    ("asset", "ETH"),
    ("amount", AMOUNT - 1),
    ("issued_at", NOW + 62),
    ("provider", STRANGERS_NODE.public_key.format()[1:]),
]
SOURCE_LIES: list[tuple[str, Any]] = [
    ("chain_id", 1),
    ("contract", b"\x66" * 20),
    ("token", b"\x66" * 20),
    ("token_decimals", 18),
    ("account", bytes(20)),
    ("account", TAKER_EVM),
]
DESTINATION_LIES: list[tuple[str, Any]] = [
    ("prefix", "bc"),
    ("node_key", TAKER_NODE.public_key.format()),
    ("node_key", b"\x05" + bytes(32)),
]


@pytest.mark.parametrize(("field", "lie"), LIES, ids=[name for name, _ in LIES])
def test_a_quote_for_something_else_is_refused_by_the_fields_name(field: str, lie: Any) -> None:
    assert refusal(quote_of(**{field: lie}), transfer()) == f"quote_{field}"


@pytest.mark.parametrize(("field", "lie"), SOURCE_LIES, ids=[name for name, _ in SOURCE_LIES])
def test_a_source_that_does_not_fit_the_configuration_is_refused_by_the_fields_name(field: str, lie: Any) -> None:
    honest = quote_of()
    wrong = replace(honest, source=replace(honest.source, **{field: lie}))  # type: ignore[type-var]  # a dataclass
    assert refusal(wrong, transfer()) == f"quote_source_{field}"


@pytest.mark.parametrize(("field", "lie"), DESTINATION_LIES, ids=[name for name, _ in DESTINATION_LIES])
def test_a_destination_that_does_not_fit_the_configuration_is_refused_by_the_fields_name(field: str, lie: Any) -> None:
    honest = quote_of()
    wrong = replace(honest, destination=replace(honest.destination, **{field: lie}))  # type: ignore[type-var]  # a dataclass
    assert refusal(wrong, transfer()) == f"quote_destination_{field}"


def test_a_fee_floor_above_the_configured_one_is_refused() -> None:
    honest = quote_of("bitcoin", "bob")
    assert isinstance(honest.source, BitcoinOffer)
    greedy = replace(honest, source=replace(honest.source, fee_floor=honest.source.fee_floor + 1))
    assert refusal(greedy, transfer("bitcoin", "bob")) == "quote_source_fee_floor"


@pytest.mark.parametrize("pair", [("bob", "rootstock"), ("lightning", "bob")])
def test_a_quote_for_another_pair_is_refused(pair: tuple[str, str]) -> None:
    assert refusal(quote_of(*pair), transfer()) == "quote_pair"


def test_a_quote_that_another_key_signed_is_refused() -> None:
    forged = signed_quote(quote_of(), STRANGERS_NODE)
    with pytest.raises(TermsRefused) as refused:
        check_quote(forged, transfer(), IDENTITY_KEY, OWN, NOW, REGTEST, max_fee=FEE)
    assert refused.value.code == "quote_signature"


def test_a_quote_for_another_network_than_the_configured_one_is_refused() -> None:
    with pytest.raises(TermsRefused) as refused:
        check_quote(signed_quote(quote_of()), transfer(), IDENTITY_KEY, OWN, NOW, MAINNET, max_fee=FEE)
    assert refused.value.code == "quote_network"


def test_a_quote_holds_until_its_last_second() -> None:
    assert refusal(quote_of(), transfer(), now=NOW + 59) is None
    assert refusal(quote_of(), transfer(), now=NOW + 60) == "quote_expired"


def test_a_destination_that_is_less_settled_than_asked_for_is_refused() -> None:
    careful = replace(OWN, least_finality=Finality.FINALIZED)
    assert refusal(quote_of("lightning", "bob"), transfer("lightning", "bob"), careful) == "quote_finality"
    stronger = quote_of("lightning", "bob", finality=Finality.FINALIZED)
    assert refusal(stronger, transfer("lightning", "bob"), careful) is None
    # A payment has one finality only, and the source's finality is the provider's risk.
    assert refusal(quote_of(), transfer(), careful) is None


@pytest.mark.parametrize(("rules", "refused"), [(MAINNET, True), (TESTNET, True), (REGTEST, False)])
def test_no_party_relies_on_the_newest_block_of_a_public_network_whose_blocks_are_mined(
    rules: TimelockSettings, refused: bool
) -> None:
    latest = offer_of(Layer2ProtocolType.ROOTSTOCK, rules, Finality.LATEST)
    # What a provider offers: of two blocks of one height, each can have another transaction of the payer.
    assert latest.with_finality(Finality.LATEST).finality is (Finality.SAFE if refused else Finality.LATEST)
    assert latest.with_finality(Finality.FINALIZED).finality is Finality.FINALIZED
    assert offer_of(BOB, rules).with_finality(Finality.LATEST).finality is Finality.LATEST
    # What a taker accepts, although its least finality is the latest block.
    own = TakerOffers({LAYER_OF[name]: offer_of(LAYER_OF[name], rules, taker=True) for name in NAMES})
    wanted = transfer("bob", "rootstock")
    for finality, code in ((Finality.LATEST, "quote_finality" if refused else None), (Finality.SAFE, None)):
        assert refusal(quote_of("bob", "rootstock", rules, finality), wanted, own, rules=rules) == code


def test_a_fee_up_to_the_limit_is_taken_and_one_satoshi_more_is_not() -> None:
    assert refusal(quote_of(), transfer(), max_fee=FEE) is None
    assert refusal(quote_of(), transfer(), max_fee=FEE - 1) == "max_fee"


def test_the_limit_holds_for_the_route_of_a_lightning_source_too() -> None:
    most = FEE + routing_fee_limit(AMOUNT + FEE)
    made, request = quote_of("lightning", "bob"), transfer("lightning", "bob")
    assert refusal(made, request, max_fee=most) is None
    assert refusal(made, request, max_fee=most - 1) == "max_fee"


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_without_a_limit_of_the_callers_own_an_absurd_fee_is_refused(pair: tuple[str, str]) -> None:
    greedy = replace(quote_of(*pair), provider_fee=99_999_999_999)
    assert refusal(greedy, transfer(*pair), max_fee=default_max_fee(AMOUNT, 250)) == "max_fee"


def test_the_default_limit_is_a_hundredth_and_twice_the_network_costs() -> None:
    assert default_max_fee(100_000, 260) == 1_000 + 520
    with pytest.raises(InvalidRequest, match="max_fee is required") as refused:
        default_max_fee(100_000, None)
    assert refused.value.code == "max_fee_required"


def test_a_quote_by_what_leaves_has_to_leave_exactly_that() -> None:
    request = transfer(amount=None, send_amount=AMOUNT + FEE)
    assert refusal(quote_of(), request) is None
    assert refusal(quote_of(), replace(request, send_amount=AMOUNT)) == "quote_send_amount"


def test_a_recipient_whose_invoice_the_provider_signed_is_refused() -> None:
    assert refusal(quote_of(), transfer(recipient=invoice(PROVIDER_NODE))) == "invoice_payee"
    assert refusal(quote_of(), transfer(recipient=invoice())) is None


def test_an_invoice_of_the_takers_own_node_can_be_paid() -> None:
    assert asked(transfer(recipient=invoice(TAKER_NODE))) is None
    assert refusal(quote_of(), transfer(recipient=invoice(TAKER_NODE))) is None


def asked(request: TransferRequest) -> str | None:
    try:
        check_request(request, OWN, REGTEST)
        if request.recipient is not None and request.amount is not None:
            offer = OWN.layers[request.destination].of_anyone()
            check_recipient(request.recipient, offer, request.amount, NOW, REGTEST)
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
        ({"amount": None}, "amount"),
        ({"send_amount": 5}, "amount"),
        ({"amount": None, "send_amount": 0}, "invalid_amount"),
        ({"amount": 9_999, "source": Layer2ProtocolType.BITCOIN}, "below_smallest"),
        ({"amount": 9_999, "destination": Layer2ProtocolType.BITCOIN}, "below_smallest"),
        ({"destination": BOB}, "same_layer"),
        ({"destination": Layer2ProtocolType.LIQUID}, "pair"),
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
def test_an_impossible_request_is_refused_before_any_provider_is_asked(changes: dict[str, Any], code: str) -> None:
    assert asked(replace(transfer(), **changes)) == code


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_request_between_any_two_configured_layers_is_taken(pair: tuple[str, str]) -> None:
    assert asked(transfer(*pair)) is None


def test_value_for_another_partys_account_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidRequest, match="could refund the lock before your claim") as refused:
        check_recipient("0x" + "66" * 20, OWN.layers[BOB], AMOUNT, NOW, REGTEST)
    assert refused.value.code == "recipient"


def test_an_asset_that_cannot_be_swapped_is_named() -> None:
    with pytest.raises(UnknownAsset, match="ETH"):
        check_request(transfer(asset=ETH), OWN, REGTEST)
    with pytest.raises(UnknownAsset, match=r"'BTC' cannot be transferred between layers; pass layer2\.BTC"):
        check_request(transfer(asset="BTC"), OWN, REGTEST)
    with pytest.raises(InvalidAmount):
        check_request(transfer(amount=0), OWN, REGTEST)
