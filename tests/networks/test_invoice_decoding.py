"""Invoices compared with lnd's decoder: random ones decode alike; broken ones are refused by both, or listed here.

The requests go to ``GET /v1/payreq``, which only decodes.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import aiohttp
import base58
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from formats.invoices import (
    DESCRIPTION,
    EXAMPLE_PAYEE,
    HASH,
    MINIMUM,
    ORDER,
    SECRET,
    crafted,
    invoice_fields,
    sign,
    tag,
    tag_of,
    with_high_s,
)
from layer2.errors import FormatError
from layer2.formats import bech32, bolt11
from layer2.formats.bolt11 import Bolt11Invoice, RouteHop
from layer2.local.network import LocalNetwork

pytestmark = pytest.mark.only_on("devnet", reason="simnet's Lightning nodes decode with the codec that is tested")

T = TypeVar("T")
Verdict: TypeAlias = dict[str, Any] | str
"""lnd's decoded invoice, or its reason for refusing it."""
LND_MOST_MSAT = (2**64 - 1) // 10
"""lnd reads an amount in picobitcoin into 64 bits, which hold less than 21 million bitcoin."""
RANDOM_INVOICES = 300
BROKEN_INVOICES = 2_000
DEFAULT_DELTAS = (18, 24)
"""The default final CLTV delta of BOLT 11, and lnd's larger one, for invoices that do not set it."""


class Lnd:
    """Decodes with a node."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def decode(self, text: str) -> Verdict:
        async with self._session.get(f"{self._url}/v1/payreq/{text}") as response:
            answer: dict[str, Any] = await response.json()
        return answer if response.status == 200 else str(answer["message"])

    async def decode_all(self, texts: Iterable[str]) -> list[Verdict]:
        return list(await asyncio.gather(*[self.decode(text) for text in texts]))


@pytest.fixture
async def lnd(network: LocalNetwork) -> Any:
    node = network.taker.lightning
    # The parties' macaroons do not allow decoding, because clients do not need it.
    macaroon = Path(node.macaroon_file).with_name("admin.macaroon").read_bytes().hex()
    trusted = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=node.certificate_file), limit=16)
    async with aiohttp.ClientSession(headers={"Grpc-Metadata-macaroon": macaroon}, connector=trusted) as session:
        yield Lnd(session, node.rest_url)


def drawn(strategy: SearchStrategy[T], count: int) -> list[T]:
    """Generate that many values, the same in every run."""
    found: list[T] = []

    @seed(11)
    @settings(max_examples=count, phases=[Phase.generate], database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(strategy)
    def draw(value: T) -> None:
        found.append(value)

    draw()
    return found


def assert_same(ours: Bolt11Invoice, theirs: dict[str, Any]) -> None:
    """Compare all fields that lnd returns. It omits the metadata and all fallback addresses after the first."""
    assert theirs["destination"] == ours.payee.hex()
    assert theirs["payment_hash"] == ours.payment_hash.hex()
    assert b64decode(theirs["payment_addr"]) == (ours.payment_secret or bytes(32))
    assert int(theirs["num_msat"]) == (ours.amount_msat or 0)
    assert int(theirs["timestamp"]) == ours.timestamp
    assert theirs["description"] == (ours.description or "")
    assert theirs["description_hash"] == (ours.description_hash or b"").hex()
    assert int(theirs["expiry"]) == ours.expiry
    deltas = ours.min_final_cltv_expiry_delta, int(theirs["cltv_expiry"])
    assert deltas[0] == deltas[1] or deltas == DEFAULT_DELTAS
    assert {int(bit) for bit in theirs["features"]} == ours.feature_bits
    assert [[_hop(hop) for hop in hint["hop_hints"]] for hint in theirs["route_hints"]] == [
        list(hint) for hint in ours.route_hints
    ]
    known = [address for address in ours.fallback_addresses if address[0] in (0, 1, 17, 18)]
    assert theirs["fallback_addr"] == (_address(*known[0]) if known else "")


def _hop(hop: dict[str, Any]) -> RouteHop:
    return RouteHop(
        bytes.fromhex(hop["node_id"]),
        int(hop["chan_id"]),
        hop["fee_base_msat"],
        hop["fee_proportional_millionths"],
        hop["cltv_expiry_delta"],
    )


def _address(version: int, program: bytes) -> str:
    """An address of the local network: BIP 173, BIP 350 with its different checksum, or base 58."""
    if version > 16:
        return base58.b58encode_check(bytes([{17: 0x6F, 18: 0xC4}[version]]) + program).decode()
    text = bech32.encode("bcrt", bytes([version]) + bech32.groups_from_bytes(program))
    if version == 0:
        return text
    checksum = [bech32.ALPHABET.index(letter) for letter in text[-6:]]
    other = bech32.groups_from_int(1 ^ 0x2BC830A3).rjust(6, b"\0")
    return text[:-6] + "".join([bech32.ALPHABET[ours ^ theirs] for ours, theirs in zip(checksum, other, strict=True)])


async def test_lnd_reads_random_invoices_alike(lnd: Lnd) -> None:
    invoices = invoice_fields(prefixes=("bcrt",)).filter(lambda fields: (fields.amount_msat or 0) <= LND_MOST_MSAT)
    texts = [bolt11.encode(fields, sign) for fields in drawn(invoices, RANDOM_INVOICES)]
    for text, theirs in zip(texts, await lnd.decode_all(texts), strict=True):
        assert isinstance(theirs, dict), (text, theirs)
        assert_same(bolt11.decode(text), theirs)


STRICTER = {
    "no payment secret": "BOLT 11 requires it; lnd checks it only when it pays",
    "requires unknown features": "BOLT 11 rejects such an invoice; lnd checks features only when it pays",
    "multi-part payments without": "BOLT 9: a feature needs its dependencies; lnd checks them only when it pays",
    "begins with a zero": "BOLT 11: such a field should be treated as invalid",
    "expiry is above": "lnd's duration would overflow",
    "min_final_cltv_expiry_delta is above": "a block height has 32 bits, and lnd's 64 may overflow",
    "more than all bitcoin": "no such amount can be paid, and lnd's 64 bits may overflow",
    "not an amount": "BOLT 11: an amount is positive and has no leading zeros",
    "a high s": "BOLT 11 rejects a named payee's signature with a high s",
    "recovery id is not": "BOLT 11 defines 0 to 3; lnd does not check it if the payee is named",
    "fallback address": "witness programs of versions 2 to 16 have 2 to 40 bytes (BIP 141); lnd skips them unread",
    "has a wrong length": "BOLT 11: a payer fails if a field of fixed length has another one; lnd skips it",
}
"""Invoices that ``decode`` refuses and lnd accepts: part of the refusal, and the reason."""
UNREAD_PATHS = "blinded paths are detected but not decoded"
LAXER = {
    "not for current active network": "a node has one network; the codec supports all",
    "empty fallback address field": "a fallback address of an unknown version is skipped regardless of its length",
    "EOF": UNREAD_PATHS,
    "invalid incomplete group": UNREAD_PATHS,
}
"""Invoices that lnd refuses and ``decode`` accepts: part of lnd's refusal, and the reason."""


