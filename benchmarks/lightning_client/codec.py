"""BOLT 11 texts read and written, against the package ``bolt11``. Needs no node."""

from __future__ import annotations

import random
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
"""Times as many per second as the peer."""
INVOICES = 50
_CALLS_PER_LOOK = 10
"""Between two looks at the clock."""


async def codec_figures(quick: bool) -> list[Figure]:
    """Invoices decoded and encoded per second, ours and the peer's, in rounds that alternate.

    Reading recovers the payee from the signature. Writing signs, and ours then also checks the signature by recovering
    from it, which the peer does not. Both use coincurve. The rows are ``await codec_figures(quick)``.

    Args:
        quick: one short round of each instead of five.
    """
    rounds, seconds = (1, 0.25) if quick else (5, 0.5)
    key = PrivateKey(bytes([7]) * 32)
    found: list[Figure] = []
    for name, hints in (("", 0), (" with a route hint", 1)):
        fields = _invoices(hints)
        sign = partial(key.sign_recoverable, hasher=None)
        texts = [bolt11.encode(each, sign) for each in fields]
        theirs = [peer.decode(text) for text in texts]
        if [peer.encode(each, key.secret.hex()) for each in theirs] != texts:
            raise SystemExit("bolt11 writes other invoices")
        ways = {
            "decode": partial(_rate, seconds, bolt11.decode, texts),
            "their decode": partial(_rate, seconds, peer.decode, texts),
            "encode": partial(_rate, seconds, lambda each: bolt11.encode(each, sign), fields),
            "their encode": partial(_rate, seconds, lambda each: peer.encode(each, key.secret.hex()), theirs),
        }
        rates = await medians(rounds, ways)
        found += [
            faster(
                f"BOLT 11 texts{name} read, the payee recovered, against bolt11",
                "decodes/s",
                rates["decode"],
                rates["their decode"],
                aim=AIM,
            ),
            faster(
                f"BOLT 11 texts{name} signed and written, against bolt11",
                "encodes/s",
                rates["encode"],
                rates["their encode"],
                aim=AIM,
            ),
        ]
    return found


def _invoices(hints: int) -> list[InvoiceFields]:
    rng = random.Random(11)
    node = PrivateKey(bytes([8]) * 32).public_key.format()
    return [
        InvoiceFields(
            prefix="bc",
            amount_msat=rng.randrange(1, 10**10),
            timestamp=1_790_000_000 + rng.randrange(10**6),
            payment_hash=rng.randbytes(32),
            payment_secret=rng.randbytes(32),
            description=f"order {rng.randrange(10**9)} of a shop",
            min_final_cltv_expiry_delta=80,
            feature_bits=frozenset({8, 14, 17}),
            route_hints=((RouteHop(node, rng.getrandbits(60), 1000, 100, 40),),) * hints,
        )
        for _ in range(INVOICES)
    ]


async def _rate(seconds: float, call: Callable[[Item], object], items: list[Item]) -> float:
    count, start, each = 0, time.perf_counter(), cycle(items)
    while time.perf_counter() < start + seconds:
        for _ in range(_CALLS_PER_LOOK):
            call(next(each))
        count += _CALLS_PER_LOOK
    return count / (time.perf_counter() - start)
