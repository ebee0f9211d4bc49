from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layer2.errors import FormatError, FundsRulesError, InvalidAmount, InvalidRequest, TermsRefused
from layer2.formats import bech32, bolt11
from layer2.formats.evm_address import to_checksum
from layer2.layers import Layer2ProtocolType
from layer2.swap_rules.agreement import SwapRequest, build_terms, check_terms, routing_fee_limit
from layer2.swap_rules.timelocks import (
    MAINNET,
    REGTEST,
    TESTNET,
    TimelockSettings,
    check_margins,
    hold_invoice_cltv_delta,
    min_blocks_left_for,
)
from layer2.terms import EvmLeg, LightningLeg, Terms
from layer2.transactions import Finality, SwapId
from swap_rules.made_agreements import (
    AMOUNT,
    BOB,
    LIGHTNING,
    NOW,
    PREIMAGE,
    PROVIDER,
    PROVIDER_NODE,
    STRANGERS_NODE,
    TAKER,
    TAKER_NODE,
    Agreement,
    agreement,
    hold_invoice,
    invoice,
    quote,
    signed_terms,
)

DIRECTIONS = pytest.mark.parametrize("source", [BOB, LIGHTNING], ids=["bob_to_lightning", "lightning_to_bob"])
NETWORKS = pytest.mark.parametrize("settings", [MAINNET, TESTNET, REGTEST], ids=lambda settings: settings.network)
TO_LIGHTNING, TO_BOB = agreement(BOB), agreement(LIGHTNING)


def refusal(made: Agreement, terms: Terms | None = None, *, now: int = NOW + 2, **signing: Any) -> str | None:
    """The code with which the taker refuses the terms, None if it takes them."""
    signed = signed_terms(made.terms if terms is None else terms, **signing)
    try:
        check_terms(signed, made.quote, made.request, now, made.settings)
    except TermsRefused as error:
        return error.code
    return None


def changed_leg(terms: Terms, side: str, **changes: Any) -> Terms:
    leg = replace(getattr(terms, side), **changes)
    return replace(terms, source=leg) if side == "source" else replace(terms, destination=leg)


@DIRECTIONS
@NETWORKS
@pytest.mark.parametrize("finality", list(Finality))
def test_a_taker_accepts_what_an_honest_provider_builds(
    source: Layer2ProtocolType, settings: TimelockSettings, finality: Finality
) -> None:
    made = agreement(source, settings, finality=finality)
    assert refusal(made) is None
    check_margins(made.terms, NOW + 2, settings)


def test_the_terms_to_lightning_say_what_was_quoted() -> None:
    terms = TO_LIGHTNING.terms
    assert isinstance(terms.source, EvmLeg)
    assert isinstance(terms.destination, LightningLeg)
    assert (terms.source.payer, terms.source.payee) == (TAKER, PROVIDER)
    assert (terms.source.amount, terms.destination.amount_msat) == (AMOUNT + 470, AMOUNT * 1000)
    assert terms.destination.invoice == TO_LIGHTNING.request.offer
    assert terms.destination.payee == TAKER_NODE.public_key.format()
    assert terms.destination.fee_limit_msat == 50_000
    assert terms.collect_by == bolt11.decode(terms.destination.invoice).expires_at


def test_the_terms_to_bob_say_what_was_quoted() -> None:
    terms = TO_BOB.terms
    assert isinstance(terms.source, LightningLeg)
    assert isinstance(terms.destination, EvmLeg)
    assert (terms.destination.payer, terms.destination.payee) == (PROVIDER, TAKER)
    assert (terms.source.amount_msat, terms.destination.amount) == ((AMOUNT + 470) * 1000, AMOUNT)
    assert terms.source.payee == PROVIDER_NODE.public_key.format()
    assert terms.source.fee_limit_msat == routing_fee_limit(AMOUNT + 470) * 1000
    delta = bolt11.decode(terms.source.invoice).min_final_cltv_expiry_delta
    assert delta == hold_invoice_cltv_delta(terms.source.min_blocks_left, REGTEST)


