"""bitcoin: URIs. Examples, valid and invalid: those of BIP 21 and BIP 321."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats import bitcoin_uri

ADDRESS = "175tWpb8K1S7NmH4Zx6rewF9WQrcZv245W"
BTC = 100_000_000_000
"""Millisatoshi."""


def test_an_address_alone_asks_for_no_amount() -> None:
    uri = bitcoin_uri.read(f"bitcoin:{ADDRESS}")
    assert (uri.address, uri.amount_msat, uri.parameters) == (ADDRESS, None, ())


@pytest.mark.parametrize(
    ("text", "msat", "parameters"),
    [
        (f"bitcoin:{ADDRESS}?label=Luke-Jr", None, {"label": "Luke-Jr"}),
        (f"bitcoin:{ADDRESS}?amount=20.3&label=Luke-Jr", 203 * BTC // 10, {"amount": "20.3", "label": "Luke-Jr"}),
        (
            f"bitcoin:{ADDRESS}?amount=50&label=Luke-Jr&message=Donation%20for%20project%20xyz",
            50 * BTC,
            {"amount": "50", "label": "Luke-Jr", "message": "Donation for project xyz"},
        ),
        (
            f"bitcoin:{ADDRESS}?somethingyoudontunderstand=50&somethingelseyoudontget=999",
            None,
            {"somethingyoudontunderstand": "50", "somethingelseyoudontget": "999"},
        ),
        (f"bitcoin:{ADDRESS}?lightning=lnbc420bogusinvoice", None, {"lightning": "lnbc420bogusinvoice"}),
        ("bitcoin:?lightning=lnbc420bogusinvoice", None, {"lightning": "lnbc420bogusinvoice"}),
        (
            "bitcoin:?lno=lno1bogusoffer&sp=sp1qsilentpayment",
            None,
            {"lno": "lno1bogusoffer", "sp": "sp1qsilentpayment"},
        ),
        (f"BITCOIN:{ADDRESS}?AMOUNT=1&LIGHTNING=LNBC420", BTC, {"amount": "1", "lightning": "LNBC420"}),
        (f"BitCoin:{ADDRESS}?a=1+1=2", None, {"a": "1+1=2"}),
        ("bitcoin:?label=caf%C3%A9&&x", None, {"label": "café", "x": ""}),
    ],
)
def test_what_a_uri_asks_for_is_read(text: str, msat: int | None, parameters: dict[str, str]) -> None:
    uri = bitcoin_uri.read(text)
    assert uri.amount_msat == msat
    assert dict(uri.parameters) == parameters


def test_several_parts_of_one_kind_are_kept_in_their_order() -> None:
    uri = bitcoin_uri.read("bitcoin:?bc=bc1q&BC=bc1p&tb=tb1q")
    assert uri.values("bc") == ("bc1q", "bc1p")
    assert uri.values("lightning") == ()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("label=Luke-Jr&label=Matt", "repeats label"),
        ("amount=42&amount=10", "repeats amount"),
        ("amount=42&AMOUNT=42", "repeats amount"),
        ("pop=callback%3a&req-pop=callback%3a", "repeats pop"),
        ("req-pop=https%3aevilwebsite.com", "requires 'req-pop'"),
        ("req-somethingyoudontunderstand=50&req-somethingelseyoudontget=999", "requires 'req-somethingyou"),
        ("REQ-x", "requires 'req-x'"),
        ("req%2dx=1", "requires 'req-x'"),
        ("amount=50,000.00", "decimal BTC"),
        ("amount=", "decimal BTC"),
        ("amount=.", "decimal BTC"),
        ("amount=-1", "decimal BTC"),
        ("amount=+1", "decimal BTC"),
        ("amount=1e3", "decimal BTC"),
        ("amount=0x10", "decimal BTC"),
        ("amount=1_0", "decimal BTC"),
        ("amount=%D9%A1", "decimal BTC"),
        ("amount=1%0A", "decimal BTC"),
        ("amount=NaN", "decimal BTC"),
        ("amount=1.2.3", "decimal BTC"),
        ("amount=0.000000000001", "finer than a millisatoshi"),
        ("amount=21000000.00000000001", "more than 21 million BTC"),
        ("label=100%", "percent sign"),
        ("label=%ff", "not UTF-8"),
        ("label=a#b", "'#'"),
    ],
)
def test_what_the_standard_does_not_allow_is_refused(query: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        bitcoin_uri.read(f"bitcoin:{ADDRESS}?{query}")


@pytest.mark.parametrize("text", ["", "bitcoin", "bitcoin ", ADDRESS, "litecoin:x", " bitcoin:x"])
def test_what_does_not_begin_with_the_scheme_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="does not begin"):
        bitcoin_uri.read(text)


def test_a_uri_has_a_longest_length() -> None:
    longest = "bitcoin:?x=".ljust(bitcoin_uri.MAX_LENGTH, "y")
    assert bitcoin_uri.read(longest).amount_msat is None
    with pytest.raises(FormatError, match="longer than"):
        bitcoin_uri.read(longest + "y")


@pytest.mark.parametrize(
    ("amount", "msat"),
    [
        ("0.00000001", 1_000),
        ("0.00000000001", 1),
        ("0.123456789010000000000000", 12_345_678_901),
        (".5", BTC // 2),
        ("5.", 5 * BTC),
        ("007", 7 * BTC),
        ("0", 0),
        ("21000000", 21_000_000 * BTC),
    ],
)
def test_amounts_are_exact(amount: str, msat: int) -> None:
    assert bitcoin_uri.read(f"bitcoin:?amount={amount}").amount_msat == msat


@settings(deadline=None)
@given(st.integers(0, 21_000_000 * BTC))
def test_every_amount_is_read_back_as_it_was_written(msat: int) -> None:
    written = f"{Decimal(msat).scaleb(-11):f}"
    assert bitcoin_uri.read(f"bitcoin:?amount={written}").amount_msat == msat


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_uri_or_a_format_error(text: str) -> None:
    for whole in (text, f"bitcoin:{text}", f"bitcoin:?{text}", f"bitcoin:?amount={text}"):
        try:
            uri = bitcoin_uri.read(whole)
        except FormatError:
            continue
        assert uri.amount_msat is None or uri.amount_msat >= 0


@given(amount=st.integers(1, 21 * 10**14))
def test_a_written_uri_is_read_back(amount: int) -> None:
    uri = bitcoin_uri.read(bitcoin_uri.write("bc1qexample", amount))
    assert (uri.address, uri.amount_msat) == ("bc1qexample", amount * 1_000)


def test_a_written_amount_is_decimal_btc() -> None:
    assert bitcoin_uri.write("bc1qexample", 500_001) == "bitcoin:bc1qexample?amount=0.00500001"