@dataclass
class Comparison:
    """Counts pairs of verdicts by explanation."""

    counts: Counter[str]

    def compare(self, text: str, theirs: Verdict) -> None:
        ours = read(text)
        match ours, theirs:
            case str(), str():
                self.counts["both refuse"] += 1
            case Bolt11Invoice(), dict():
                assert_same(ours, theirs)
                self.counts["both read the first" if ours.is_ambiguous else "both read"] += 1
            case str(), dict():
                self._count([words for words in STRICTER if words in ours], text, ours, theirs)
            case Bolt11Invoice(), str():
                words = [words for words, why in LAXER.items() if words in theirs]
                assert ours.has_blinded_paths or LAXER[words[0]] != UNREAD_PATHS
                self._count(words, text, ours, theirs)

    def _count(self, explanations: list[str], *seen: object) -> None:
        assert explanations, seen
        self.counts[explanations[0]] += 1


def read(text: str) -> Bolt11Invoice | str:
    """The result of ``decode``, or its reason for refusing the invoice."""
    try:
        return bolt11.decode(text)
    except FormatError as refusal:
        return refusal.message


def broken(count: int) -> list[str]:
    """Correctly signed invoices with at most two faults, and some damaged texts; the same in every run."""
    rng = random.Random(11)
    makers = [_of_any_fields, _of_flipped_bits, _of_any_amount, _of_any_signature, _damaged]
    return [makers[number % len(makers)](rng) for number in range(count)]