@NETWORKS
@pytest.mark.parametrize("finality", list(Finality))
def test_a_payment_that_comes_at_once_is_held_long_enough_for_the_provider_to_lock(
    settings: TimelockSettings, finality: Finality
) -> None:
    terms = agreement(LIGHTNING, settings, finality=finality).terms
    assert isinstance(terms.source, LightningLeg)
    assert isinstance(terms.destination, EvmLeg)
    held = bolt11.decode(terms.source.invoice).min_final_cltv_expiry_delta
    assert held >= min_blocks_left_for(terms.destination.deadline, terms.issued_at, settings)


def test_a_token_with_more_decimals_is_locked_in_its_own_smallest_unit() -> None:
    made = agreement(BOB, token_decimals=18)
    assert isinstance(made.terms.source, EvmLeg)
    assert made.terms.source.amount == (AMOUNT + 470) * 10**10


def test_an_amount_that_the_token_cannot_express_is_refused() -> None:
    with pytest.raises(InvalidAmount):
        agreement(BOB, token_decimals=6)


def test_the_smallest_payments_have_a_routing_fee_that_can_pay_a_route() -> None:
    assert [routing_fee_limit(amount) for amount in (1, 4_000, 10_000, 1_000_000)] == [10, 10, 25, 2_500]


SCALARS: list[tuple[str, Any]] = [
    ("swap_id", SwapId("cd" * 16)),
    ("quote_id", "cd" * 16),
    ("network", "mainnet"),
    ("asset", "ETH"),
    ("payment_hash", b"\x09" * 32),
    ("amount", AMOUNT - 1),
    ("provider_fee", 421),
    ("network_fee", 49),
    ("issued_at", NOW - 1),
    ("fund_by", NOW + 700),
    ("counter_fund_by", NOW + 10),
    ("collect_by", NOW + 10),
    ("provider", STRANGERS_NODE.public_key.format()[1:]),
]
EVM: list[tuple[str, Any]] = [
    ("protocol", Layer2ProtocolType.ROOTSTOCK),
    ("chain_id", 1),
    ("contract", b"\x66" * 20),
    ("token", b"\x66" * 20),
    ("token_decimals", 18),
    ("amount", 1),
    ("payer", b"\x66" * 20),
    ("payee", b"\x66" * 20),
    ("deadline", NOW + 60),
    ("finality", Finality.SAFE),
]
PAYMENT: list[tuple[str, Any]] = [
    ("network", "bc"),
    ("payee", STRANGERS_NODE.public_key.format()),
    ("amount_msat", AMOUNT * 1000 + 1),
    ("cltv_limit", 0),
    ("min_blocks_left", 1),
    ("fee_limit_msat", 10**9),
]


@DIRECTIONS
@pytest.mark.parametrize(("field", "lie"), SCALARS, ids=[name for name, _ in SCALARS])
def test_every_lie_about_the_swap_is_refused_by_its_name(source: Layer2ProtocolType, field: str, lie: Any) -> None:
    made = TO_LIGHTNING if source is BOB else TO_BOB
    assert refusal(made, replace(made.terms, **{field: lie})) == f"terms_{field}"


@DIRECTIONS
@pytest.mark.parametrize(("field", "lie"), EVM, ids=[name for name, _ in EVM])
def test_every_lie_about_the_lock_is_refused_by_its_name(source: Layer2ProtocolType, field: str, lie: Any) -> None:
    made, side = (TO_LIGHTNING, "source") if source is BOB else (TO_BOB, "destination")
    assert refusal(made, changed_leg(made.terms, side, **{field: lie})) == f"terms_{side}_{field}"


@DIRECTIONS
@pytest.mark.parametrize(("field", "lie"), PAYMENT, ids=[name for name, _ in PAYMENT])
def test_every_lie_about_the_payment_is_refused_by_its_name(source: Layer2ProtocolType, field: str, lie: Any) -> None:
    made, side = (TO_LIGHTNING, "destination") if source is BOB else (TO_BOB, "source")
    assert refusal(made, changed_leg(made.terms, side, **{field: lie})) == f"terms_{side}_{field}"


