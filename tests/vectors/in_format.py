"""Files that are not proofs: canonical JSON, types, limits and versions."""

from __future__ import annotations

import json
from collections.abc import Iterator

from vectors import bases, bitcoin, invoices
from vectors.documents import Document, canonical, changed, proof, terms
from vectors.vector import Vector, refused

__all__ = ["vectors"]


def vectors() -> Iterator[Vector]:
    """Cases of the class ``format``."""
    base = bases.bob_to_lightning()
    for name, data in _bytes(base).items():
        yield refused(f"format/{name}", "format", data)
    for name, document in _documents(base).items():
        yield refused(f"format/{name}", "format", document)


def _bytes(base: Document) -> dict[str, bytes]:
    data = canonical(base)
    version = b'"version":1}'
    assert data.endswith(version)
    return {
        "empty": b"",
        "white-space-at-the-end": data + b"\n",
        "white-space-inside": data.replace(b'":', b'": ', 1),
        "byte-order-mark": b"\xef\xbb\xbf" + data,
        "indented": json.dumps(base, indent=1, sort_keys=True).encode(),
        "names-in-another-order": json.dumps(dict(reversed(base.items())), separators=(",", ":")).encode(),
        "escaped-letter": data.replace(b'"BTC"', b'"\\u0042TC"', 1),
        "escaped-slash": data.replace(b"terms_signature", b"terms\\/signature", 1),
        "upper-case-escape": changed_text(base, "\x1f").replace(b"\\u001f", b"\\u001F"),
        "long-escape-of-a-line-feed": changed_text(base, "\n").replace(b"\\n", b"\\u000a"),
        "number-with-fraction": data.replace(version, b'"version":1.0}'),
        "number-with-exponent": data.replace(version, b'"version":1e0}'),
        "number-with-leading-zero": data.replace(version, b'"version":01}'),
        "negative-zero": data.replace(b'"log_index":0', b'"log_index":-0', 1),
        "not-a-number": data.replace(version, b'"version":NaN}'),
        "repeated-name": data.replace(version, b'"version":1,"version":1}'),
        "second-document": data + data,
        "cut-off": data[:-1],
        "not-utf-8": data.replace(b'"BTC"', b'"\xff\xfe\xfd"', 1),
        "lone-surrogate": data.replace(b'"BTC"', b'"\\ud800"', 1),
        "overlong-utf-8": data.replace(b'"BTC"', b'"\xc0\x80TC"', 1),
        "deep-list": b"[" * 65 + b"]" * 65,
        "a-list": b"[" + data + b"]",
        "a-text": b'"' + b"proof" + b'"',
        "null": b"null",
        "number-of-5000-digits": data.replace(version, b'"version":' + b"1" * 5_000 + b"}"),
        "too-long": _too_long(base),
        "too-many-values": canonical(_many_values()),
    }


