"""Encoding Lightning invoices, round trips, and invoices that PyPI's bolt11 accepts and ``decode`` refuses."""

from __future__ import annotations

from dataclasses import fields as fields_of
from dataclasses import replace
from typing import Any

import bolt11 as oracle
import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.invoices import (
    DESCRIPTION,
    EXAMPLE_PAYEE,
    FIELDS,
    HASH,
    KEY,
    MINIMUM,
    SECRET,
    agree,
    changed,
    crafted,
    invoice_fields,
    sign,
    tag,
    tag_of,
    with_high_s,
)
from layer2.errors import FormatError
from layer2.formats import bech32, bolt11
from layer2.formats.bolt11 import InvoiceFields, RouteHop

TWO_READINGS = {
    "mixed case": crafted()[:10].upper() + crafted()[10:],
    "an amount with a leading zero": crafted(human="lnbcrt025u"),
    "an amount of nothing": crafted(human="lnbcrt0u"),
    "more than all bitcoin": crafted(human="lnbcrt21000001"),
    "a fraction of a millisatoshi, which it rounds away": crafted(human="lnbcrt25001p"),
    "an unknown required feature": crafted(MINIMUM + tag("9", bech32.groups_from_int(1 << 100 | 1 << 14))),
    "multi-part payments without a payment secret's feature": crafted(MINIMUM + tag("9", b"\x04\0\0\0")),
    "a number with a leading zero": crafted(MINIMUM + tag("x", b"\0\1")),
    "an expiry beyond what nodes can hold": crafted(MINIMUM + tag("x", b"\x1f" * 14)),
    "an expiry delta beyond 32 bits": crafted(MINIMUM + tag("c", b"\x1f" * 7)),
    "padding that is not zero": crafted(SECRET + DESCRIPTION + HASH[:-1] + bytes([HASH[-1] | 1])),
    "a description and its hash, of which it drops the later": crafted(MINIMUM + tag_of("h", b"\x33" * 32)),
    "a witness program of no length": crafted(MINIMUM + tag("f", b"\0" + bytes(31))),
    "a public key hash of 21 bytes": crafted(MINIMUM + tag("f", b"\x11" + bytes(35))),
    "a route hint of part of a hop": crafted(MINIMUM + tag_of("r", bytes(50))),
    "a route hint without a hop": crafted(MINIMUM + tag("r", b"")),
    "a hop whose key is off the curve": crafted(MINIMUM + tag_of("r", b"\x02" + b"\xff" * 50)),
    "route hints beside blinded paths, which it does not know": crafted(
        MINIMUM + tag_of("r", EXAMPLE_PAYEE + bytes(18)) + tag_of("5", b"a path")
    ),
    "more characters than a QR code holds": crafted(MINIMUM + tag("2", bytes(1023)) * 7),
}


@pytest.mark.parametrize("text", TWO_READINGS.values(), ids=list(TWO_READINGS))
def test_the_oracle_takes_it_and_decode_refuses(text: str) -> None:
    oracle.decode(text)
    with pytest.raises(FormatError):
        bolt11.decode(text)


OTHER_PAYEE = PrivateKey(b"\x44" * 32).public_key.format()
OUTSIDE: dict[str, list[Any]] = {
    "prefix": ["xx", "BC", "bc\u00e9", "bc1", ""],
    "amount_msat": [0, -1, bolt11.MAX_AMOUNT_MSAT + 1],
    "timestamp": [-1, 2**35],
    "payment_hash": [b"\x11" * 31, b"\x11" * 33],
    "payment_secret": [b"", b"\x22" * 33],
    "payee": [b"\x02", EXAMPLE_PAYEE + b"\0"],
    "expiry": [0, -1, 9_223_372_037],
    "min_final_cltv_expiry_delta": [0, -1, 2**32],
    "feature_bits": [frozenset({100, 14}), frozenset({-1}), frozenset({5115}), frozenset({17}), frozenset({31})],
    "metadata": [b"x" * 640],
    "route_hints": [
        ((),),
        ((RouteHop(EXAMPLE_PAYEE, 2**64, 0, 0, 0),),),
        ((RouteHop(EXAMPLE_PAYEE, 0, -1, 0, 0),),),
        ((RouteHop(EXAMPLE_PAYEE, 0, 0, 2**32, 0),),),
        ((RouteHop(EXAMPLE_PAYEE, 0, 0, 0, 2**16),),),
        ((RouteHop(b"\x02" * 32, 0, 0, 0, 0),),),
        ((RouteHop(b"\x02" + b"\xff" * 32, 0, 0, 0, 0),),),
        ((RouteHop(EXAMPLE_PAYEE, 0, 0, 0, 0),) * 13,),
    ],
    "fallback_addresses": [
        ((19, bytes(20)),),
        ((-1, bytes(20)),),
        ((0, bytes(21)),),
        ((1, bytes(20)),),
        ((2, bytes(1)),),
        ((16, bytes(41)),),
        ((17, bytes(32)),),
    ],
}
"""Values that every reader should refuse, by field."""
OUTSIDE_DESCRIPTIONS: list[tuple[str | None, bytes | None]] = [
    (None, None),
    ("a swap", b"\x33" * 32),
    ("x" * 640, None),
    ("\ud800", None),
    (None, b"\x33" * 31),
]