def test_another_invoice_for_the_same_hash_is_refused() -> None:
    other = invoice(STRANGERS_NODE)
    assert refusal(TO_LIGHTNING, changed_leg(TO_LIGHTNING.terms, "destination", invoice=other)) == (
        "terms_destination_invoice"
    )


@DIRECTIONS
def test_legs_on_exchanged_sides_are_refused(source: Layer2ProtocolType) -> None:
    made = TO_LIGHTNING if source is BOB else TO_BOB
    swapped = replace(made.terms, source=made.terms.destination, destination=made.terms.source)
    assert refusal(made, swapped) in {"terms_source", "hold_invoice"}


def _altered(value: object) -> st.SearchStrategy[Any]:
    match value:
        case bool():
            raise AssertionError("terms hold no booleans")
        case int():
            return st.integers(0, 2**53 - 1)
        case bytes():
            return st.binary(min_size=len(value), max_size=len(value))
        case Finality() | Layer2ProtocolType():
            return st.sampled_from(list(type(value)))
        case str():
            return st.one_of(
                st.text("0123456789abcdef", min_size=len(value), max_size=len(value)), st.sampled_from(["", "bc"])
            )
    raise AssertionError(f"{value!r} has a type that terms do not hold")


@st.composite
def changed_terms(draw: st.DrawFn) -> tuple[Agreement, Terms]:
    """Honest terms in which one field, anywhere, has another value."""
    made = draw(st.sampled_from([TO_LIGHTNING, TO_BOB]))
    side = draw(st.sampled_from(["terms", "source", "destination"]))
    part: Any = made.terms if side == "terms" else getattr(made.terms, side)
    names = [field.name for field in fields(part) if field.name not in ("source", "destination")]
    name = draw(st.sampled_from(names))
    value = draw(_altered(getattr(part, name)).filter(lambda new: new != getattr(part, name)))
    if side == "terms":
        return made, replace(made.terms, **{name: value})
    return made, changed_leg(made.terms, side, **{name: value})


@given(changed_terms())
def test_no_field_can_have_another_value_even_under_the_providers_signature(
    case: tuple[Agreement, Terms],
) -> None:
    made, terms = case
    assert refusal(made, terms) is not None


@DIRECTIONS
def test_terms_that_somebody_else_signed_are_refused(source: Layer2ProtocolType) -> None:
    made = TO_LIGHTNING if source is BOB else TO_BOB
    assert refusal(made, key=STRANGERS_NODE) == "terms_signature"


@DIRECTIONS
def test_terms_for_another_swap_of_the_same_quote_are_refused(source: Layer2ProtocolType) -> None:
    made = TO_LIGHTNING if source is BOB else TO_BOB
    mine = replace(made.request, swap_id=SwapId("cd" * 16))
    with pytest.raises(TermsRefused) as refused:
        check_terms(signed_terms(made.terms), made.quote, mine, NOW + 2, REGTEST)
    assert refused.value.code == "terms_swap_id"


@DIRECTIONS
def test_terms_that_came_too_late_are_refused(source: Layer2ProtocolType) -> None:
    made = TO_LIGHTNING if source is BOB else TO_BOB
    assert refusal(made, now=made.terms.fund_by) is None
    assert refusal(made, now=made.terms.fund_by + 1) == "terms_margins"


@DIRECTIONS
def test_terms_that_were_issued_after_the_quote_or_in_the_future_are_refused(source: Layer2ProtocolType) -> None:
    made = TO_LIGHTNING if source is BOB else TO_BOB
    late = replace(made.terms, issued_at=made.quote.valid_until + 1)
    assert refusal(made, late, now=NOW + 62) == "terms_issued_at"
    assert refusal(made, now=NOW - 60) == "terms_issued_at"
    assert refusal(made, now=NOW - 59) is None


