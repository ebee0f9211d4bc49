"""Terms: only those that follow from the quote and the request are accepted."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from formats.invoices import SECOND_SECRET, extended
from layer2.errors import FormatError, FundsRulesError, InvalidAmount, InvalidRequest, TermsRefused
from layer2.formats import bolt11
from layer2.formats.evm_address import to_checksum
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evm import EvmLeg
from layer2.legs.lightning import LightningLeg, routing_fee_limit
from layer2.legs.timelock_settings import MAINNET, REGTEST, TESTNET, TimelockSettings
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, SwapId
from layer2.swap_rules.agreement import SwapRequest, build_terms, check_terms, provider_request, taker_requests
from layer2.swap_rules.timelocks import check_margins
from layer2.terms.documents import Terms
from swap_rules.example_terms import (
    AMOUNT,
    FEE,
    HEIGHT,
    IDENTITY,
    NOW,
    PAYMENT_HASH,
    PREIMAGE,
    PROVIDER_EVM,
    PROVIDER_NODE,
    STRANGERS_NODE,
    SWAP_ID,
    TAKER_EVM,
    TAKER_NODE,
    Agreement,
    agreement_of,
    invoice_for,
    quote_of,
    signed_terms,
)

NAMES = ("bob", "rootstock", "lightning", "bitcoin")
PAIRS = [(source, destination) for source in NAMES for destination in NAMES if source != destination]
MADE = {pair: agreement_of(*pair) for pair in PAIRS}
EVERY_PAIR = pytest.mark.parametrize("pair", PAIRS, ids="-".join)
NETWORKS = pytest.mark.parametrize("rules", [MAINNET, TESTNET, REGTEST], ids=lambda rules: rules.network)
TO_LIGHTNING, TO_BOB = MADE["bob", "lightning"], MADE["lightning", "bob"]


def invoice(signer: PrivateKey = TAKER_NODE, rules: TimelockSettings = REGTEST, **changes: Any) -> str:
    """An invoice of the taker's node, with optional changes."""
    wanted = taker_requests(quote_of(rules=rules), SWAP_ID, PAYMENT_HASH, NOW, rules)[1]
    return invoice_for(wanted, signer, rules, **changes)


def hold_invoice(**changes: Any) -> str:
    """A hold invoice of the provider's node for the source, with optional changes."""
    signer = changes.pop("signer", PROVIDER_NODE)
    return invoice_for(provider_request(TO_BOB.quote, TO_BOB.request, NOW, 0, REGTEST), signer, REGTEST, **changes)


def refusal(
    made: Agreement,
    terms: Terms | None = None,
    *,
    now: int = NOW + 2,
    key: PrivateKey = IDENTITY,
    height: int = HEIGHT,
) -> str | None:
    """The code with which a taker refuses terms with a valid signature, or None."""
    signed = signed_terms(made.terms if terms is None else terms, key)
    try:
        check_terms(signed, made.quote, made.request, now, made.rules, height=height)
    except TermsRefused as error:
        return error.code
    return None


def changed_leg(terms: Terms, side: str, **changes: Any) -> Terms:
    leg = replace(getattr(terms, side), **changes)
    return replace(terms, source=leg) if side == "source" else replace(terms, destination=leg)


@EVERY_PAIR
@NETWORKS
@pytest.mark.parametrize("finality", list(Finality))
def test_a_taker_accepts_what_an_honest_provider_builds(
    pair: tuple[str, str], rules: TimelockSettings, finality: Finality
) -> None:
    made = agreement_of(*pair, rules, finality)
    assert refusal(made) is None
    check_margins(made.terms, NOW + 2, rules)


def test_the_terms_to_lightning_hold_what_was_quoted() -> None:
    terms = TO_LIGHTNING.terms
    assert isinstance(terms.source, EvmLeg)
    assert isinstance(terms.destination, LightningLeg)
    assert (terms.source.payer, terms.source.payee) == (TAKER_EVM, PROVIDER_EVM)
    assert (terms.source.amount, terms.destination.amount_msat) == (AMOUNT + FEE, AMOUNT * 1000)
    assert terms.destination.invoice == TO_LIGHTNING.request.destination
    assert terms.destination.payee == TAKER_NODE.public_key.format()
    assert terms.destination.fee_limit_msat == 100_000