def _fields(rng: random.Random) -> bytes:
    """Fields that may each be missing, malformed, or repeated."""
    more = [
        tag_of("p", rng.randbytes(rng.choice((31, 32)))),
        tag_of("s", rng.randbytes(32)),
        tag_of("h", rng.randbytes(rng.choice((32, 33)))),
        tag_of("d", rng.choice((b"", b"another", b"\xff"))),
        tag_of("m", rng.randbytes(rng.randrange(9))),
        tag_of("n", rng.choice((EXAMPLE_PAYEE, rng.randbytes(33)))),
        tag("x", bech32.groups_from_int(rng.getrandbits(rng.randrange(70)))),
        tag("c", bech32.groups_from_int(rng.getrandbits(rng.randrange(70)))),
        tag("x", b"\0\1"),
        tag("9", bech32.groups_from_int(rng.getrandbits(20))),
        tag("9", bech32.groups_from_int(1 << rng.choice((8, 14, 17, 99)) | 1 << rng.choice((8, 14, 16)))),
        tag("f", bytes([rng.randrange(22)]) + bech32.groups_from_bytes(rng.randbytes(rng.choice((0, 1, 20, 32, 41))))),
        tag("f", b"\x13"),
        tag_of("r", (EXAMPLE_PAYEE + rng.randbytes(18)) * rng.randrange(3)),
        tag("5", b"\x1d"),
        tag_of("5", rng.randbytes(rng.choice((3, 30, 90)))),
        tag(rng.choice(bech32.ALPHABET), bytes([rng.randrange(32) for _ in range(rng.choice((0, 1, 5, 52, 53)))])),
    ]
    chosen = [field for field in (HASH, SECRET, DESCRIPTION) if rng.random() < 0.9]
    chosen += rng.sample(more, rng.randrange(5))
    return b"".join(rng.sample(chosen, len(chosen)))


def _of_any_fields(rng: random.Random) -> str:
    return crafted(_fields(rng))


def _of_flipped_bits(rng: random.Random) -> str:
    fields = bytearray(MINIMUM + _fields(rng))
    for _ in range(rng.randrange(1, 3)):
        fields[rng.randrange(len(fields))] ^= 1 << rng.randrange(5)
    return crafted(bytes(fields))


def _of_any_amount(rng: random.Random) -> str:
    numbers = "0", "1", "25", "025", "12345678901", "21000000", "21000001", "18446744073709551615", "1.5", "-1", "+1"
    number = rng.choice(("", *numbers))
    prefix = rng.choice(("lnbcrt", "lnbcrt", "lnbcrt", "lnbc", "lntb", "lnbcr", "bcrt", "ln"))
    return crafted(human=prefix + number + rng.choice(("", "m", "u", "n", "p", "x", "mm")))


def _of_any_signature(rng: random.Random) -> str:
    named = tag_of("n", EXAMPLE_PAYEE) if rng.random() < 0.5 else b""
    number = rng.choice((0, 1, ORDER - 1, ORDER, 2**256 - 1)).to_bytes(32, "big")

    def signer(digest: bytes) -> bytes:
        good = sign(digest)
        return rng.choice(
            (
                with_high_s(digest),
                good[:64] + bytes([rng.randrange(8)]),
                good[:32] + number + good[64:],
                number + good[32:],
                rng.randbytes(64) + good[64:],
            )
        )

    return crafted(MINIMUM + named, signer=signer)


def _damaged(rng: random.Random) -> str:
    if rng.random() < 0.05:
        return crafted(MINIMUM + tag("2", bytes(1023)) * rng.randrange(5, 8))
    text, letter = crafted(MINIMUM + _fields(rng)), rng.choice(bech32.ALPHABET + "1bio")
    at = rng.randrange(len(text))
    return rng.choice(
        (
            text[:at],
            text[:at] + letter + text[at + 1 :],
            text[:at] + text[at:].upper(),
            text[:at] + letter + text[at:],
            text + letter,
            text.upper(),
        )
    )


async def test_broken_invoices_are_refused_by_both_or_by_one_for_a_known_reason(lnd: Lnd) -> None:
    texts = broken(BROKEN_INVOICES)
    found = Comparison(Counter())
    for text, theirs in zip(texts, await lnd.decode_all(texts), strict=True):
        found.compare(text, theirs)
    # Each explanation is needed, and four invoices of five need none.
    assert set(found.counts) == {"both read", "both read the first", "both refuse", *STRICTER, *LAXER}, found.counts
    agreed = [found.counts[verdict] for verdict in ("both read", "both read the first", "both refuse")]
    assert min(agreed) > 100
    assert sum(agreed) > BROKEN_INVOICES * 4 // 5, found.counts
