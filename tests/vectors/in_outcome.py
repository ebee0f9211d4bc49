"""Outcomes, preimages, and headers up to a trusted one."""

from __future__ import annotations

from collections.abc import Iterator

import rlp  # type: ignore[import-untyped]  # ships no types
from eth_utils.crypto import keccak

from vectors import bases, evm, invoices
from vectors.documents import Document, changed, proof
from vectors.vector import Vector, refused, valid

__all__ = ["vectors"]


def vectors() -> Iterator[Vector]:
    """Cases of the classes ``outcome``, ``preimage`` and ``header-chain``."""
    yield valid("outcome/bob-to-lightning", bases.bob_to_lightning())
    yield valid("outcome/lightning-to-bob", bases.lightning_to_bob())
    yield valid("outcome/bob-to-rootstock", bases.bob_to_rootstock())
    yield valid("outcome/source-only", bases.source_only(), "partial")
    yield valid("outcome/destination-only", bases.lightning_to_bob() | {"source_leg": None}, "partial")
    yield valid("outcome/refunded", bases.refunded(), "refunded")
    base = bases.bob_to_lightning()
    nothing = {"source_leg": None, "destination_leg": None}
    yield refused("outcome/no-evidence", "evidence", base | nothing)
    yield refused("outcome/payment-only", "evidence", base | {"source_leg": None})
    refunded = bases.refunded() | {"destination_leg": invoices.payment()}
    yield refused("outcome/refunded-and-paid", "outcome", refunded)
    made = bases.rootstock_terms()
    ends = evm.claimed(made["source"], made, evm.REFUNDED), evm.claimed(made["destination"], made)
    yield refused("outcome/refunded-and-claimed", "outcome", proof(made, *ends))
    both = ends[0], evm.claimed(made["destination"], made, evm.REFUNDED)
    yield valid("outcome/both-refunded", proof(made, *both), "refunded")
    other = changed(base, destination_leg__preimage="00" * 32)
    yield refused("preimage/of-another-hash", "preimage", other)
    hash_as_preimage = changed(base, destination_leg__preimage=base["terms"]["payment_hash"])
    yield refused("preimage/the-hash-itself", "preimage", hash_as_preimage)
    yield from _header_chains(base)


def _header_chains(base: Document) -> Iterator[Vector]:
    chain = [bytes.fromhex(base["source_leg"]["header"])]
    while len(chain) < 5:
        chain.append(_child(chain[-1]))
    own, *later = chain

    def trusting(trusted: bytes) -> Document:
        return {"trusted_headers": {"BOB": keccak(trusted).hex()}}

    yield valid("header-chain/the-block-itself", base, policy=trusting(own))
    yield valid("header-chain/four-headers", base, policy=trusting(later[-1]), headers={"BOB": later})
    wrong: dict[str, list[bytes]] = {
        "no-headers": [],
        "missing-header": [later[0], *later[2:]],
        "missing-last-header": later[:-1],
        "newest-first": later[::-1],
        "with-the-own-header": chain,
        "header-after-the-trusted-one": [*later, _child(later[-1])],
        "malformed-header": [later[0], b"\xc0", *later[2:]],
        "header-with-another-number": [*later[:-1], _child(later[-2], step=2)],
        "header-with-another-parent": [*later[:-1], _child(_child(later[-3], seconds=3))],
        "header-at-the-same-time": [*later[:-1], _child(later[-2], seconds=0)],
    }
    made_for_the_policy = ("header-with-another-number", "header-with-another-parent", "header-at-the-same-time")
    for name, headers in wrong.items():
        trusted = headers[-1] if name in made_for_the_policy else later[-1]
        given = {"BOB": headers} if headers else {}
        yield refused(f"header-chain/{name}", "header_chain", base, policy=trusting(trusted), headers=given)
    yield refused("header-chain/an-earlier-block", "header_chain", base, policy={"trusted_headers": {"BOB": "00" * 32}})
    yield refused("header-chain/headers-without-a-trusted-one", "header_chain", base, headers={"BOB": later})
    other_layer = {"trusted_headers": {"BITCOIN": "00" * 32}}
    yield valid("header-chain/trusted-header-of-another-layer", base, policy=other_layer)


def _child(parent: bytes, *, step: int = 1, seconds: int = 2) -> bytes:
    items = rlp.decode(parent)
    number, time = (int.from_bytes(items[place], "big") for place in (8, 11))
    items[0], items[8], items[11] = keccak(parent), number + step, time + seconds
    encoded: bytes = rlp.encode(items)
    return encoded