def test_the_terms_to_bob_hold_what_was_quoted() -> None:
    terms = TO_BOB.terms
    assert isinstance(terms.source, LightningLeg)
    assert isinstance(terms.destination, EvmLeg)
    assert (terms.destination.payer, terms.destination.payee) == (PROVIDER_EVM, TAKER_EVM)
    assert (terms.source.amount_msat, terms.destination.amount) == ((AMOUNT + FEE) * 1000, AMOUNT)
    assert terms.source.payee == PROVIDER_NODE.public_key.format()
    assert terms.source.fee_limit_msat == routing_fee_limit(AMOUNT + FEE) * 1000
    delta = bolt11.decode(terms.source.invoice).min_final_cltv_expiry_delta
    assert delta == terms.source.min_blocks_left + REGTEST.accept_blocks


def test_the_script_of_a_bitcoin_leg_follows_from_its_fields() -> None:
    leg = MADE["bob", "bitcoin"].terms.destination
    assert isinstance(leg, BitcoinLeg)
    assert not leg.is_by_height
    assert leg.htlc.script.startswith(b"\x63\x82\x01\x20\x88\xa8\x20" + PAYMENT_HASH)
    assert leg.payer in leg.htlc.script
    assert leg.locktime.to_bytes(4, "little") in leg.htlc.script
    by_height = MADE["lightning", "bitcoin"].terms.destination
    assert isinstance(by_height, BitcoinLeg)
    assert by_height.is_by_height


def test_a_token_with_more_decimals_is_locked_in_its_own_smallest_unit() -> None:
    made = agreement_of(source_changes={"token_decimals": 18})
    assert isinstance(made.terms.source, EvmLeg)
    assert made.terms.source.amount == (AMOUNT + FEE) * 10**10


def test_an_amount_that_the_token_cannot_express_is_refused() -> None:
    with pytest.raises(InvalidAmount):
        agreement_of(source_changes={"token_decimals": 6})


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
    ("issued_at", NOW - 2),
    ("fund_by", NOW + 700),
    ("counter_fund_by", NOW + 10),
    ("collect_by", NOW + 10),
    ("provider", STRANGERS_NODE.public_key.format()[1:]),
]
EVM: list[tuple[str, Any]] = [
    ("protocol", Layer2ProtocolType.LIQUID),
    ("chain_id", 1),
    ("contract", b"\x66" * 20),
    ("token", b"\x66" * 20),
    ("token_decimals", 18),
    ("amount", 1),
    ("payer", b"\x66" * 20),
    ("payee", b"\x66" * 20),
    ("deadline", NOW + 60),
    ("finality", Finality.FINALIZED),
]
PAYMENT: list[tuple[str, Any]] = [
    ("prefix", "bc"),
    ("payee", STRANGERS_NODE.public_key.format()),
    ("amount_msat", AMOUNT * 1000 + 1),
    ("cltv_limit", 0),
    ("min_blocks_left", 1),
    ("fee_limit_msat", 10**9),
]


@EVERY_PAIR
@pytest.mark.parametrize(("field", "lie"), SCALARS, ids=[name for name, _ in SCALARS])
def test_every_lie_about_the_swap_is_refused_by_its_name(pair: tuple[str, str], field: str, lie: Any) -> None:
    made = MADE[pair]
    assert refusal(made, replace(made.terms, **{field: lie})) == f"terms_{field}"


@EVERY_PAIR
@pytest.mark.parametrize(("field", "lie"), EVM, ids=[name for name, _ in EVM])
def test_every_lie_about_the_lock_is_refused_by_its_name(pair: tuple[str, str], field: str, lie: Any) -> None:
    made = MADE[pair]
    for side in ("source", "destination"):
        if isinstance(getattr(made.terms, side), EvmLeg):
            assert refusal(made, changed_leg(made.terms, side, **{field: lie})) == f"terms_{side}_{field}"


@EVERY_PAIR
@pytest.mark.parametrize(("field", "lie"), PAYMENT, ids=[name for name, _ in PAYMENT])
def test_every_lie_about_the_payment_is_refused_by_its_name(pair: tuple[str, str], field: str, lie: Any) -> None:
    made = MADE[pair]
    for side in ("source", "destination"):
        if isinstance(getattr(made.terms, side), LightningLeg):
            assert refusal(made, changed_leg(made.terms, side, **{field: lie})) == f"terms_{side}_{field}"


