"""LNURL-pay's texts and messages. The LNURL of the examples is the one of LUD-01."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from layer2.errors import FormatError
from layer2.formats import bech32, lnurl
from layer2.formats.lnurl import LightningAddress, PayOffer, ServiceError

EXAMPLE_URL = "https://service.com/api?q=3fc3645b439ce8e7f2553a69e5267081d96dcd340693afabe04be7b0ccd178df"
EXAMPLE = (
    "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3HXQURZEPEXEJXXEPNXSCRV"
    "WFNV9NXZCN9XQ6XYEFHVGCXXCMYXYMNSERXFQ5FNS"
)
METADATA = '[["text/plain", "lorem ipsum blah blah"]]'
OFFER = {
    "callback": "https://service.com/pay?token=abc",
    "maxSendable": 100_000_000,
    "minSendable": 1_000,
    "metadata": METADATA,
    "tag": "payRequest",
}


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def offer(**changes: Any) -> PayOffer | ServiceError:
    return lnurl.read_offer(as_json(OFFER | changes))


def metadata(*entries: object) -> str:
    return json.dumps([["text/plain", "tea"], *entries])


def test_the_example_of_lud_01_is_read_in_either_case() -> None:
    assert lnurl.decode(EXAMPLE) == lnurl.decode(EXAMPLE.lower()) == EXAMPLE_URL
    assert lnurl.encode(EXAMPLE_URL) == EXAMPLE.lower()


def groups(data: bytes) -> bytes:
    return bech32.groups_from_bytes(data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (EXAMPLE[:-1] + "Q", "checksum"),
        (EXAMPLE[:9].lower() + EXAMPLE[9:], "mixes"),
        (bech32.encode("lnurlp", groups(b"https://a.b")), "begin"),
        (bech32.encode("lnurl", b""), "empty"),
        (bech32.encode("lnurl", groups(b"https://a.b/ c")), "character"),
        (bech32.encode("lnurl", groups(b"https://a.b/\r\nHost: c")), "character"),
        (bech32.encode("lnurl", groups(b"https://a.b\\@c.d/")), "character"),
        (bech32.encode("lnurl", groups(b"https://a.b/#c")), "character"),
        (bech32.encode("lnurl", groups("https://a.b/\N{LATIN SMALL LETTER E WITH ACUTE}".encode())), "character"),
        (bech32.encode("lnurl", groups(b"https://a.b/".ljust(2_001, b"x"))), "longer than 2000"),
        (bech32.encode("lnurl", bytes(3_300)), "longer than 3250"),
        (bech32.encode("lnurl", groups(b"https://a.b")[:-1] + b"\x1f"), "padded"),
    ],
)
def test_an_invalid_lnurl_is_refused(text: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        lnurl.decode(text)


def test_the_longest_url_fits_into_the_longest_lnurl() -> None:
    longest = "https://a.b/".ljust(lnurl.MAX_URL_LENGTH, "x")
    assert lnurl.decode(lnurl.encode(longest)) == longest


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\#"), min_size=1))
def test_every_url_is_read_back_from_its_lnurl(url: str) -> None:
    assert lnurl.decode(lnurl.encode(url)) == url
    assert lnurl.decode(lnurl.encode(url).upper()) == url


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_data_under_a_right_checksum_is_a_url_or_a_format_error(data: bytes) -> None:
    text = bech32.encode("lnurl", bytes(octet & 31 for octet in data))
    try:
        url = lnurl.decode(text)
    except FormatError:
        return
    assert lnurl.encode(url) == text


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port"),
    [
        ("https://a.b", "https", "a.b", 443),
        ("HTTPS://A.B./?tag=x", "https", "a.b", 443),
        ("http://a.b:8080?x", "http", "a.b", 8080),
        ("http://localhost/@", "http", "localhost", 80),
        ("https://[2001:DB8::1]:443/", "https", "2001:db8::1", 443),
        ("https://a.b/c:d@e?f=https://g.h", "https", "a.b", 443),
    ],
)
def test_the_url_of_a_service_is_taken_apart(text: str, scheme: str, host: str, port: int) -> None:
    url = lnurl.read_url(text)
    assert (url.text, url.scheme, url.host, url.port, url.has_user) == (text, scheme, host, port, False)


def test_the_purpose_and_the_user_of_a_url_are_read() -> None:
    assert lnurl.read_url("https://a.b/?tag=login&x=1&TAG=%77").tags == ("login", "w")
    assert lnurl.read_url("https://user:pass@a.b/").has_user
    assert lnurl.read_url("https://@a.b/").has_user
    assert lnurl.read_url("https://x.ONION./").is_onion
    assert not lnurl.read_url("https://onion.org/").is_onion


@pytest.mark.parametrize(
    "text",
    [
        "https:///pay",
        "https://",
        "https:a.b",
        "//a.b/",
        "service.example/pay",
        "ftp://a.b/",
        "https://[::1",
        "https://::1/",
        "https://]",
        "https://:443/",
        "https://.",
        "https://a.b:/",
        "https://a.b:-1/",
        "https://a.b:0/",
        "https://a.b:65536/",
        "https://a.b:443x/",
        "https://a.b%2f.c/",
        "https://a.b%00.c/",
        "https://a.b;c.d/",
        "https://a.b&c.d/",
        "https://a@b@c.d/",
        "https://[::1%25lo]/",
        "https://[a.b]/"[:8] + "x]/",
    ],
)
def test_an_invalid_or_ambiguous_url_of_a_service_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="URL"):
        lnurl.read_url(text)


AUTHORITIES = st.lists(
    st.sampled_from(
        ["a.b", "[::1]", "[", "]", ":", ":443", "@", "user", "/", "?", "&", "%", "%5b", ";", "..", "xn--a", "-", "_"]
    ),
    max_size=8,
).map("".join)


@settings(deadline=None)
@given(AUTHORITIES)
def test_a_url_that_is_taken_has_the_host_that_the_library_asks(rest: str) -> None:
    """Attackers bypass host checks with URLs in which two readers find different hosts."""
    try:
        url = lnurl.read_url(f"https://{rest}")
        asked = URL(url.text, encoded=True)
    except ValueError:
        return
    assert asked.raw_host is not None
    assert (asked.raw_host.lower().rstrip("."), asked.port) == (url.host, url.port)
    assert (asked.user is not None or asked.password is not None) <= url.has_user


@pytest.mark.parametrize(
    ("text", "name", "domain"),
    [
        ("satoshi@bitcoin.org", "satoshi", "bitcoin.org"),
        ("a-z_0.9+tag@pay.example.org", "a-z_0.9+tag", "pay.example.org"),
        ("satoshi@Bitcoin.ORG", "satoshi", "bitcoin.org"),
        ("a@xn--bcher-kva.example", "a", "xn--bcher-kva.example"),
        ("a@127.0.0.1:8080", "a", "127.0.0.1:8080"),
        ("a@localhost", "a", "localhost"),
    ],
)
def test_a_lightning_address_is_read(text: str, name: str, domain: str) -> None:
    address = lnurl.read_address(text)
    assert address == LightningAddress(name, domain)
    assert str(address) == f"{name}@{domain}"
    assert str(address.without_tag) == f"{name.removesuffix('+tag')}@{domain}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Satoshi@bitcoin.org", "in lower case"),
        ("SATOSHI@BITCOIN.ORG", "in lower case"),
        ("..@bitcoin.org", "1 to 64 of"),
        (".@bitcoin.org", "1 to 64 of"),
        ("a/../b@bitcoin.org", "1 to 64 of"),
        ("a%2f@bitcoin.org", "1 to 64 of"),
        ("a?b@bitcoin.org", "1 to 64 of"),
        ("a" * 65 + "@bitcoin.org", "1 to 64 of"),
        ("\N{CYRILLIC SMALL LETTER A}@bitcoin.org", "1 to 64 of"),
        ("a@b@bitcoin.org", "no domain name"),
        ("a@bitcoin", "no domain name"),
        ("a@bitcoin.org.", "no domain name"),
        ("a@-bitcoin.org", "no domain name"),
        ("a@bitcoin.org/path", "no domain name"),
        ("a@bitcoin.org:0", "no domain name"),
        ("a@bitcoin.org:123456", "no domain name"),
        ("a@[::1]", "no domain name"),
        ("a@" + ".".join(["label" * 10] * 6), "no domain name"),
        ("a@bitcoin\N{FULLWIDTH FULL STOP}org", "no domain name"),
        ("satoshi@", "name@domain"),
        ("@bitcoin.org", "name@domain"),
        ("satoshi", "name@domain"),
        ("a@bitcoin.org\n", "no domain name"),
    ],
)
def test_an_invalid_lightning_address_is_refused(text: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        lnurl.read_address(text)


def test_an_offer_is_read_with_the_metadata_as_it_was_written() -> None:
    read = offer(status="OK", commentAllowed=255, ratio=0.5, payerData={"name": {"mandatory": False}})
    assert isinstance(read, PayOffer)
    assert (read.callback, read.least_msat, read.most_msat) == (OFFER["callback"], 1_000, 100_000_000)
    assert read.description_hash == sha256(METADATA.encode()).digest()
    assert read.identifiers == ()
    assert "token" not in repr(read)


def test_the_description_hash_is_of_the_text_that_escapes_stand_for() -> None:
    words = '[["text/plain","caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{HOT BEVERAGE}"]]'
    read = offer(metadata=words)
    assert isinstance(read, PayOffer)
    assert read.description_hash == sha256(words.encode("utf-8")).digest()


def test_what_a_service_calls_itself_is_read() -> None:
    read = offer(
        metadata=metadata(["text/email", "b@c.d"], ["text/identifier", "a@c.d"], ["image/png;base64", 1.5, {}])
    )
    assert isinstance(read, PayOffer)
    assert read.identifiers == ("a@c.d", "b@c.d")


@pytest.mark.parametrize("status", ["ERROR", "error"])
def test_a_service_s_no_is_its_own_kind_of_answer(status: str) -> None:
    data = as_json({"status": status, "reason": "not today\x1b[2J"})
    assert lnurl.read_offer(data) == lnurl.read_invoice_answer(data) == ServiceError("not today [2J")
    assert lnurl.read_offer(as_json({"status": status, "reason": 7})) == ServiceError("no reason given")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tag": "withdrawRequest"}, "its tag is 'withdrawRequest'"),
        ({"tag": None}, "its tag is 'none'"),
        ({"minSendable": "1000"}, "minSendable"),
        ({"minSendable": 1000.0}, "minSendable"),
        ({"minSendable": True}, "minSendable"),
        ({"minSendable": 0}, "minSendable"),
        ({"maxSendable": -5}, "maxSendable"),
        ({"maxSendable": 2**63 + 1}, "maxSendable"),
        ({"maxSendable": None}, "maxSendable"),
        ({"maxSendable": 999}, "above its maximum"),
        ({"callback": None}, "callback"),
        ({"callback": ""}, "callback"),
        ({"callback": "https://a.b/\n"}, "callback"),
        ({"callback": "https://a.b/".ljust(2_001, "x")}, "callback"),
        ({"metadata": [["text/plain", "tea"]]}, "metadata is not a text"),
        ({"metadata": "tea"}, "not JSON"),
        ({"metadata": "{}"}, "not a list of lists"),
        ({"metadata": '["text/plain"]'}, "not a list of lists"),
        ({"metadata": "[[]]"}, "not a list of lists"),
        ({"metadata": '[[1, "text/plain"]]'}, "not a list of lists"),
        ({"metadata": "[]"}, "exactly one text/plain"),
        ({"metadata": metadata(["text/plain", "another tea"])}, "exactly one text/plain"),
        ({"metadata": '[["text/plain"]]'}, "text/plain that is not a text"),
        ({"metadata": metadata(["text/identifier", 7])}, "text/identifier that is not a text"),
        ({"metadata": "[" * 100 + "]" * 100}, "nested deeper"),
        ({"metadata": "\ud800"}, "lone surrogate"),
        (
            {"payerData": {"name": {"mandatory": True}, "email": {"mandatory": False}}},
            r"requires data about the payer \(name\)",
        ),
    ],
)
def test_an_offer_that_lud_06_does_not_allow_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        offer(**changes)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"payRequest"', "not a JSON object"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"tag":"payRequest","tag":"payRequest"}', "repeats a key"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "-Infinity"),
        (b'{"a":' + b"1" * 5_000 + b"}", "more than 20 digits"),
        (b"[" * 200_000, "nested deeper"),
        (b'"' + b'\\"' * 130_000, "not JSON"),
        (as_json(OFFER) + b"x", "not JSON"),
    ],
)
def test_json_that_is_not_strict_is_refused(data: bytes, words: str) -> None:
    for read in (lnurl.read_offer, lnurl.read_invoice_answer):
        with pytest.raises(FormatError, match=words):
            read(data)


def test_an_invoice_s_text_is_taken_as_it_is() -> None:
    assert lnurl.read_invoice_answer(as_json({"pr": "lnbc1...", "routes": []})) == "lnbc1..."
    for wrong in ({}, {"pr": None}, {"pr": 7}):
        with pytest.raises(FormatError, match="field pr"):
            lnurl.read_invoice_answer(as_json(wrong))


def test_the_callback_keeps_its_own_query() -> None:
    assert lnurl.with_amount("https://a.b/c", 5) == "https://a.b/c?amount=5"
    assert lnurl.with_amount("https://a.b/c?t=%7E1", 5) == "https://a.b/c?t=%7E1&amount=5"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(sorted(OFFER)), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*OFFER, "status", "reason", "payerData"]), JSON))
def test_any_change_of_an_offer_is_read_or_a_format_error(changes: dict[str, Any]) -> None:
    try:
        read = offer(**changes)
    except FormatError:
        return
    assert isinstance(read, ServiceError) or 1 <= read.least_msat <= read.most_msat


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_an_answer_or_a_format_error(data: bytes) -> None:
    for read in (lnurl.read_offer, lnurl.read_invoice_answer):
        try:
            read(data)
        except FormatError:
            continue