def _length(count: int, hint: tuple[RouteHop, ...]) -> int:
    one, none = (len(bolt11.encode(changed(route_hints=hints), sign)) for hints in ((hint,), ()))
    return none + count * (one - none)


def _can_be_written_by_the_oracle(fields: InvoiceFields) -> bool:
    """Whether the invoice avoids the oracle's bugs, each of which a test below shows."""
    hops = [hop for hint in fields.route_hints for hop in hint]
    return (
        len(fields.fallback_addresses) < 2
        and (fields.amount_msat is None or fields.amount_msat % (1000 * 10**11) != 0)
        and all(hop.short_channel_id < 2**63 and hop.cltv_expiry_delta < 2**15 for hop in hops)
        and all(hop.fee_base_msat < 2**31 and hop.fee_proportional_millionths < 2**31 for hop in hops)
    )


def refuse_to_sign(digest: bytes) -> bytes:
    raise AssertionError(f"asked to sign {digest.hex()}")


class TestRoundTrips:
    @given(invoice_fields())
    @settings(max_examples=150, deadline=None)
    def test_what_is_encoded_decodes_to_the_same(self, fields: InvoiceFields) -> None:
        invoice = bolt11.decode(bolt11.encode(fields, sign))
        for field in fields_of(InvoiceFields):
            if field.name != "payee":
                assert getattr(invoice, field.name) == getattr(fields, field.name), field.name
        assert invoice.payee == EXAMPLE_PAYEE
        assert invoice.payee_given == (fields.payee is not None)
        assert not invoice.unknown_tags
        assert not invoice.is_ambiguous

    @given(invoice_fields())
    @settings(max_examples=80, deadline=None)
    def test_the_oracle_reads_what_is_encoded_as_decode_does(self, fields: InvoiceFields) -> None:
        agree(bolt11.encode(fields, sign))

    @given(invoice_fields().filter(lambda fields: _can_be_written_by_the_oracle(fields)))
    @settings(max_examples=80, deadline=None)
    def test_the_oracle_writes_the_same_text(self, fields: InvoiceFields) -> None:
        text = bolt11.encode(fields, sign)
        # It always has a field for the payee, even if the text has none.
        keep_payee = fields.payee is not None
        assert oracle.encode(oracle.decode(text), KEY.secret.hex(), keep_payee=keep_payee) == text

    def test_the_oracle_keeps_the_first_fallback_address_only(self) -> None:
        addresses = ((17, bytes(20)), (18, bytes(20)))
        text = bolt11.encode(changed(fallback_addresses=addresses), sign)
        assert bolt11.decode(text).fallback_addresses == addresses
        theirs = oracle.decode(text).fallback
        assert theirs is not None
        assert theirs.witness_version == 17

    def test_the_oracle_takes_great_fees_for_negative_ones(self) -> None:
        hint = (RouteHop(EXAMPLE_PAYEE, 1, 2**31, 2**32 - 1, 2**15),)
        text = bolt11.encode(changed(route_hints=(hint,)), sign)
        assert bolt11.decode(text).route_hints == (hint,)
        [[theirs]] = [hint.routes for hint in oracle.decode(text).route_hints or []]
        assert (theirs.base_fee, theirs.ppm_fee, theirs.cltv_expiry_delta) == (-(2**31), -1, -(2**15))

    def test_the_oracle_drops_a_hop_after_which_there_is_no_padding(self) -> None:
        hint = tuple(RouteHop(EXAMPLE_PAYEE, number, 0, 0, 0) for number in range(5))
        text = bolt11.encode(changed(route_hints=(hint,)), sign)
        assert bolt11.decode(text).route_hints == (hint,)
        assert [len(hint.routes) for hint in oracle.decode(text).route_hints or []] == [4]

    def test_the_oracle_writes_a_thousand_bitcoin_as_one(self) -> None:
        text = bolt11.encode(changed(amount_msat=1000 * 10**11), sign)
        assert bolt11.decode(text).amount_msat == 1000 * 10**11
        assert oracle.decode(oracle.encode(oracle.decode(text), KEY.secret.hex())).amount_msat == 10**11

    @given(invoice_fields(), st.data())
    @settings(max_examples=150, deadline=None)
    def test_what_is_out_of_its_range_is_refused_before_it_is_signed(
        self, fields: InvoiceFields, data: st.DataObject
    ) -> None:
        name, values = data.draw(st.sampled_from(list(OUTSIDE.items())))
        wrong = replace(fields, **{name: data.draw(st.sampled_from(values))})
        with pytest.raises(FormatError):
            bolt11.encode(wrong, refuse_to_sign)

    @pytest.mark.parametrize(("description", "description_hash"), OUTSIDE_DESCRIPTIONS)
    def test_a_description_that_readers_would_refuse_is_not_signed(
        self, description: str | None, description_hash: bytes | None
    ) -> None:
        with pytest.raises(FormatError):
            bolt11.encode(changed(description=description, description_hash=description_hash), refuse_to_sign)