def test_another_invoice_for_the_same_hash_is_refused() -> None:
    other = invoice(STRANGERS_NODE)
    assert refusal(TO_LIGHTNING, changed_leg(TO_LIGHTNING.terms, "destination", invoice=other)) == (
        "terms_destination_invoice"
    )


@EVERY_PAIR
def test_legs_on_exchanged_sides_are_refused(pair: tuple[str, str]) -> None:
    made = MADE[pair]
    swapped = replace(made.terms, source=made.terms.destination, destination=made.terms.source)
    assert refusal(made, swapped) is not None


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
    """Honest terms in which one field of the terms or of a leg has another value."""
    made = draw(st.sampled_from(list(MADE.values())))
    side = draw(st.sampled_from(["terms", "source", "destination"]))
    part: Any = made.terms if side == "terms" else getattr(made.terms, side)
    names = [field.name for field in fields(part) if field.init and field.name not in ("source", "destination")]
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


@EVERY_PAIR
def test_terms_that_another_party_signed_are_refused(pair: tuple[str, str]) -> None:
    made = MADE[pair]
    assert refusal(made, key=STRANGERS_NODE) == "terms_signature"


@EVERY_PAIR
def test_terms_for_another_swap_of_the_same_quote_are_refused(pair: tuple[str, str]) -> None:
    made = MADE[pair]
    mine = replace(made.request, swap_id=SwapId("cd" * 16))
    with pytest.raises(TermsRefused) as refused:
        check_terms(signed_terms(made.terms), made.quote, mine, NOW + 2, REGTEST, height=HEIGHT)
    assert refused.value.code == "terms_swap_id"


@EVERY_PAIR
def test_terms_that_came_too_late_are_refused(pair: tuple[str, str]) -> None:
    made = MADE[pair]
    assert refusal(made, now=made.terms.fund_by) is None
    assert refusal(made, now=made.terms.fund_by + 1) == "terms_margins"


@EVERY_PAIR
def test_terms_that_were_issued_after_the_quote_or_in_the_future_are_refused(pair: tuple[str, str]) -> None:
    made = MADE[pair]
    late = replace(made.terms, issued_at=made.quote.valid_until + 1)
    assert refusal(made, late, now=NOW + 62) == "terms_issued_at"
    assert refusal(made, now=NOW - 61) == "terms_issued_at"
    assert refusal(made, now=NOW - 60) is None


@EVERY_PAIR
def test_terms_on_another_network_than_the_configured_one_are_refused(pair: tuple[str, str]) -> None:
    made = MADE[pair]
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
        agreement_of(named_destination=offer)
    assert refused.value.code == code


def test_an_invoice_with_blinded_paths_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        agreement_of(named_destination=_with_blinded_path(invoice()))
    assert refused.value.code == "invoice_blinded_paths"


def test_an_invoice_that_readers_understand_differently_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        agreement_of(named_destination=_with_second_secret(invoice()))
    assert refused.value.code == "invoice_ambiguous"


def test_an_invoice_that_would_lock_the_payment_too_long_is_refused() -> None:
    with pytest.raises(FundsRulesError):
        agreement_of(named_destination=invoice(min_final_cltv_expiry_delta=1008))


def test_an_invoice_that_lives_too_long_for_the_longest_source_lock_is_refused() -> None:
    with pytest.raises(FundsRulesError):
        agreement_of(named_destination=invoice(expiry=30 * 86_400))


def test_an_invoice_that_expires_before_a_lock_can_be_final_is_refused() -> None:
    with pytest.raises(FundsRulesError):
        agreement_of(
            "bob", "lightning", MAINNET, Finality.FINALIZED, named_destination=invoice(rules=MAINNET, expiry=3600)
        )


def test_another_partys_invoice_is_paid_under_its_own_hash() -> None:
    theirs = invoice(STRANGERS_NODE, payment_hash=b"\x09" * 32, min_final_cltv_expiry_delta=18, expiry=600)
    made = agreement_of(named_destination=theirs, payment_hash=b"\x09" * 32)
    assert refusal(made) is None
    assert isinstance(made.terms.destination, LightningLeg)
    assert made.terms.destination.payee == STRANGERS_NODE.public_key.format()