@DIRECTIONS
def test_terms_on_another_network_than_the_configured_one_are_refused(source: Layer2ProtocolType) -> None:
    made = TO_LIGHTNING if source is BOB else TO_BOB
    with pytest.raises(TermsRefused) as refused:
        check_terms(signed_terms(made.terms), made.quote, made.request, NOW + 2, MAINNET)
    assert refused.value.code == "terms_network"


WRONG_OFFERS: list[tuple[str, str, str]] = [
    ("no invoice", "lnbc1", "invoice_format"),
    ("in capitals", invoice().upper(), "invoice_format"),
    ("of another network", invoice(prefix="bc"), "invoice_network"),
    ("without an amount", invoice(amount_msat=None), "invoice_amount"),
    ("for a millisatoshi more", invoice(amount_msat=AMOUNT * 1000 + 1), "invoice_amount"),
    ("for another hash", invoice(payment_hash=bytes(32)), "invoice_hash"),
    ("of the provider's own node", invoice(PROVIDER_NODE), "invoice_payee"),
    ("expired", invoice(timestamp=NOW - 10_000), "invoice_expired"),
    ("dated in the future", invoice(timestamp=NOW + 100), "invoice_timestamp"),
    ("AMP", invoice(feature_bits=frozenset({8, 14, 30})), "invoice_amp"),
]


