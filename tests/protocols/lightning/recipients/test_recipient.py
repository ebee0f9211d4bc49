"""Recipients in all forms that users write."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError, InvalidAmount, InvalidRequest, ProtocolNotImplemented
from layer2.formats import bolt11, lnurl
from layer2.formats.bolt11 import Bolt11Invoice, InvoiceFields
from layer2.formats.lnurl import LightningAddress
from layer2.protocols.lightning.recipients.recipient import (
    MAX_LENGTH,
    Lnurl,
    NodeKey,
    Recipient,
    read_recipient,
    transfer_digest,
)

KEY = PrivateKey(sha256(b"a payee").digest())
NODE = KEY.public_key.format().hex()
URL = "https://service.example/pay?id=secret"
LNURL = lnurl.encode(URL)
ON_CHAIN = "175tWpb8K1S7NmH4Zx6rewF9WQrcZv245W"
OFFER = "lno1pgqpvggr53478rgx3s4uttelcy76ssrepm2kg0ead5n7tc6dvlkj4mqkeens"


def invoice(amount_msat: int | None = 15_000_000) -> str:
    fields = InvoiceFields(
        prefix="bcrt",
        amount_msat=amount_msat,
        timestamp=1_800_000_000,
        payment_hash=b"\x11" * 32,
        payment_secret=b"\x22" * 32,
        description="tea",
    )
    return bolt11.encode(fields, lambda digest: KEY.sign_recoverable(digest, hasher=None))


INVOICE = invoice()
DECODED = bolt11.decode(INVOICE)
ADDRESS = LightningAddress("satoshi", "bitcoin.org")


@pytest.mark.parametrize(
    ("text", "payee"),
    [
        (INVOICE, DECODED),
        (INVOICE.upper(), DECODED),
        (f"lightning:{INVOICE}", DECODED),
        (f"LIGHTNING:{INVOICE.upper()}", DECODED),
        (f"lightning://{INVOICE}", DECODED),
        (f"bitcoin:?lightning={INVOICE}", DECODED),
        (f"bitcoin:{ON_CHAIN}?label=x&lightning={INVOICE}&lno={OFFER}", DECODED),
        (f"BITCOIN:BC1QUFGY354J3KMVUCH987XE4S40836X3H0LG8F5NQ?LIGHTNING={INVOICE.upper()}", DECODED),
        (NODE, NodeKey(bytes.fromhex(NODE))),
        (NODE.upper(), NodeKey(bytes.fromhex(NODE))),
        (f"{NODE}@203.0.113.7:9735", NodeKey(bytes.fromhex(NODE))),
        (f"{NODE}@[2001:db8::1]:9735", NodeKey(bytes.fromhex(NODE))),
        (f"{NODE}@node.example.org:9735", NodeKey(bytes.fromhex(NODE))),
        (f"lightning:{NODE}", NodeKey(bytes.fromhex(NODE))),
        (LNURL, Lnurl(URL)),
        (LNURL.upper(), Lnurl(URL)),
        (f"lightning:{LNURL}", Lnurl(URL)),
        (f"LIGHTNING:{LNURL.upper()}", Lnurl(URL)),
        (f"bitcoin:{ON_CHAIN}?lightning={LNURL.upper()}", Lnurl(URL)),
        (f"https://shop.example/redeem?id=123&lightning={LNURL.upper()}", Lnurl(URL)),
        (f"http://shop.example/?lightning={LNURL}&x=1#top", Lnurl(URL)),
        (f"HTTPS://SHOP.EXAMPLE?LIGHTNING={LNURL.upper()}", Lnurl(URL)),
        (lnurl.encode(f"{URL}&tag=payRequest"), Lnurl(f"{URL}&tag=payRequest")),
        ("satoshi@bitcoin.org", ADDRESS),
        ("satoshi@BITCOIN.ORG", ADDRESS),
        ("lightning:satoshi@bitcoin.org", ADDRESS),
        ("bitcoin:?lightning=satoshi%40bitcoin.org", ADDRESS),
    ],
)
def test_a_text_names_its_payee(text: str, payee: object) -> None:
    assert read_recipient(text) == Recipient(payee)  # type: ignore[arg-type]  # each case has a payee


def test_an_amount_of_a_uri_must_be_the_one_that_is_sent() -> None:
    for text in (f"bitcoin:{ON_CHAIN}?amount=0.00015&lightning={LNURL}", f"bitcoin:?amount=0.00015&lightning={NODE}"):
        to = read_recipient(text)
        assert to.amount_msat == 15_000_000
        to.check_amount(15_000_000)
        with pytest.raises(InvalidAmount, match="the URI asks for 15000000 msat; the transfer is of 15000001 msat"):
            to.check_amount(15_000_001)


def test_an_amount_of_an_invoice_must_be_the_one_that_is_sent() -> None:
    read_recipient(INVOICE).check_amount(15_000_000)
    with pytest.raises(InvalidAmount, match="the invoice asks for 15000000 msat; the transfer is of 1 msat"):
        read_recipient(INVOICE).check_amount(1)


def test_a_uri_and_its_invoice_must_ask_for_the_same() -> None:
    for msat in (15_000_000, 16_000_000):
        with pytest.raises(InvalidAmount, match="asks for"):
            read_recipient(f"bitcoin:?amount=0.00016&lightning={INVOICE}").check_amount(msat)


def test_without_a_requested_amount_every_amount_is_right() -> None:
    for text in (invoice(None), NODE, LNURL, "satoshi@bitcoin.org"):
        recipient = read_recipient(text)
        recipient.check_amount(1)
        assert recipient.amount_msat is None
    read_recipient(f"bitcoin:?amount=0.00000000001&lightning={invoice(None)}").check_amount(1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OFFER, "BOLT 12"),
        (OFFER.upper(), "BOLT 12"),
        (
            "lno1pqpq86q2fgcnqvpsd4ekzapqv4mx2uneyqcnqgryv9uhxtpqveex7mfqxyk55ctw95erqv339ss8qcteyqcksu3qvfjkvmmjv5s8gmeqxcczqum9vdhkuernypkxzar9zccssy",
            "BOLT 12",
        ),
        ("lnr1qqs", "BOLT 12"),
        ("lni1qqg", "BOLT 12"),
        (f"lightning:{OFFER}", "BOLT 12"),
        (f"bitcoin:?lno={OFFER}", "BOLT 12"),
        (f"bitcoin:{ON_CHAIN}?LNO={OFFER.upper()}", "BOLT 12"),
        (f"bitcoin:?lno={INVOICE}", "BOLT 12"),
        (f"bitcoin:?lightning={OFFER}", "BOLT 12"),
        (f"bitcoin:{ON_CHAIN}", "on-chain address, which this layer does not pay"),
        (f"bitcoin:{ON_CHAIN}?amount=1", "on-chain address, which this layer does not pay"),
        ("bitcoin:?sp=sp1qsilentpayment", "on-chain address, which this layer does not pay"),
        (ON_CHAIN, "on-chain address, which this layer does not pay"),
        ("3P14159f73E4gFr7JterCCQh9QjiTjiZrG", "on-chain address, which this layer does not pay"),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "on-chain address, which this layer does not pay"),
        ("bc1qufgy354j3kmvuch987xe4s40836x3h0lg8f5nq", "on-chain address, which this layer does not pay"),
        (
            "BC1P5SWKUGEZN97763TL0YTY6556856UUG0Q6JFLLJVEP9M4P7339X5QZYRH4Q",
            "on-chain address, which this layer does not pay",
        ),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "on-chain address, which this layer does not pay"),
        ("a@abcdefghij234567.onion", "onion"),
        (lnurl.encode("http://abcdefghij234567.onion/pay"), "onion"),
        (lnurl.encode("https://ABC.ONION./pay"), "onion"),
    ],
)
def test_what_this_version_does_not_pay_is_recognised_and_refused(text: str, words: str) -> None:
    with pytest.raises(ProtocolNotImplemented, match=words) as refused:
        read_recipient(text)
    assert refused.value.protocol == "LIGHTNING"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "1 to 10000 characters"),
        ("x" * 10_001, "1 to 10000 characters"),
        (None, "not NoneType"),
        (INVOICE.encode(), "not bytes"),
        (f" {INVOICE}", "without spaces"),
        (f"{INVOICE}\n", "without spaces"),
        ("abandon abandon abandon about", "without spaces"),
        ("s\N{CYRILLIC SMALL LETTER A}toshi@bitcoin.org", "plain ASCII"),
        ("\u202esatoshi@bitcoin.org", "plain ASCII"),
        (INVOICE[:-1] + "q", "checksum"),
        (f"lightning:{INVOICE}?amount=1", "must not have parameters"),
        (f"lightning:lightning:{INVOICE}", "not a recipient"),
        (f"lightning:bitcoin:?lightning={INVOICE}", "must not have parameters"),
        (f"bitcoin:?lightning=lightning:{INVOICE}", "not a recipient"),
        (f"bitcoin:?lightning={INVOICE}&lightning={INVOICE}", "several recipients"),
        (f"bitcoin:?lightning={INVOICE}&req-x=1", "requires 'req-x'"),
        (f"bitcoin:?lightning={INVOICE}&amount=1&amount=1", "repeats amount"),
        ("bitcoin:?lightning=", "not a recipient"),
        ("bitcoin:?lightning=lnbc%201", "bech32"),
        ("https://shop.example/redeem", "does not have exactly one LNURL"),
        (f"https://shop.example/?lightning={INVOICE}", "does not have exactly one LNURL"),
        (f"https://shop.example/?lightning={LNURL}&lightning={LNURL}", "does not have exactly one LNURL"),
        (f"https://shop.example/?lightning={LNURL[:-1]}q", "checksum"),
        (f"https://shop.example/#?lightning={LNURL}", "does not have exactly one LNURL"),
        ("lnurlp://service.example/pay", "the URI scheme lnurlp:"),
        ("ethereum:0x1234", "the URI scheme ethereum:"),
        (lnurl.encode("https://service.example/?tag=login&k1=00"), "for 'login'"),
        (lnurl.encode("https://service.example/?tag=payRequest&tag=login"), "not for payments"),
        (lnurl.encode("ftp://service.example/"), "not that of a web service"),
        (lnurl.encode("https://service.example:99999/"), "an impossible port"),
        (lnurl.encode("https://service.example/?a=%"), "percent sign"),
        ("02" + "00" * 32, "not a valid public key of a node"),
        (f"{'02' + '00' * 32}@127.0.0.1:9735", "not a valid public key of a node"),
        (f"{NODE}@bitcoin.org", "must have a port too"),
        (f"{NODE}@a@b:1", "must have a port too"),
        (NODE[2:], "not a recipient"),
        ("0x" + "ab" * 20, "EVM"),
        ("Satoshi@bitcoin.org", "in lower case"),
        ("nobody", "not a recipient"),
        ("ln", "bech32"),
    ],
)
def test_an_invalid_recipient_is_refused_with_a_sentence(text: Any, words: str) -> None:
    with pytest.raises(FormatError, match=words) as refused:
        read_recipient(text)
    assert len(str(refused.value)) < 500


def test_what_was_pasted_by_mistake_is_not_repeated() -> None:
    for text in ("f" * 64, "correct-horse-battery-staple", f"lightning:{'e' * 64}", "https://user:password@a.b/c"):
        with pytest.raises(InvalidRequest) as refused:
            read_recipient(text)
        assert text[-12:] not in str(refused.value)


def test_what_an_lnurl_hides_is_not_shown() -> None:
    assert "secret" not in repr(read_recipient(LNURL))


def test_the_digest_is_of_recipient_and_amount() -> None:
    assert transfer_digest(INVOICE, 1) == transfer_digest(INVOICE.upper(), 1)
    texts = (INVOICE, f"lightning:{INVOICE}", LNURL, NODE)
    assert len({transfer_digest(text, msat) for text in texts for msat in (1, 2)}) == 8


PAYEES = (INVOICE, LNURL, NODE, OFFER, ON_CHAIN, "satoshi", "bitcoin.org", "LN", "lnurl1", "1")
SIGNS = ("bitcoin:", "lightning:", "https://", "?", "&", "=", "@", ":", "%", "%40", ".", "//", "#")
PARTS = ("lightning", "amount=0.1", "9735", "req-x", "lno", "label")
PIECES = st.sampled_from(PAYEES + SIGNS + PARTS)


@settings(deadline=None)
@given(st.lists(PIECES | st.text(max_size=3), max_size=6).map("".join), st.booleans())
def test_any_text_names_a_payee_or_is_refused_as_a_request(text: str, upper: bool) -> None:
    try:
        to = read_recipient(text.upper() if upper else text)
    except InvalidRequest:
        return
    assert isinstance(to.payee, Bolt11Invoice | NodeKey | Lnurl | LightningAddress)
    assert len(text) <= MAX_LENGTH