class TestEncode:
    @pytest.mark.parametrize(
        ("amount_msat", "written"),
        [(10**11, "1"), (10**8, "1m"), (250_000_000, "2500u"), (100, "1n"), (1, "10p"), (99, "990p")],
    )
    def test_amounts_are_written_as_short_as_they_can_be(self, amount_msat: int, written: str) -> None:
        human, _ = bech32.decode(bolt11.encode(changed(amount_msat=amount_msat), sign))
        assert human == f"lnbcrt{written}"

    @pytest.mark.parametrize("description", ["x" * 639, "\N{EURO SIGN}" * 213])
    def test_the_longest_description_fits(self, description: str) -> None:
        assert agree(bolt11.encode(changed(description=description), sign)).description == description

    def test_an_invoice_is_never_longer_than_a_qr_code(self) -> None:
        hint = (RouteHop(EXAMPLE_PAYEE, 1, 2, 3, 4),)
        count = next(count for count in range(100) if _length(count, hint) > bolt11.MAX_LENGTH)
        longest = changed(route_hints=(hint,) * (count - 1))
        assert len(bolt11.encode(longest, sign)) == _length(count - 1, hint) <= bolt11.MAX_LENGTH
        with pytest.raises(FormatError, match="longer than 7089"):
            bolt11.encode(changed(route_hints=(hint,) * count), sign)

    @pytest.mark.parametrize(
        "signature", [b"", bytes(64), bytes(65), bytes(66), b"\xff" * 65], ids=lambda value: value.hex()[:6]
    )
    def test_a_signer_that_does_not_sign_is_found_out(self, signature: bytes) -> None:
        with pytest.raises(FormatError):
            bolt11.encode(FIELDS, lambda digest: signature)

    def test_a_signature_of_another_node_than_the_payee_is_found_out(self) -> None:
        with pytest.raises(FormatError, match="not that of the payee"):
            bolt11.encode(changed(payee=OTHER_PAYEE), sign)

    def test_a_high_s_is_written_only_where_readers_recover_the_payee(self) -> None:
        assert bolt11.decode(bolt11.encode(FIELDS, with_high_s)).payee == EXAMPLE_PAYEE
        with pytest.raises(FormatError, match="high s"):
            bolt11.encode(changed(payee=EXAMPLE_PAYEE), with_high_s)
