"""Decoding Lightning invoices: BOLT 11's examples, violations and forgeries. Oracle: PyPI's bolt11."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.invoices import (
    DESCRIPTION,
    EXAMPLE_PAYEE,
    FIELDS,
    HASH,
    MINIMUM,
    SECRET,
    agree,
    changed,
    crafted,
    sign,
    tag,
    tag_of,
    with_high_s,
)
from layer2.errors import FormatError
from layer2.formats import bech32, bolt11
from layer2.formats.bolt11 import RouteHop

EXAMPLES = json.loads((Path(__file__).parent / "bolt11_examples.json").read_text("utf-8"))
VALID: dict[str, str] = EXAMPLES["valid"]
INVALID: dict[str, str] = EXAMPLES["invalid"]

EXAMPLE_HASH = bytes.fromhex("0001020304050607080900010203040506070809000102030405060708090102")
LONG_DESCRIPTION = (
    b"One piece of chocolate cake, one icecream cone, one pickle, one slice of swiss cheese, one slice of "
    b"salami, one lollypop, one piece of cherry pie, one sausage, one cupcake, and one slice of watermelon"
)

WHY_INVALID = {
    "fixed_length_fields": "payment_hash has a wrong length",
    "unknown_required_feature": r"requires unknown features: bits \[100\]",
    "wrong_checksum": "checksum is wrong",
    "no_separator": "no human-readable part",
    "mixed_case": "mixes upper and lower case",
    "not_recoverable": "no public key can be recovered",
    "too_short": "too short for a timestamp and a signature",
    "wrong_multiplier": "not an amount with a known multiplier",
    "fraction_of_msat": "a fraction of a millisatoshi",
    "no_payment_secret": "no payment secret",
    "high_s_with_payee": "a high s",
}


class TestExamples:
    @pytest.mark.parametrize("name", VALID)
    def test_every_valid_example_is_read_as_the_oracle_reads_it(self, name: str) -> None:
        invoice = agree(VALID[name])
        assert invoice.text == VALID[name].lower()
        assert not invoice.payee_given
        assert not invoice.has_blinded_paths
        assert not invoice.is_amp
        assert invoice.payment_secret == b"\x11" * 32
        if name != "pico_amount":
            assert (invoice.timestamp, invoice.payment_hash) == (1496314658, EXAMPLE_HASH)
        if name != "high_s_recovered":
            assert invoice.payee == EXAMPLE_PAYEE

    @pytest.mark.parametrize("name", INVALID)
    def test_every_invalid_example_is_refused_for_the_reason_that_the_text_gives(self, name: str) -> None:
        with pytest.raises(FormatError, match=WHY_INVALID[name]):
            bolt11.decode(INVALID[name])

    def test_a_donation_has_no_amount_and_the_default_times(self) -> None:
        invoice = bolt11.decode(VALID["donation"])
        assert invoice.amount_msat is None
        assert invoice.description == "Please consider supporting this project"
        assert (invoice.expiry, invoice.min_final_cltv_expiry_delta) == (3600, 18)
        assert invoice.expires_at == 1496314658 + 3600
        assert invoice.feature_bits == {8, 14}

    def test_amount_expiry_and_a_description_beyond_ascii(self) -> None:
        invoice = bolt11.decode(VALID["nonsense"])
        assert (invoice.amount_msat, invoice.expiry) == (250_000_000, 60)
        assert invoice.description == "ナンセンス 1杯"

    def test_a_long_description_is_there_as_its_hash(self) -> None:
        invoice = bolt11.decode(VALID["list_hashed"])
        assert invoice.description is None
        assert invoice.description_hash == sha256(LONG_DESCRIPTION).digest()

    @pytest.mark.parametrize(
        ("name", "prefix", "address"),
        [
            ("fallback_p2pkh_testnet", "tb", (17, "3172b5654f6683c8fb146959d347ce303cae4ca7")),
            ("fallback_p2pkh_and_route", "bc", (17, "04b61f7dc1ea0dc99424464cc4064dc564d91e89")),
            ("fallback_p2sh", "bc", (18, "8f55563b9a19f321c211e9b9f38cdf686ea07845")),
            ("fallback_p2wpkh", "bc", (0, "751e76e8199196d454941c45d1b3a323f1433bd6")),
            (
                "fallback_p2wsh",
                "bc",
                (0, "1863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262"),
            ),
            (
                "fallback_p2tr",
                "bc",
                (1, "0adac43daa9c8a5a68e09ea10692b82226ee190e572db9b90e17a410484ab405"),
            ),
        ],
    )
    def test_fallback_addresses_are_versions_and_programs(
        self, name: str, prefix: str, address: tuple[int, str]
    ) -> None:
        invoice = bolt11.decode(VALID[name])
        assert invoice.prefix == prefix
        assert invoice.fallback_addresses == ((address[0], bytes.fromhex(address[1])),)

    def test_a_route_hint_is_its_hops_in_order(self) -> None:
        tail = "9e03a901b85534ff1e92c43c74431f7ce72046060fcf7a95c37e148f78c77255"
        assert bolt11.decode(VALID["fallback_p2pkh_and_route"]).route_hints == (
            (
                RouteHop(bytes.fromhex("02" + tail), 0x0102030405060708, 1, 20, 3),
                RouteHop(bytes.fromhex("03" + tail), 0x030405060708090A, 2, 30, 4),
            ),
        )

    def test_pico_bitcoin_are_tenths_of_a_millisatoshi(self) -> None:
        invoice = bolt11.decode(VALID["pico_amount"])
        assert (invoice.amount_msat, invoice.expiry) == (967_878_534, 604_800)
        assert invoice.min_final_cltv_expiry_delta == 10

    def test_unknown_odd_features_are_reported_and_do_no_harm(self) -> None:
        assert bolt11.decode(VALID["features_8_14_99"]).feature_bits == {8, 14, 99}

    def test_upper_case_is_the_same_invoice(self) -> None:
        assert bolt11.decode(VALID["upper_case"]) == bolt11.decode(VALID["features_8_14_99"])

    def test_metadata_is_given_as_bytes(self) -> None:
        assert bolt11.decode(VALID["metadata"]).metadata == bytes.fromhex("01fafaf0")


class TestDecode:
    def test_the_crafted_minimum_is_valid_so_that_the_refusals_below_mean_something(self) -> None:
        assert agree(crafted()).payment_hash == b"\x11" * 32

    @pytest.mark.parametrize(
        "human",
        [
            "lnbcrtm",
            "lnbcrt0m",
            "lnbcrt01m",
            "lnbcrt-1m",
            "lnbcrt1.5m",
            "lnbcrt1k",
            "lnbcrt11p",
            "lnbcrt1mm",
            "lnxx25u",
            "ln25u",
            "bcrt25u",
            "lightning:lnbcrt25u",
            "lnbcrt21000001",
            "lnbcrt" + "9" * 400,
        ],
    )
    def test_unknown_networks_and_malformed_amounts_are_refused(self, human: str) -> None:
        with pytest.raises(FormatError):
            bolt11.decode(crafted(human=human))

    @pytest.mark.parametrize(
        ("human", "amount_msat"),
        [
            ("lnbc21000000", bolt11.MAX_AMOUNT_MSAT),
            ("lntbs1", 10**11),
            ("lntb20m", 2 * 10**9),
            ("lnbcrt3u", 300000),
            ("lnbcrt3n", 300),
            ("lnbcrt10p", 1),
            ("lnbc", None),
        ],
    )
    def test_amounts_of_every_multiplier_are_exact(self, human: str, amount_msat: int | None) -> None:
        assert bolt11.decode(crafted(human=human)).amount_msat == amount_msat

    @pytest.mark.parametrize(
        "tags",
        [
            pytest.param(SECRET + DESCRIPTION, id="no payment hash"),
            pytest.param(HASH + DESCRIPTION, id="no payment secret"),
            pytest.param(HASH + SECRET, id="no description"),
            pytest.param(MINIMUM + tag_of("h", b"\x33" * 32), id="description and its hash"),
            pytest.param(tag_of("p", b"\x11" * 31) + SECRET + DESCRIPTION, id="short payment hash alone"),
            pytest.param(HASH + tag_of("s", b"\x22" * 33) + DESCRIPTION, id="long payment secret alone"),
            pytest.param(HASH + SECRET + tag_of("d", b"\xff\xfe"), id="description is not UTF-8"),
            pytest.param(MINIMUM + tag("x", b"\x1f" * 14), id="expiry beyond what nodes can hold"),
            pytest.param(MINIMUM + tag("c", b"\x1f" * 7), id="expiry delta beyond 32 bits"),
            pytest.param(MINIMUM + tag("9", b"\0\x10"), id="feature bits begin with a zero"),
            pytest.param(MINIMUM + tag("9", b"\x04\0\0\0"), id="multi-part without payment secret feature"),
            pytest.param(MINIMUM + tag("f", b""), id="empty fallback address"),
            pytest.param(MINIMUM + tag("f", b"\0" + bytes(31)), id="witness program of no length"),
            pytest.param(MINIMUM + tag("f", b"\x11" + bytes(35)), id="public key hash of 21 bytes"),
            pytest.param(MINIMUM + tag("r", b""), id="route hint without a hop"),
            pytest.param(MINIMUM + tag_of("r", bytes(50)), id="route hint of part of a hop"),
            pytest.param(MINIMUM + tag_of("r", b"\x02" + b"\xff" * 50), id="hop whose key is off the curve"),
            pytest.param(MINIMUM + tag("m", b"\1"), id="metadata of less than a byte"),
            pytest.param(MINIMUM + b"\x0d", id="field without a length"),
            pytest.param(MINIMUM + tag_of("m", b"cut")[:-1], id="field that is cut off"),
        ],
    )
    def test_content_that_the_standard_forbids_is_refused(self, tags: bytes) -> None:
        with pytest.raises(FormatError):
            bolt11.decode(crafted(tags))

    @pytest.mark.parametrize(
        ("version", "length", "fits"),
        [
            (0, 20, True),
            (0, 31, False),
            (1, 32, True),
            (1, 20, False),
            (2, 1, False),
            (2, 2, True),
            (16, 40, True),
            (16, 41, False),
            (17, 20, True),
            (18, 32, False),
        ],
    )
    def test_a_fallback_address_has_the_length_of_its_version(self, version: int, length: int, fits: bool) -> None:
        text = crafted(MINIMUM + tag("f", bytes([version]) + bech32.groups_from_bytes(bytes(length))))
        if fits:
            assert bolt11.decode(text).fallback_addresses == ((version, bytes(length)),)
        else:
            with pytest.raises(FormatError, match="wrong length"):
                bolt11.decode(text)

    def test_fields_to_ignore_are_kept_apart(self) -> None:
        invoice = bolt11.decode(crafted(MINIMUM + tag("2", b"\1\2") + tag("f", b"\x13\1")))
        assert [(bech32.ALPHABET[number], groups) for number, groups in invoice.unknown_tags] == [
            ("2", b"\1\2"),
            ("f", b"\x13\1"),
        ]
        assert not invoice.fallback_addresses

    @pytest.mark.parametrize(("letter", "groups"), [("p", 52), ("s", 52), ("h", 52), ("n", 53)])
    def test_a_field_of_fixed_length_that_has_another_one_is_refused(self, letter: str, groups: int) -> None:
        for length in (0, 1, groups - 1, groups + 1, 1023):
            # Also beside a field of the same type with the right length.
            for tags in (MINIMUM + tag(letter, bytes(length)), tag(letter, bytes(length)) + MINIMUM):
                with pytest.raises(FormatError, match="has a wrong length"):
                    bolt11.decode(crafted(tags))

    def test_a_named_payee_must_have_signed(self) -> None:
        other = PrivateKey(b"\x44" * 32).public_key.format()
        own = bolt11.decode(crafted(MINIMUM + tag_of("n", EXAMPLE_PAYEE)))
        assert (own.payee, own.payee_given) == (EXAMPLE_PAYEE, True)
        with pytest.raises(FormatError, match="not that of the payee"):
            bolt11.decode(crafted(MINIMUM + tag_of("n", other)))

    def test_a_named_payee_is_verified_regardless_of_the_recovery_id(self) -> None:
        text = crafted(
            MINIMUM + tag_of("n", EXAMPLE_PAYEE),
            signer=lambda digest: sign(digest)[:64] + bytes([sign(digest)[64] ^ 1]),
        )
        assert bolt11.decode(text).payee == EXAMPLE_PAYEE

    def test_high_s_is_recovered_from_but_refused_where_the_payee_is_named(self) -> None:
        assert bolt11.decode(crafted(signer=with_high_s)).payee == EXAMPLE_PAYEE
        with pytest.raises(FormatError, match="high s"):
            bolt11.decode(crafted(MINIMUM + tag_of("n", EXAMPLE_PAYEE), signer=with_high_s))

    def test_a_recovery_id_above_three_is_refused(self) -> None:
        with pytest.raises(FormatError, match="recovery id"):
            bolt11.decode(crafted(signer=lambda digest: sign(digest)[:64] + b"\x04"))

    def test_of_a_field_that_may_come_once_the_first_counts_and_further_ones_are_kept(self) -> None:
        other_payee = PrivateKey(b"\x44" * 32).public_key.format()
        pairs = {
            "p": (HASH, tag_of("p", b"\x55" * 32)),
            "s": (SECRET, tag_of("s", b"\x55" * 32)),
            "d": (DESCRIPTION, tag_of("d", b"\xff is not read")),
            "m": (tag_of("m", b"own"), tag_of("m", b"other")),
            "n": (tag_of("n", EXAMPLE_PAYEE), tag_of("n", other_payee)),
            "x": (tag("x", b"\1"), tag("x", b"\0\2")),
            "c": (tag("c", b"\1"), tag("c", b"")),
            "9": (tag("9", b"\x08\x08\0"), tag("9", b"\x1f" * 5)),
        }
        for letter, (first, second) in pairs.items():
            tags = b"".join([own for own, _ in pairs.values()])
            assert first in tags
            plain, ambiguous = bolt11.decode(crafted(tags)), bolt11.decode(crafted(tags + second))
            assert ambiguous.unknown_tags == ((second[0], second[3:]),), letter
            assert ambiguous.is_ambiguous, letter
            assert not plain.is_ambiguous
            same = replace(ambiguous, text=plain.text, signature=plain.signature, unknown_tags=())
            assert same == plain, letter

    def test_two_description_hashes_are_ambiguous_too(self) -> None:
        hashes = tag_of("h", b"\x33" * 32) + tag_of("h", b"\x66" * 32)
        invoice = agree(crafted(HASH + SECRET + hashes))
        assert invoice.description_hash == b"\x33" * 32
        assert invoice.is_ambiguous

    @pytest.mark.parametrize(
        "more",
        [
            pytest.param(tag("f", b"\x13\1"), id="fallback address of an unknown version"),
            pytest.param(tag("f", b"\x11" + bytes(32)) * 2, id="two fallback addresses"),
            pytest.param(tag_of("r", EXAMPLE_PAYEE + bytes(18)) * 2, id="two route hints"),
            pytest.param(tag("2", b"\1") * 2, id="two fields of an unknown type"),
            pytest.param(tag_of("5", b"a path") * 2, id="two blinded paths"),
        ],
    )
    def test_fields_that_may_come_again_or_are_skipped_by_all_make_nothing_ambiguous(self, more: bytes) -> None:
        assert not bolt11.decode(crafted(MINIMUM + more)).is_ambiguous

    def test_amp_is_reported(self) -> None:
        features = bech32.groups_from_int(1 << 30 | 1 << 14 | 1 << 8)
        assert bolt11.decode(crafted(MINIMUM + tag("9", features))).is_amp

    def test_blinded_paths_are_reported_and_may_replace_the_secret(self) -> None:
        invoice = bolt11.decode(crafted(HASH + DESCRIPTION + tag_of("5", b"a path")))
        assert invoice.has_blinded_paths
        assert invoice.payment_secret is None

    def test_blinded_paths_beside_route_hints_are_refused(self) -> None:
        hop = tag_of("r", EXAMPLE_PAYEE + bytes(18))
        with pytest.raises(FormatError, match="both"):
            bolt11.decode(crafted(MINIMUM + hop + tag_of("5", b"a path")))

    def test_an_invoice_longer_than_a_qr_code_is_refused_before_it_is_read(self) -> None:
        with pytest.raises(FormatError, match="7089"):
            bolt11.decode("lnbc1" + "q" * 7085)

    def test_the_secret_and_the_text_that_holds_it_stay_out_of_the_representation(self) -> None:
        invoice = bolt11.decode(crafted())
        assert repr(invoice.payment_secret) not in repr(invoice)
        assert invoice.text not in repr(invoice)
        assert repr(FIELDS.payment_secret) not in repr(FIELDS)


class TestDamage:
    TEXT = bolt11.encode(changed(payee=EXAMPLE_PAYEE), sign)

    def test_every_truncation_is_refused(self) -> None:
        for length in range(0, len(self.TEXT), 3):
            with pytest.raises(FormatError):
                bolt11.decode(self.TEXT[:length])

    @pytest.mark.parametrize("appended", ["q", "p", "qp", " ", "\n", "1", "\0", "é"])
    def test_an_appended_character_is_refused(self, appended: str) -> None:
        with pytest.raises(FormatError):
            bolt11.decode(self.TEXT + appended)
        with pytest.raises(FormatError):
            bolt11.decode(appended + self.TEXT)

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_a_changed_character_is_refused(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.TEXT) - 1))
        other = data.draw(st.sampled_from(bech32.ALPHABET).filter(lambda letter: letter != self.TEXT[at]))
        with pytest.raises(FormatError):
            bolt11.decode(self.TEXT[:at] + other + self.TEXT[at + 1 :])

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_a_flipped_bit_under_a_new_checksum_never_keeps_the_payee(self, data: st.DataObject) -> None:
        human, groups = bech32.decode(self.TEXT)
        at, bit = data.draw(st.integers(0, len(groups) - 106)), data.draw(st.integers(0, 4))
        flipped = groups[:at] + bytes([groups[at] ^ 1 << bit]) + groups[at + 1 :]
        try:
            read = bolt11.decode(bech32.encode(human, flipped))
        except FormatError:
            return
        # Only a flip that hides the payee's field leaves a valid invoice, which then has another payee.
        assert read.payee != EXAMPLE_PAYEE
        assert not read.payee_given

    @given(st.text(max_size=60))
    @settings(max_examples=100)
    def test_any_text_gives_a_format_error_and_nothing_else(self, text: str) -> None:
        with pytest.raises(FormatError):
            bolt11.decode(text)

    @given(st.binary(max_size=80))
    @settings(max_examples=150, deadline=None)
    def test_any_fields_give_an_invoice_or_a_format_error(self, noise: bytes) -> None:
        tags = MINIMUM + bytes(octet & 31 for octet in noise)
        try:
            invoice = bolt11.decode(crafted(tags))
        except FormatError:
            return
        assert invoice.payment_hash == b"\x11" * 32
        assert invoice.payee == EXAMPLE_PAYEE
