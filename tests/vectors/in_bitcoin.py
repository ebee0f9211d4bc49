"""Evidence from Bitcoin that does not fit the leg, its headers or its block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vectors import bitcoin, evm, invoices
from vectors.bases import bob_terms, to_lightning
from vectors.bitcoin import HEIGHT, Output, Tx, sha256d
from vectors.documents import AMOUNT, PREIMAGE, Document, proof, terms
from vectors.vector import Vector, refused, valid

__all__ = ["vectors"]


def vectors() -> Iterator[Vector]:
    """Cases of the class ``bitcoin``."""
    yield from _ends()
    yield from _legs()
    yield from _headers()
    yield from _inclusion()
    yield from _trees()
    yield from _fundings()
    yield from _witnesses()


def _with(evidence: Document, of: Document | None = None) -> Document:
    leg = bitcoin.leg() if of is None else of
    return to_lightning(evidence, terms(leg, invoices.leg()))


def _ends() -> Iterator[Vector]:
    leg = bitcoin.leg()
    yield valid("bitcoin/claim", _with(bitcoin.evidence(leg)))
    made = terms(leg, invoices.leg())
    for name in ("refund", "release"):
        witness = getattr(bitcoin, f"{name}_witness")(leg)
        yield valid(f"bitcoin/{name}", proof(made, bitcoin.spend(leg, witness).evidence(), None), "refunded")
    to_bob = terms(leg, evm.leg(amount=str(AMOUNT)))
    both = bitcoin.evidence(leg), evm.claimed(to_bob["destination"], to_bob)
    yield valid("bitcoin/to-bob", proof(to_bob, *both))
    by_time = bitcoin.leg(locktime=1_800_000_000)
    yield valid("bitcoin/lock-until-a-time", _with(bitcoin.evidence(by_time), by_time))
    for locktime in (1, 16, 17, 127, 128, 32_768):
        early = bitcoin.leg(locktime=locktime)
        yield valid(f"bitcoin/lock-until-{locktime}", _with(bitcoin.evidence(early), early))
    for others in (1, 2, 7, 40):
        yield valid(f"bitcoin/block-with-{others}-others", _with(bitcoin.spend(leg, others=others).evidence()))


def _legs() -> Iterator[Vector]:
    for name, reason, leg in (
        ("another-amount", "amount", bitcoin.leg(amount=str(AMOUNT))),
        ("another-payment-hash", "payment_hash", bitcoin.leg(payment_hash="00" * 32)),
        ("prefix-of-another-network", "network", bitcoin.leg(prefix="bc")),
    ):
        yield refused(f"bitcoin/leg-with-{name}", reason, _with(bitcoin.evidence(leg), leg))
    wrong: dict[str, Document] = {
        "locktime-of-zero": {"locktime": 0},
        "locktime-of-2-to-the-31": {"locktime": 2**31},
        "height-of-500000000": {"issued_height": 500_000_000},
        "depth-of-1001": {"depth": 1001},
        "key-of-32-bytes": {"payee": "11" * 32},
    }
    for name, changes in wrong.items():
        other = bitcoin.leg(**changes)
        yield refused(f"format/bitcoin-{name}", "format", _with(bitcoin.evidence(bitcoin.leg()), other))
    evidence = bitcoin.evidence(bitcoin.leg())
    yield refused("bitcoin/a-spend-for-a-lock", "evidence", to_lightning(evidence))
    yield refused("bitcoin/a-preimage-for-a-spend", "evidence", _with(invoices.payment()))
    lock = bob_terms()
    yield refused("bitcoin/a-lock-for-a-spend", "evidence", _with(evm.claimed(lock["source"], lock)))


def _headers() -> Iterator[Vector]:
    leg = bitcoin.leg()
    evidence = bitcoin.evidence(leg)
    first, second, third = evidence["headers"]
    merkle_root = bytes.fromhex(first)[36:68]
    without_work = bitcoin.mined(b"\x0c" * 32, merkle_root, has_work=False).hex()
    wrong: dict[str, list[str]] = {
        "no-headers": [],
        "header-of-79-bytes": [first[:-2], second, third],
        "header-of-81-bytes": [first + "00", second, third],
        "header-without-work": [without_work],
        "later-header-without-work": [
            first,
            bitcoin.mined(sha256d(bytes.fromhex(first)), bytes(32), has_work=False).hex(),
        ],
        "headers-in-reverse": [third, second, first],
        "missing-header": [first, third],
        "repeated-header": [first, first],
        "negative-target": [first[:144] + "ffff8020" + first[152:]],
        "target-of-zero": [first[:144] + "00000020" + first[152:]],
        "target-above-2-to-the-256": [first[:144] + "ffff7f23" + first[152:]],
    }
    for name, headers in wrong.items():
        yield refused(f"bitcoin/{name}", "header", _with(evidence | {"headers": headers}))
    yield valid("bitcoin/one-header", _with(bitcoin.spend(leg, headers=1).evidence()))
    on_mainnet = terms(bitcoin.leg(prefix="bc"), evm.leg(amount=str(AMOUNT)), network="mainnet")
    easy = proof(on_mainnet, bitcoin.evidence(on_mainnet["source"]), None)
    yield refused("bitcoin/regtests-work-on-mainnet", "header", easy)
    old = bitcoin.leg(issued_height=HEIGHT + 145)
    yield refused("bitcoin/block-older-than-the-terms", "header", _with(bitcoin.evidence(old), old))
    day = bitcoin.leg(issued_height=HEIGHT + 144)
    yield valid("bitcoin/block-at-the-oldest-height", _with(bitcoin.evidence(day), day))


def _inclusion() -> Iterator[Vector]:
    leg = bitcoin.leg()
    evidence = bitcoin.evidence(leg)
    path = evidence["witness_path"]
    spend = bitcoin.spend(leg)
    wrong: dict[str, Document] = {
        "witness-path-too-short": {"witness_path": path[:-1]},
        "paths-too-short": {"witness_path": path[:-1], "coinbase_path": evidence["coinbase_path"][:-1]},
        "path-with-a-hash-of-31-bytes": {"witness_path": [path[0][:-2], *path[1:]]},
        "changed-path": {"witness_path": [path[1], path[0], *path[2:]]},
        "changed-coinbase-path": {"coinbase_path": path},
        "another-index": {"index": 3},
        "index-0": {"index": 0},
        "index-beyond-the-tree": {"index": 10},
        "transaction-of-nothing": {"transaction": ""},
        "transaction-followed-by-a-byte": {"transaction": evidence["transaction"] + "00"},
        "transaction-without-witnesses": {"transaction": spend.transaction.encode(witnesses=False).hex()},
        "coinbase-without-its-witness": {"coinbase": _coinbase_without_witness(evidence)},
        "coinbase-of-nothing": {"coinbase": ""},
    }
    for name, changes in wrong.items():
        yield refused(f"bitcoin/{name}", "inclusion", _with(evidence | changes))
    good = sha256d(b"another commitment")
    for name, made in {
        "no-commitment": replace(spend, commitments=[]),
        "another-commitment": replace(spend, commitments=[bitcoin.MARK + good]),
        "short-commitment": replace(spend, commitments=[bitcoin.MARK + good[:-1]]),
        "no-reserved-value": replace(spend, reserved=()),
        "reserved-value-of-31-bytes": replace(spend, reserved=(bytes(31),)),
        "two-reserved-values": replace(spend, reserved=(bytes(32), bytes(32))),
        "no-height": replace(spend, coinbase_script=b""),
        "height-in-five-bytes": replace(spend, coinbase_script=b"\x05" + HEIGHT.to_bytes(5, "little")),
        "height-with-an-unneeded-byte": replace(spend, coinbase_script=b"\x04" + HEIGHT.to_bytes(4, "little")),
        "height-that-is-cut-off": replace(spend, coinbase_script=b"\x03" + HEIGHT.to_bytes(3, "little")[:2]),
        "small-height-in-a-byte": replace(spend, coinbase_script=b"\x01\x10"),
    }.items():
        yield refused(f"bitcoin/{name}", "inclusion", _with(made.evidence()))
    changed = replace(
        spend.transaction,
        inputs=(spend.transaction.inputs[0], replace(spend.transaction.inputs[1], witness=bitcoin.refund_witness(leg))),
    )
    other_witness = evidence | {"transaction": changed.encode().hex()}
    yield refused("bitcoin/another-witness", "inclusion", _with(other_witness))


class _MarkedWithoutWitnesses(Tx):
    """A transaction that has the marker of witnesses, and only empty ones."""

    def encode(self, *, witnesses: bool = True) -> bytes:
        plain = replace(self, inputs=tuple(replace(each, witness=()) for each in self.inputs))
        data = Tx(plain.inputs, plain.outputs, plain.locktime).encode()
        return data[:4] + b"\x00\x01" + data[4:-4] + bytes(len(self.inputs)) + data[-4:] if witnesses else data


def _trees() -> Iterator[Vector]:
    """Blocks that miners could make, with proofs that must not be accepted, or transactions that no block contains."""
    leg = bitcoin.leg()
    spend = bitcoin.spend(leg)
    own = spend.transaction.witness_hash
    first = [own, *[bytes([place]) * 32 for place in range(1, 6)]]
    path = [each.hex() for each in bitcoin.path(first, 0)]
    index_0 = replace(spend, leaves=first).evidence() | {"index": 0, "witness_path": path}
    yield refused("bitcoin/index-0-in-the-witness-tree", "inclusion", _with(index_0))
    deep = [bytes(32), bytes([1]) * 32, own, *[bytes([place]) * 32 for place in range(3, 12)]]
    yield refused("bitcoin/deeper-witness-tree", "inclusion", _with(replace(spend, leaves=deep).evidence()))
    # The last of five transactions is repeated in the tree (CVE-2012-2459).
    repeated = replace(spend, others=3, index=4).evidence()
    yield valid("bitcoin/last-of-an-odd-number", _with(repeated))
    yield refused("bitcoin/repetition-of-the-last", "inclusion", _with(repeated | {"index": 5}))
    made = spend.transaction
    most = 21_000_000 * 100_000_000
    for name, reason, changed in (
        ("transaction-without-outputs", "inclusion", replace(made, outputs=())),
        ("output-above-all-bitcoin", "inclusion", replace(made, outputs=(Output(most + 1, b"\x51"),))),
        ("marker-without-witnesses", "inclusion", _MarkedWithoutWitnesses(made.inputs, made.outputs)),
    ):
        yield refused(f"bitcoin/{name}", reason, _with(replace(spend, transaction=changed).evidence()))
    all_of_it = replace(made, outputs=(Output(most, b"\x51"),))
    yield valid("bitcoin/output-of-all-bitcoin", _with(replace(spend, transaction=all_of_it).evidence()))


def _coinbase_without_witness(evidence: Document) -> str:
    data = bytes.fromhex(evidence["coinbase"])
    # The marker after the version, and one item of 32 bytes before the lock time.
    return (data[:4] + data[6:-38] + data[-4:]).hex()


def _fundings() -> Iterator[Vector]:
    leg = bitcoin.leg()
    evidence, funded = bitcoin.evidence(leg), bitcoin.funding(leg)
    other = replace(funded, locktime=1)
    with_witness = replace(funded, inputs=(replace(funded.inputs[0], witness=(b"\x01",)),))
    for name, data in {
        "another-funding": other.encode(),
        "no-funding": b"",
        "funding-followed-by-a-byte": funded.encode() + b"\x00",
        "funding-with-witnesses": with_witness.encode(),
    }.items():
        yield refused(f"bitcoin/{name}", "funding", _with(evidence | {"funding": data.hex()}))
    funding = funded.encode()
    for name, data in {
        "funding-followed-by-a-byte-under-its-hash": funding + b"\x00",
        "funding-that-is-cut-off-under-its-hash": funding[:-1],
        "funding-with-a-marker-under-its-hash": with_witness.encode(),
    }.items():
        spend = bitcoin.spend(leg)
        first, second = spend.transaction.inputs
        spending = replace(spend.transaction, inputs=(first, replace(second, tx_hash=sha256d(data))))
        spent = replace(spend, transaction=spending, funding=data).evidence()
        yield refused(f"bitcoin/{name}", "funding", _with(spent))
    cut = Tx(funded.inputs, funded.outputs[:1])
    yield refused("bitcoin/funding-without-the-output", "funding", _with(bitcoin.spend(leg, funded=cut).evidence()))
    for name, amount in {"less": int(leg["amount"]) - 1, "more": int(leg["amount"]) + 1}.items():
        made = bitcoin.spend(leg, funded=bitcoin.funding(leg, amount=amount))
        yield refused(f"bitcoin/funding-of-{name}", "amount", _with(made.evidence()))
    key_hash = bitcoin.spend(leg, funded=bitcoin.funding(leg, script=b"\x00\x14" + bytes(20)))
    yield refused("bitcoin/funding-of-another-script", "script", _with(key_hash.evidence()))
    # Consensus judges no witness of a future version: anyone can spend such an output with any witness.
    future = bitcoin.funding(leg, script=b"\x52" + bitcoin.program(leg)[1:])
    for name in ("claim", "refund"):
        witness = getattr(bitcoin, f"{name}_witness")(leg)
        made = bitcoin.spend(leg, witness, funded=future)
        yield refused(f"bitcoin/{name}-of-an-output-of-a-future-version", "script", _with(made.evidence()))


def _witnesses() -> Iterator[Vector]:
    leg = bitcoin.leg()
    script = bitcoin.script(leg)
    yield refused("bitcoin/input-that-does-not-exist", "input", _with(bitcoin.spend(leg, input=2).evidence()))
    signature = b"\x30" * 71
    wrong: dict[str, tuple[bytes, ...]] = {
        "another-preimage": (signature, bytes(32), b"\x01", script),
        "three-items": (signature, PREIMAGE, script),
        "five-items": (signature, PREIMAGE, b"\x01", b"", script),
    }
    for name, witness in wrong.items():
        yield refused(f"bitcoin/witness-with-{name}", "script", _with(bitcoin.spend(leg, witness).evidence()))
    other = bitcoin.leg(locktime=bitcoin.LOCKTIME + 1)
    yield refused("bitcoin/spend-of-another-leg", "script", _with(bitcoin.evidence(other)))
    for name, selector in {"two": b"\x02", "two-bytes": b"\x00\x01", "minus-one": b"\x81"}.items():
        witness = (signature, PREIMAGE, selector, script)
        yield valid(f"bitcoin/claim-by-the-selector-{name}", _with(bitcoin.spend(leg, witness).evidence()))
    made = terms(leg, invoices.leg())
    for name, selector in {"zero": b"\x00", "negative-zero": b"\x80", "long-zero": b"\x00\x00"}.items():
        witness = (b"", signature, selector, script)
        returned = proof(made, bitcoin.spend(leg, witness).evidence(), None)
        yield valid(f"bitcoin/refund-by-the-selector-{name}", returned, "refunded")
    yield from _chains()


def _chains() -> Iterator[Vector]:
    evidence = bitcoin.evidence(bitcoin.leg())
    hashes = [sha256d(bytes.fromhex(each))[::-1].hex() for each in evidence["headers"]]
    for place, trusted in enumerate(hashes):
        policy: Document = {"trusted_headers": {"BITCOIN": trusted}}
        yield valid(f"bitcoin/trusted-header-{place}", _with(evidence), policy=policy)
    first = bytes.fromhex(evidence["headers"][-1])
    later = [first]
    while len(later) < 4:
        later.append(bitcoin.mined(sha256d(later[-1]), bytes(32)))
    # The given headers begin with the child of the leg's block.
    chain = [*map(bytes.fromhex, evidence["headers"][1:]), *later[1:]]
    policy = {"trusted_headers": {"BITCOIN": sha256d(chain[-1])[::-1].hex()}}
    yield valid("bitcoin/headers-up-to-a-trusted-one", _with(evidence), policy=policy, headers={"BITCOIN": chain})
    wrong: dict[str, list[bytes]] = {
        "missing-header": [chain[0], *chain[2:]],
        "reversed-headers": chain[::-1],
        "header-of-79-bytes": [*chain[:-1], chain[-1][:-1]],
        "headers-from-the-block": [bytes.fromhex(evidence["headers"][0]), *chain],
        "headers-after-the-last": later[1:],
    }
    for name, given in wrong.items():
        refusal = refused(
            f"bitcoin/chain-with-{name}", "header_chain", _with(evidence), policy=policy, headers={"BITCOIN": given}
        )
        yield refusal
    without_work = bitcoin.mined(sha256d(chain[-1]), bytes(32), has_work=False)
    known: Document = {"trusted_headers": {"BITCOIN": sha256d(without_work)[::-1].hex()}}
    further = {"BITCOIN": [*chain, without_work]}
    yield valid("bitcoin/trusted-header-without-work", _with(evidence), policy=known, headers=further)
    in_evidence: Document = {"trusted_headers": {"BITCOIN": hashes[-1]}}
    nothing: dict[str, list[bytes]] = {"BITCOIN": []}
    yield refused("bitcoin/empty-chain", "header_chain", _with(evidence), policy=in_evidence, headers=nothing)
    unknown: Document = {"trusted_headers": {"BITCOIN": "00" * 32}}
    yield refused("bitcoin/unknown-trusted-header", "header_chain", _with(evidence), policy=unknown)
