"""Lightning legs whose invoice is not valid, or is not the one of the terms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from bech32 import CHARSET, bech32_encode, convertbits
from eth_keys.constants import SECPK1_N

from vectors import bases, evm, invoices
from vectors.documents import AMOUNT, ISSUED_AT, PAYMENT_HASH, Document, terms
from vectors.keys import Key
from vectors.vector import Vector, refused, valid

__all__ = ["vectors"]

Groups: TypeAlias = Sequence[int]
Field: TypeAlias = tuple[str, Groups]
STRANGER = Key("stranger")
BLINDED_PATHS = "5"
"""The letter of type 20 (bLIP 39)."""
HOP = STRANGER.compressed + bytes(18)


def vectors() -> Iterator[Vector]:
    """Cases of the class ``invoice``."""
    yield from _texts()
    for name, fields in _accepted().items():
        yield valid(f"invoice/{name}", _with(_signed(fields)))
    for name, (reason, fields) in _refused().items():
        yield refused(f"invoice/{name}", reason, _with(_signed(fields)))
    yield from _signatures()
    yield from _terms()


def _groups(data: bytes) -> list[int]:
    groups = convertbits(data, 8, 5)
    assert groups is not None
    return groups


def _number(value: int, count: int) -> list[int]:
    return [value >> 5 * place & 31 for place in reversed(range(count))]


def _fields(**changes: Groups | None) -> list[Field]:
    """The fields of an invoice that is accepted, with others by their letter; None leaves one out."""
    usual: dict[str, Groups | None] = {
        "p": _groups(PAYMENT_HASH),
        "s": _groups(bytes(32)),
        "d": _groups(b"swap"),
        "x": _number(3600, 3),
        "c": _number(80, 2),
        "9": _number(1 << 14 | 1 << 8, 3),
    }
    return [(letter, groups) for letter, groups in (usual | changes).items() if groups is not None]


def _signed(
    fields: Sequence[Field],
    *,
    human: str = f"lnbcrt{AMOUNT * 10}n",
    key: Key = invoices.PAYEE,
    high: bool = False,
    recovery: int | None = None,
    given: bytes | None = None,
    tail: Groups = (),
) -> str:
    """An invoice with these fields, signed."""
    data = _number(ISSUED_AT - 1, 7)
    for letter, groups in fields:
        data += [CHARSET.index(letter), len(groups) >> 5, len(groups) & 31, *groups]
    data += tail
    bits = "".join(f"{group:05b}" for group in data)
    padded = bits + "0" * (-len(bits) % 8)
    signed = human.encode() + bytes(int(padded[at : at + 8], 2) for at in range(0, len(padded), 8))
    signature, recovery_id = key.ecdsa(hashlib.sha256(signed).digest())
    if high:
        s = SECPK1_N - int.from_bytes(signature[32:], "big")
        signature, recovery_id = signature[:32] + s.to_bytes(32, "big"), recovery_id ^ 1
    signature = signature if given is None else given
    last = recovery_id if recovery is None else recovery
    text: str = bech32_encode(human, data + _groups(signature + bytes([last])))
    return text


def _with(text: str, **changes: object) -> Document:
    return bases.bob_to_lightning(terms(evm.leg(), invoices.leg(invoice=text) | changes))


def _texts() -> Iterator[Vector]:
    text = _signed(_fields())
    yield valid("invoice/made-by-hand", _with(text))
    yield valid("invoice/made-by-a-library", _with(invoices.invoice()))
    place = len(text) - 20
    cases: dict[str, str] = {
        "upper-case": text.upper(),
        "mixed-case": text.replace("lnbcrt", "Lnbcrt"),
        "with-a-scheme": f"lightning:{text}",
        "with-a-space": f"{text} ",
        "empty": "",
        "wrong-checksum": text[:place] + ("q" if text[place] != "q" else "p") + text[place + 1 :],
        "cut-off": text[:-7],
        "without-separator": text.replace("1", ""),
        "foreign-character": text[:place] + "b" + text[place + 1 :],
        "not-ascii": text[:place] + "é" + text[place + 1 :],
        "unknown-network": _signed(_fields(), human="lnltc1m"),
        "no-lightning": _signed(_fields(), human="bcrt1m"),
        "amount-with-a-leading-zero": _signed(_fields(), human="lnbcrt01m"),
        "amount-with-an-unknown-multiplier": _signed(_fields(), human="lnbcrt1k"),
        "amount-with-a-fraction-of-a-millisatoshi": _signed(_fields(), human=f"lnbcrt{AMOUNT * 10_000 + 1}p"),
        "amount-above-all-bitcoin": _signed(_fields(), human="lnbcrt21000001"),
        "amount-of-21-digits": _signed(_fields(), human=f"lnbcrt{'1' * 21}p"),
        "too-long": _signed([*_fields(), *[("q", [0] * 1023)] * 6, ("q", [0] * 700)]),
        "too-short": bech32_encode("lnbcrt1m", [0] * 110),
    }
    for name, wrong in cases.items():
        yield refused(f"invoice/{name}", "invoice", _with(wrong))
    yield valid("invoice/amount-in-pico", _with(_signed(_fields(), human=f"lnbcrt{AMOUNT * 10_000}p")))
    yield valid("invoice/amount-in-micro", _with(_signed(_fields(), human=f"lnbcrt{AMOUNT // 100}u")))
    yield valid("invoice/amount-in-milli", _with(_signed(_fields(), human=f"lnbcrt{AMOUNT // 100_000}m")))


def _accepted() -> dict[str, list[Field]]:
    return {
        "unknown-field-is-ignored": [("q", [1] * 10), *_fields()],
        "address-of-version-19-is-ignored": [("f", [19, 1, 2, 3]), *_fields()],
        "description-hash": _fields(d=None, h=_groups(bytes(32))),
        "empty-description": _fields(d=[]),
        "no-expiry-and-no-delta": _fields(x=None, c=None),
        "feature-that-is-optional-and-unknown": _fields(**{"9": _number(1 << 101 | 1 << 14 | 1 << 8, 21)}),
        "route-hint": _fields(r=_groups(HOP)),
        "two-route-hints": [*_fields(), ("r", _groups(HOP)), ("r", _groups(HOP * 2))],
        "two-addresses": [*_fields(), ("f", [17, *_groups(bytes(20))]), ("f", [1, *_groups(bytes(32))])],
        "metadata": _fields(m=_groups(b"metadata")),
        "named-payee": _fields(n=_groups(invoices.PAYEE.compressed)),
    }


def _refused() -> dict[str, tuple[str, list[Field]]]:
    utf8, usual = _groups(b"\xff\xfe"), _fields()
    cases: dict[str, list[Field]] = {
        "hash-of-51-groups-before-another": [("p", [1] * 51), *usual],
        "hash-of-53-groups-after-another": [*usual, ("p", [1] * 53)],
        "secret-of-53-groups": [("s", [1] * 53), *usual],
        "secret-of-51-groups-and-blinded-paths": _fields(s=[1] * 51, **{BLINDED_PATHS: _groups(bytes(40))}),
        "payee-of-52-groups": [("n", [1] * 52), *usual],
        "description-hash-of-10-groups": [("h", [1] * 10), *usual],
        "no-hash": _fields(p=None),
        "no-secret": _fields(s=None),
        "no-description": _fields(d=None),
        "description-and-its-hash": _fields(h=_groups(bytes(32))),
        "description-that-is-not-utf-8": _fields(d=utf8),
        "description-that-is-not-utf-8-and-a-hash": _fields(d=utf8, h=_groups(bytes(32))),
        "description-with-padding-that-is-not-zero": _fields(d=[*_groups(b"swap")[:-1], 7]),
        "description-with-an-unneeded-group": _fields(d=[*_groups(b"swaps"), 0]),
        "hash-with-padding-that-is-not-zero": _fields(p=[*_groups(PAYMENT_HASH)[:-1], 31]),
        "expiry-with-a-leading-zero": _fields(x=[0, *_number(3600, 3)]),
        "expiry-that-is-too-long": _fields(x=_number(9_223_372_037, 7)),
        "delta-with-a-leading-zero": _fields(c=[0, 2, 16]),
        "delta-that-is-too-large": _fields(c=_number(2**32, 7)),
        "features-with-a-leading-zero": _fields(**{"9": [0, *_number(1 << 14 | 1 << 8, 3)]}),
        "required-feature-that-is-unknown": _fields(**{"9": _number(1 << 100 | 1 << 14 | 1 << 8, 21)}),
        "parts-without-a-secret-feature": _fields(**{"9": _number(1 << 17 | 1 << 8, 4)}),
        "route-hint-without-a-hop": _fields(r=[]),
        "route-hint-of-50-bytes": _fields(r=_groups(HOP[:-1])),
        "route-hint-of-a-point-that-is-not-on-the-curve": _fields(r=_groups(b"\x02" + b"\xff" * 50)),
        "address-without-a-version": _fields(f=[]),
        "address-of-version-0-with-21-bytes": _fields(f=[0, *_groups(bytes(21))]),
        "address-of-version-1-with-31-bytes": _fields(f=[1, *_groups(bytes(31))]),
        "address-of-version-2-with-41-bytes": _fields(f=[2, *_groups(bytes(41))]),
        "address-of-version-17-with-32-bytes": _fields(f=[17, *_groups(bytes(32))]),
        "address-with-padding-that-is-not-zero": _fields(f=[0, *_groups(bytes(32))[:-1], 1]),
        "route-hint-and-blinded-paths": _fields(r=_groups(HOP), **{BLINDED_PATHS: _groups(bytes(40))}),
    }
    named: dict[str, tuple[str, list[Field]]] = {name: ("invoice", fields) for name, fields in cases.items()}
    repeated = {
        "two-hashes": ("p", _groups(PAYMENT_HASH)),
        "two-secrets": ("s", _groups(bytes(32))),
        "two-descriptions": ("d", _groups(b"other")),
        "two-expiries": ("x", _number(7200, 3)),
        "two-deltas": ("c", _number(40, 2)),
        "two-feature-vectors": ("9", _number(1 << 14, 3)),
    }
    named |= {name: ("invoice_ambiguous", [*usual, field]) for name, field in repeated.items()}
    named["another-hash"] = ("invoice_hash", _fields(p=_groups(bytes(32))))
    named["blinded-paths"] = ("invoice_kind", _fields(**{BLINDED_PATHS: _groups(bytes(40))}))
    named["blinded-paths-without-a-secret"] = ("invoice_kind", _fields(s=None, **{BLINDED_PATHS: _groups(bytes(40))}))
    named["amp"] = ("invoice_kind", _fields(**{"9": _number(1 << 30 | 1 << 14 | 1 << 8, 7)}))
    return named


def _signatures() -> Iterator[Vector]:
    named = _fields(n=_groups(invoices.PAYEE.compressed))
    yield valid("invoice/high-s-without-a-named-payee", _with(_signed(_fields(), high=True)))
    yield refused("invoice/high-s-with-a-named-payee", "invoice", _with(_signed(named, high=True)))
    yield valid("invoice/another-recovery-id-with-a-named-payee", _with(_signed(named, recovery=2)))
    yield refused("invoice/recovery-id-of-4", "invoice", _with(_signed(_fields(), recovery=4)))
    yield refused("invoice/recovery-id-of-4-with-a-named-payee", "invoice", _with(_signed(named, recovery=4)))
    # No point of the curve has the x coordinate 5.
    nobody = (5).to_bytes(32, "big") + (1).to_bytes(32, "big")
    yield refused("invoice/signature-of-no-key", "invoice", _with(_signed(_fields(), given=nobody, recovery=0)))
    yield refused("invoice/signed-by-another-than-the-named-payee", "invoice", _with(_signed(named, key=STRANGER)))
    yield refused("invoice/signed-by-another", "invoice_payee", _with(_signed(_fields(), key=STRANGER)))
    cut = _signed(_fields(), tail=[CHARSET.index("d"), 0])
    yield refused("invoice/field-that-is-cut-off", "invoice", _with(cut))
    longer = _signed(_fields(), tail=[CHARSET.index("q"), 0, 5, 1])
    yield refused("invoice/field-longer-than-the-rest", "invoice", _with(longer))


def _terms() -> Iterator[Vector]:
    text, plain = _signed(_fields()), _signed(_fields(), human="lnbcrt")
    yield refused("invoice/without-an-amount", "invoice_amount", _with(plain))
    more = _signed(_fields(), human=f"lnbcrt{AMOUNT * 10 + 10}n")
    yield refused("invoice/over-more", "invoice_amount", _with(more))
    yield refused("invoice/terms-over-more", "invoice_amount", _with(text, amount_msat=str(AMOUNT * 1000 + 1)))
    yield refused("invoice/of-mainnet", "invoice_network", _with(_signed(_fields(), human=f"lnbc{AMOUNT * 10}n")))
    yield refused("invoice/terms-with-another-payee", "invoice_payee", _with(text, payee=STRANGER.compressed.hex()))
    made = {"too-early": ISSUED_AT - 62, "too-late": ISSUED_AT + 3600}
    for name, issued_at in made.items():
        at = terms(evm.leg(), invoices.leg(invoice=text), issued_at=issued_at)
        yield refused(f"invoice/terms-{name}", "invoice_time", bases.bob_to_lightning(at))
    for name, issued_at in {"60-seconds-before": ISSUED_AT - 61, "at-the-expiry": ISSUED_AT + 3599}.items():
        at = terms(evm.leg(), invoices.leg(invoice=text), issued_at=issued_at)
        yield valid(f"invoice/terms-{name}", bases.bob_to_lightning(at))
