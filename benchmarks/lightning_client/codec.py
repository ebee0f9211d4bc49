"""BOLT 11 invoices decoded and encoded, compared with the package ``bolt11``. Needs no node."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import TypeVar

import bolt11 as peer
from coincurve import PrivateKey
from figures import Figure, faster
from load.rounds import medians

from layer2.formats import bolt11
from layer2.formats.bolt11 import InvoiceFields, RouteHop

__all__ = ["codec_figures"]

Item = TypeVar("Item")

AIM = 15
"""The aim as a multiple of the peer's rate."""
PAYEE, NODE = (PrivateKey(bytes([number]) * 32) for number in (7, 8))
_CALLS_PER_LOOK = 10
"""Calls between two readings of the clock."""


async def codec_figures(quick: bool) -> list[Figure]:
    """Invoices decoded and encoded per second, ours and the peer's, in alternating rounds.

    Decoding recovers the payee from the signature. Encoding signs. Ours then also recovers the key to check the
    signature; the peer does not. Both use coincurve.

    Args:
        quick: one short round of each instead of five.
    """
    plain = await _compared("BOLT 11 texts", _invoices(()), quick)
    hint = (RouteHop(NODE.public_key.format(), 700_000 << 40, 1000, 100, 40),)
    return plain + await _compared("BOLT 11 texts with a route hint", _invoices((hint,)), quick)


async def _compared(what: str, invoices: list[InvoiceFields], quick: bool) -> list[Figure]:
    rounds, seconds = (1, 0.25) if quick else (5, 0.5)
    sign, secret = partial(PAYEE.sign_recoverable, hasher=None), PAYEE.secret.hex()
    texts = [bolt11.encode(invoice, sign) for invoice in invoices]
    theirs = [peer.decode(text) for text in texts]
    if [peer.encode(invoice, secret) for invoice in theirs] != texts:
        raise SystemExit("bolt11 encodes different invoices")

    def encode(invoice: InvoiceFields) -> str:
        return bolt11.encode(invoice, sign)

    def peer_encode(invoice: peer.Bolt11) -> str:
        return peer.encode(invoice, secret)

    rates = await medians(
        rounds,
        {
            "decode": partial(_rate, seconds, bolt11.decode, texts),
            "decode, bolt11": partial(_rate, seconds, peer.decode, texts),
            "encode": partial(_rate, seconds, encode, invoices),
            "encode, bolt11": partial(_rate, seconds, peer_encode, theirs),
        },
    )
    read, written = (
        f"{what} read and their payee recovered, against bolt11",
        f"{what} signed and written, against bolt11",
    )
    return [
        faster(read, "decodes/s", rates["decode"], rates["decode, bolt11"], aim=AIM),
        faster(written, "encodes/s", rates["encode"], rates["encode, bolt11"], aim=AIM),
    ]


def _invoices(hints: tuple[tuple[RouteHop, ...], ...]) -> list[InvoiceFields]:
    return [
        InvoiceFields(
            prefix="bc",
            amount_msat=1_234_567 * number,
            timestamp=1_790_000_000 + number,
            payment_hash=hashlib.sha256(b"hash %d" % number).digest(),
            payment_secret=hashlib.sha256(b"secret %d" % number).digest(),
            description=f"order {number} of a shop",
            min_final_cltv_expiry_delta=80,
            feature_bits=frozenset({8, 14, 17}),
            route_hints=hints,
        )
        for number in range(1, 51)
    ]


async def _rate(seconds: float, call: Callable[[Item], object], items: list[Item]) -> float:
    count, start, each = 0, time.perf_counter(), cycle(items)
    while time.perf_counter() < start + seconds:
        for _ in range(_CALLS_PER_LOOK):
            call(next(each))
        count += _CALLS_PER_LOOK
    return count / (time.perf_counter() - start)