@pytest.mark.parametrize(
    "offer", ["", "0x12", to_checksum(TAKER_EVM)[:-1], to_checksum(PROVIDER_EVM), "0x" + "0" * 40, invoice()]
)
def test_a_claim_address_that_cannot_be_the_takers_account_is_refused(offer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        agreement_of("lightning", "bob", named_destination=offer)
    assert refused.value.code == "offer_address"


WRONG_HOLDS: list[tuple[str, dict[str, Any], str]] = [
    ("of another node", {"signer": STRANGERS_NODE}, "invoice_payee"),
    ("for a satoshi more", {"amount_msat": (AMOUNT + FEE + 1) * 1000}, "invoice_amount"),
    ("for another hash", {"payment_hash": bytes(32)}, "invoice_hash"),
    ("of another network", {"prefix": "bc"}, "invoice_network"),
    ("that locks longer", {"min_final_cltv_expiry_delta": 700}, "invoice_cltv_delta"),
    ("that locks shorter", {"min_final_cltv_expiry_delta": 40}, "invoice_cltv_delta"),
    ("that expires before the last funding", {"expiry": 60}, "terms_margins"),
    ("dated in the future", {"timestamp": NOW + 100}, "invoice_timestamp"),
    (
        "that can be paid for a year, and keeps a lost payment open for as long",
        {"expiry": 31_536_000},
        "invoice_expiry",
    ),
    ("AMP", {"feature_bits": frozenset({8, 14, 30})}, "invoice_amp"),
]


@pytest.mark.parametrize(("changes", "code"), [case[1:] for case in WRONG_HOLDS], ids=[c[0] for c in WRONG_HOLDS])
def test_a_hold_invoice_that_differs_is_refused(changes: dict[str, Any], code: str) -> None:
    wrong = hold_invoice(**changes)
    assert refusal(TO_BOB, changed_leg(TO_BOB.terms, "source", invoice=wrong)) == code


def test_a_hold_invoice_with_blinded_paths_is_refused() -> None:
    wrong = _with_blinded_path(hold_invoice(), PROVIDER_NODE)
    assert refusal(TO_BOB, changed_leg(TO_BOB.terms, "source", invoice=wrong)) == "invoice_blinded_paths"


def test_a_hold_invoice_that_readers_understand_differently_is_refused() -> None:
    wrong = _with_second_secret(hold_invoice(), PROVIDER_NODE)
    assert refusal(TO_BOB, changed_leg(TO_BOB.terms, "source", invoice=wrong)) == "invoice_ambiguous"


def test_a_lightning_source_without_a_hold_invoice_has_no_terms() -> None:
    with pytest.raises(InvalidRequest) as refused:
        build_terms(TO_BOB.quote, TO_BOB.request, NOW + 1, REGTEST)
    assert refused.value.code == "invoice_format"


def test_a_request_under_another_quote_has_no_terms() -> None:
    with pytest.raises(InvalidRequest) as refused:
        build_terms(quote_of(quote_id="cd" * 16), TO_LIGHTNING.request, NOW + 1, REGTEST)
    assert refused.value.code == "quote_id"


@pytest.mark.parametrize(
    "wrong",
    [
        {"swap_id": SwapId("AB" * 16)},
        {"swap_id": SwapId("ab" * 15)},
        {"quote_id": "x" * 32},
        {"payment_hash": bytes(31)},
        {"access_hash": bytes(31)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_request_of_another_form_cannot_be_made(wrong: dict[str, Any]) -> None:
    honest = {field.name: getattr(TO_LIGHTNING.request, field.name) for field in fields(SwapRequest)}
    with pytest.raises(FormatError):
        SwapRequest(**{**honest, **wrong})


def test_a_deadline_that_counts_from_a_height_that_the_own_node_does_not_have_is_refused() -> None:
    made = MADE["lightning", "bitcoin"]
    assert refusal(made, height=HEIGHT + 3) is None
    assert refusal(made, height=HEIGHT + 4) == "terms_height"
    assert refusal(made, height=HEIGHT - 4) == "terms_height"


def test_the_terms_hold_the_hash_of_the_takers_preimage() -> None:
    assert TO_BOB.terms.payment_hash == PREIMAGE.payment_hash


def _with_blinded_path(text: str, signer: PrivateKey = TAKER_NODE) -> str:
    """The invoice with an additional field of type ``b`` (bLIP 39), signed again."""
    return extended(text, bytes([20, 0, 4, 1, 2, 3, 4]), signer)


def _with_second_secret(text: str, signer: PrivateKey = TAKER_NODE) -> str:
    """The invoice with a second payment secret, signed again."""
    return extended(text, SECOND_SECRET, signer)