@pytest.mark.parametrize(("offer", "code"), [case[1:] for case in WRONG_OFFERS], ids=[c[0] for c in WRONG_OFFERS])
def test_an_invoice_that_cannot_be_the_destination_is_refused(offer: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        agreement(BOB, offer=offer)
    assert refused.value.code == code


def test_an_invoice_with_blinded_paths_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        agreement(BOB, offer=_with_blinded_path(invoice()))
    assert refused.value.code == "invoice_blinded_paths"


def test_an_invoice_that_readers_understand_differently_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        agreement(BOB, offer=_with_second_secret(invoice()))
    assert refused.value.code == "invoice_ambiguous"


def test_an_invoice_that_would_lock_the_payment_too_long_is_refused() -> None:
    with pytest.raises(FundsRulesError):
        agreement(BOB, offer=invoice(min_final_cltv_expiry_delta=1008))


def test_an_invoice_that_lives_too_long_for_the_longest_source_lock_is_refused() -> None:
    with pytest.raises(FundsRulesError):
        agreement(BOB, offer=invoice(expiry=30 * 86_400))


def test_an_invoice_that_expires_before_a_lock_can_be_final_is_refused() -> None:
    with pytest.raises(FundsRulesError):
        agreement(BOB, MAINNET, offer=invoice(settings=MAINNET, expiry=3600), finality=Finality.FINALIZED)


def test_somebody_elses_invoice_is_paid_under_its_own_hash() -> None:
    theirs = invoice(STRANGERS_NODE, payment_hash=b"\x09" * 32, min_final_cltv_expiry_delta=18, expiry=3600)
    made = agreement(BOB, offer=theirs, payment_hash=b"\x09" * 32)
    assert refusal(made) is None
    assert isinstance(made.terms.destination, LightningLeg)
    assert made.terms.destination.payee == STRANGERS_NODE.public_key.format()


@pytest.mark.parametrize(
    "offer", ["", "0x12", to_checksum(TAKER)[:-1], to_checksum(PROVIDER), "0x" + "0" * 40, invoice()]
)
def test_a_claim_address_that_is_not_the_takers_own_account_is_refused(offer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        agreement(LIGHTNING, offer=offer)
    assert refused.value.code == "offer_address"


WRONG_HOLDS: list[tuple[str, dict[str, Any], str]] = [
    ("of another node", {"signer": STRANGERS_NODE}, "invoice_payee"),
    ("for a satoshi more", {"amount_msat": (AMOUNT + 471) * 1000}, "invoice_amount"),
    ("for another hash", {"payment_hash": bytes(32)}, "invoice_hash"),
    ("of another network", {"prefix": "bc"}, "invoice_network"),
    ("that locks longer", {"min_final_cltv_expiry_delta": 700}, "invoice_cltv_delta"),
    ("that locks shorter", {"min_final_cltv_expiry_delta": 40}, "invoice_cltv_delta"),
    ("that expires before the last funding", {"expiry": 60}, "terms_margins"),
    ("dated in the future", {"timestamp": NOW + 100}, "invoice_timestamp"),
    ("AMP", {"feature_bits": frozenset({8, 14, 30})}, "invoice_amp"),
]


@pytest.mark.parametrize(("changes", "code"), [case[1:] for case in WRONG_HOLDS], ids=[c[0] for c in WRONG_HOLDS])
def test_a_hold_invoice_that_differs_is_refused(changes: dict[str, Any], code: str) -> None:
    wrong = hold_invoice(TO_BOB.quote, **changes)
    assert refusal(TO_BOB, changed_leg(TO_BOB.terms, "source", invoice=wrong)) == code


def test_a_hold_invoice_with_blinded_paths_is_refused() -> None:
    wrong = _with_blinded_path(hold_invoice(TO_BOB.quote), PROVIDER_NODE)
    assert refusal(TO_BOB, changed_leg(TO_BOB.terms, "source", invoice=wrong)) == "invoice_blinded_paths"


def test_a_hold_invoice_that_readers_understand_differently_is_refused() -> None:
    wrong = _with_second_secret(hold_invoice(TO_BOB.quote), PROVIDER_NODE)
    assert refusal(TO_BOB, changed_leg(TO_BOB.terms, "source", invoice=wrong)) == "invoice_ambiguous"


def test_a_lightning_source_without_a_hold_invoice_has_no_terms() -> None:
    with pytest.raises(InvalidRequest) as refused:
        build_terms(TO_BOB.quote, TO_BOB.request, NOW + 1, REGTEST)
    assert refused.value.code == "hold_invoice"


def test_there_are_no_terms_between_other_layers() -> None:
    with pytest.raises(InvalidRequest) as refused:
        build_terms(quote(destination=Layer2ProtocolType.ROOTSTOCK), TO_LIGHTNING.request, NOW + 1, REGTEST)
    assert refused.value.code == "pair"


def test_a_request_under_another_quote_has_no_terms() -> None:
    with pytest.raises(InvalidRequest) as refused:
        build_terms(quote(quote_id="cd" * 16), TO_LIGHTNING.request, NOW + 1, REGTEST)
    assert refused.value.code == "quote_id"


@pytest.mark.parametrize(
    "wrong",
    [
        {"swap_id": SwapId("AB" * 16)},
        {"swap_id": SwapId("ab" * 15)},
        {"quote_id": "x" * 32},
        {"payment_hash": bytes(31)},
        {"taker_address": bytes(19)},
        {"taker_address": bytes(20)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_request_of_another_form_cannot_be_made(wrong: dict[str, Any]) -> None:
    honest = {field.name: getattr(TO_LIGHTNING.request, field.name) for field in fields(SwapRequest)}
    with pytest.raises(FormatError):
        SwapRequest(**{**honest, **wrong})


def test_the_terms_hold_the_hash_of_the_takers_preimage() -> None:
    assert TO_BOB.terms.payment_hash == PREIMAGE.payment_hash


def _with_blinded_path(text: str, signer: Any = TAKER_NODE) -> str:
    """The invoice with one field of type ``b`` (bLIP 39) more, signed anew."""
    return _with_field(text, bytes([20, 0, 4, 1, 2, 3, 4]), signer)


def _with_second_secret(text: str, signer: Any = TAKER_NODE) -> str:
    """The invoice with another payment secret after its own, signed anew."""
    return _with_field(text, bytes([16, 1, 20]) + bytes(52), signer)


def _with_field(text: str, field: bytes, signer: Any) -> str:
    human, groups = bech32.decode(text)
    signed = groups[:-104] + field
    digest = bolt11._digest(human, signed)
    signature = signer.sign_recoverable(digest, hasher=None)
    return bech32.encode(human, signed + bech32.groups_from_bytes(signature))