def _too_long(base: Document) -> bytes:
    """A file of 1,000,001 bytes of which no part is too long."""
    empty = canonical(changed(base, source_leg__receipt_proof=[""] * 6))
    missing = 1_000_001 - len(empty)
    # A node has an even number of digits: the invoice gives the odd one.
    odd = missing % 2
    nodes = ["00" * 90_000] * 5
    nodes.append("00" * ((missing - odd) // 2 - 5 * 90_000))
    longer = changed(base, source_leg__receipt_proof=nodes)
    longer["terms"]["destination"]["invoice"] += "q" * odd
    data = canonical(longer)
    assert len(data) == 1_000_001
    return data


def _many_values() -> Document:
    """A file with 10,001 commas and brackets or more of which no list is too long."""
    made = terms(bitcoin.leg(), invoices.leg(invoice="," * 8_000))
    evidence = bitcoin.evidence(bitcoin.leg()) | {"headers": [""] * 2_016}
    return proof(made, evidence, invoices.payment())


def changed_text(base: Document, text: str) -> bytes:
    """The file with a control character in a text."""
    return canonical(changed(base, terms__asset=f"BTC{text}"))


def _documents(base: Document) -> dict[str, Document]:
    without: dict[str, Document] = {}
    for name in base:
        without[f"without-{name}"] = {key: value for key, value in base.items() if key != name}
    for name in base["terms"]:
        inner = {key: value for key, value in base["terms"].items() if key != name}
        without[f"terms-without-{name}"] = base | {"terms": inner}
    hash_ = base["terms"]["payment_hash"]
    signature = base["attestations"][0]
    return without | {
        "unknown-field": base | {"note": ""},
        "unknown-field-in-terms": changed(base, terms__note=""),
        "unknown-field-in-evidence": changed(base, source_leg__note=""),
        "unknown-field-in-leg": changed(base, terms__source__note=""),
        "version-0": base | {"version": 0},
        "version-2": base | {"version": 2},
        "version-true": base | {"version": True},
        "version-text": base | {"version": "1"},
        "terms-version-2": changed(base, terms__version=2),
        "upper-case-hex": changed(base, terms__payment_hash=hash_.upper()),
        "prefixed-hex": changed(base, terms__payment_hash="0x" + hash_[2:]),
        "odd-hex": changed(base, terms__payment_hash=hash_[:-1]),
        "short-hash": changed(base, terms__payment_hash=hash_[:-2]),
        "long-hash": changed(base, terms__payment_hash=hash_ + "00"),
        "hash-with-space": changed(base, terms__payment_hash=" " + hash_[1:]),
        "amount-number": changed(base, terms__amount=100_000),
        "amount-with-zero": changed(base, terms__amount="0100000"),
        "amount-negative": changed(base, terms__amount="-1"),
        "amount-with-sign": changed(base, terms__amount="+100000"),
        "amount-empty": changed(base, terms__amount=""),
        "amount-of-79-digits": changed(base, terms__amount="1" * 79),
        "amount-in-other-digits": changed(base, terms__amount="\u0661\u0660\u0660"),
        "time-negative": changed(base, terms__issued_at=-1),
        "time-too-large": changed(base, terms__issued_at=2**53),
        "time-null": changed(base, terms__issued_at=None),
        "network-too-long": changed(base, terms__network="regtest" * 3),
        "unknown-kind": changed(base, terms__source__kind="liquid"),
        "unknown-layer": changed(base, terms__source__layer="BASE"),
        "unknown-finality": changed(base, terms__source__finality="soon"),
        "decimals-of-37": changed(base, terms__source__token_decimals=37),
        "provider-key-of-31-bytes": changed(base, terms__provider="11" * 31),
        "provider-key-of-34-bytes": changed(base, terms__provider="11" * 34),
        "invoice-of-8001-characters": changed(base, terms__destination__invoice="l" * 8_001),
        "no-attestation": base | {"attestations": []},
        "two-signatures": base | {"attestations": [signature, signature]},
        "unknown-attestation": changed(base, attestations=[signature | {"type": "witness_signature"}]),
        "unknown-scheme": changed(base, attestations=[signature | {"scheme": "ed25519"}]),
        "signature-of-63-bytes": changed(base, attestations=[signature | {"signature": "11" * 63}]),
        "attestations-not-a-list": base | {"attestations": signature},
        "unknown-evidence": changed(base, source_leg__type="evm_log"),
        "reserved-bolt12-payer-proof": base | {"destination_leg": {"type": "bolt12_payer_proof"}},
        "reserved-anchored-header": base | {"source_leg": {"type": "anchored_header"}},
        "evidence-is-a-list": base | {"source_leg": [base["source_leg"]]},
        "header-too-long": changed(base, source_leg__header="00" * 2_001),
        "65-nodes": changed(base, source_leg__receipt_proof=["00"] * 65),
        "node-too-long": changed(base, source_leg__receipt_proof=["00" * 100_001]),
        "node-is-a-number": changed(base, source_leg__receipt_proof=[0]),
        "index-above-2-to-the-32": changed(base, source_leg__transaction_index=2**32 + 1),
        "index-is-true": changed(base, source_leg__log_index=False),
        "preimage-of-31-bytes": changed(base, destination_leg__preimage="11" * 31),
    }
