"""Completion statements that are signed wrongly, are about something else, or contradict the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eth_utils.crypto import keccak

from vectors import bases, bitcoin, evm, invoices
from vectors.documents import (
    AMOUNT,
    FEE,
    ISSUED_AT,
    PROVIDER,
    Document,
    canonical,
    proof,
    terms,
    terms_hash,
)
from vectors.keys import Key, tagged
from vectors.vector import Vector, refused, undecided, valid

__all__ = ["vectors"]

STRANGER = Key("stranger")
BLOCK = {"number": 1234, "hash": "12" * 32}
FINAL = {"block": BLOCK, "finality": "finalized"}
SETTLED = {"block": None, "finality": "settled"}
UNFUNDED = {"block": None, "finality": "unfunded"}
KNOWN: Document = {"providers": [PROVIDER.x.hex()]}
STATED = KNOWN | {"requires": "stated"}


def vectors() -> Iterator[Vector]:
    """Cases of the class ``statement``."""
    yield from _accepted()
    yield from _wrong()
    yield from _contradictions()
    yield from _required()
    yield from _malformed()


def _statement(made: Document, **changes: Any) -> Document:
    """The statement of a completed transfer from a chain to Lightning."""
    return {
        "version": 1,
        "terms_hash": terms_hash(made).hex(),
        "outcome": "completed",
        "received": str(AMOUNT + FEE),
        "paid": str(AMOUNT),
        "source": FINAL,
        "destination": SETTLED,
        "stated_at": ISSUED_AT + 3600,
    } | changes


def _refund(made: Document, **changes: Any) -> Document:
    nothing = {"outcome": "refunded", "received": "0", "paid": "0", "destination": UNFUNDED}
    return _statement(made, **nothing | changes)


def _attested(base: Document, statement: Document, key: Key = PROVIDER, **changes: Any) -> Document:
    digest = tagged("layer2/completion/v1", canonical(statement))
    by_schnorr = len(base["terms"]["provider"]) == 64
    attestation = {
        "type": "completion_statement",
        "statement": statement,
        "scheme": "bip340" if by_schnorr else "ecdsa",
        "signature": (key.schnorr(digest) if by_schnorr else key.ecdsa(digest)[0]).hex(),
    } | changes
    return base | {"attestations": [base["attestations"][0], attestation]}


def _base(**changes: Any) -> Document:
    base = bases.bob_to_lightning()
    return _attested(base, _statement(base["terms"], **changes))


def _accepted() -> Iterator[Vector]:
    yield valid("statement/bob-to-lightning", _base())
    yield valid("statement/of-an-unknown-provider", _base(), policy={"networks": ["regtest"]})
    back = bases.lightning_to_bob()
    to_bob = _statement(back["terms"], source=SETTLED, destination=FINAL)
    yield valid("statement/lightning-to-bob", _attested(back, to_bob), policy=STATED)
    two = bases.bob_to_rootstock()
    both = _attested(two, _statement(two["terms"], destination=FINAL))
    yield valid("statement/bob-to-rootstock", both, policy=STATED)
    onchain = terms(bitcoin.leg(), invoices.leg())
    spent = proof(onchain, bitcoin.evidence(bitcoin.leg()), invoices.payment())
    yield valid("statement/bitcoin-to-lightning", _attested(spent, _statement(onchain)), policy=STATED)
    returned = bases.refunded()
    yield valid("statement/refunded", _attested(returned, _refund(returned["terms"])), "refunded", policy=STATED)
    held = _refund(returned["terms"], destination=SETTLED)
    yield valid("statement/refunded-after-a-payment", _attested(returned, held), "refunded", policy=STATED)
    ecdsa = bases.bob_to_lightning(bases.bob_terms(provider=PROVIDER.compressed.hex()))
    yield valid("statement/signed-by-ecdsa", _attested(ecdsa, _statement(ecdsa["terms"])))
    part = _attested(bases.source_only(), _statement(bases.source_only()["terms"]))
    yield valid("statement/of-a-leg-without-evidence", part, "partial", policy=STATED)
    yield valid("statement/at-the-issue", _base(stated_at=ISSUED_AT))


def _wrong() -> Iterator[Vector]:
    base = bases.bob_to_lightning()
    other = bases.bob_terms(swap_id="99" * 16)
    yield refused("statement/about-other-terms", "statement_terms", _attested(base, _statement(other)))
    by_stranger = _attested(base, _statement(base["terms"]), STRANGER)
    yield refused("statement/signed-by-a-stranger", "statement_signature", by_stranger)
    changed = _attested(base, _statement(base["terms"]))
    late = changed["attestations"][1] | {"statement": _statement(base["terms"], stated_at=ISSUED_AT + 1)}
    altered = changed | {"attestations": [changed["attestations"][0], late]}
    yield refused("statement/changed-after-signing", "statement_signature", altered)
    of_terms = changed["attestations"][1] | {"signature": base["attestations"][0]["signature"]}
    copied = changed | {"attestations": [changed["attestations"][0], of_terms]}
    yield refused("statement/with-the-signature-of-the-terms", "statement_signature", copied)
    as_ecdsa = _attested(base, _statement(base["terms"]), scheme="ecdsa")
    yield refused("statement/scheme-of-another-key", "statement_signature", as_ecdsa)
    amounts: dict[str, Document] = {
        "less-received": {"received": str(AMOUNT)},
        "more-received": {"received": str(AMOUNT + FEE + 1)},
        "less-paid": {"paid": str(AMOUNT - 1)},
        "nothing-paid": {"paid": "0"},
    }
    for name, changes in amounts.items():
        yield refused(f"statement/{name}", "statement_amounts", _base(**changes))
    ends: dict[str, Document] = {
        "lock-that-is-settled": {"source": SETTLED},
        "payment-that-is-finalized": {"destination": FINAL},
        "lock-without-a-block": {"source": {"block": None, "finality": "finalized"}},
        "payment-with-a-block": {"destination": {"block": BLOCK, "finality": "settled"}},
        "completed-and-unfunded": {"destination": UNFUNDED},
    }
    for name, changes in ends.items():
        yield refused(f"statement/{name}", "statement_finality", _base(**changes))
    returned = bases.refunded()
    refunds: dict[str, Document] = {
        "both-unfunded": {"source": UNFUNDED},
        "unfunded-with-a-block": {"destination": {"block": BLOCK, "finality": "unfunded"}},
    }
    for name, changes in refunds.items():
        made = _attested(returned, _refund(returned["terms"], **changes))
        yield refused(f"statement/{name}", "statement_finality", made)
    kept = _attested(returned, _refund(returned["terms"], received=str(AMOUNT + FEE)))
    yield refused("statement/refunded-and-kept", "statement_amounts", kept)
    yield refused("statement/older-than-the-terms", "statement_time", _base(stated_at=ISSUED_AT - 1))


def _contradictions() -> Iterator[Vector]:
    base, returned = bases.bob_to_lightning(), bases.refunded()
    yield refused("statement/refunded-and-claimed", "statement", _attested(base, _refund(base["terms"])))
    completed = _attested(returned, _statement(returned["terms"]))
    yield refused("statement/completed-and-refunded", "statement", completed)
    made = bases.rootstock_terms()
    ends = [evm.claimed(made[side], made, evm.REFUNDED) for side in ("source", "destination")]
    unfunded = _attested(proof(made, *ends), _refund(made))
    yield refused("statement/unfunded-and-refunded", "statement", unfunded)


def _required() -> Iterator[Vector]:
    plain, returned = bases.bob_to_lightning(), bases.refunded()
    yield valid("statement/required-of-a-known-provider", _base(), policy=STATED)
    yield undecided("statement/required-and-missing", plain, policy=STATED)
    yield undecided("statement/required-of-a-refund", returned, policy=STATED)
    yield undecided("statement/required-of-an-unknown-provider", _base(), policy={"requires": "stated"})
    for requires in ("as_agreed", "finalized"):
        yield undecided(f"statement/not-enough-for-{requires}", _base(), policy=KNOWN | {"requires": requires})
    own = keccak(bytes.fromhex(plain["source_leg"]["header"])).hex()
    trusting: Document = {"trusted_headers": {"BOB": own}}
    for requires in ("as_agreed", "finalized"):
        policy = trusting | {"requires": requires}
        yield valid(f"statement/not-needed-for-{requires}-with-a-trusted-header", plain, policy=policy)
    lightning = trusting | STATED
    yield undecided("statement/missing-of-the-lightning-leg", plain, policy=lightning)
    spent = proof(terms(bitcoin.leg(), invoices.leg()), bitcoin.evidence(bitcoin.leg()), invoices.payment())
    # Each of the three headers has the work 2 at regtest's target.
    for work, requires, verdict in ((6, "as_agreed", valid), (6, "finalized", undecided), (7, "as_agreed", undecided)):
        policy = {"requires": requires, "work": {"BITCOIN": work}}
        yield verdict(f"statement/work-of-{work}-for-{requires}", spent, policy=policy)


def _malformed() -> Iterator[Vector]:
    base = bases.bob_to_lightning()
    whole = _base()
    terms_signature, attestation = whole["attestations"]
    statement: Document = attestation["statement"]
    for name in statement:
        without = {key: value for key, value in statement.items() if key != name}
        made = whole | {"attestations": [terms_signature, attestation | {"statement": without}]}
        yield refused(f"format/statement-without-{name}", "format", made)
    wrong: dict[str, Any] = {
        "version-2": {"version": 2},
        "outcome-partial": {"outcome": "partial"},
        "amount-as-a-number": {"paid": AMOUNT},
        "unknown-finality": {"source": {"block": BLOCK, "finality": "safe"}},
        "block-without-a-number": {"source": {"block": {"hash": "12" * 32}, "finality": "finalized"}},
        "block-with-a-short-hash": {"source": {"block": BLOCK | {"hash": "12" * 31}, "finality": "finalized"}},
        "block-with-a-time": {"source": {"block": BLOCK | {"time": 1}, "finality": "finalized"}},
        "leg-with-a-note": {"source": FINAL | {"note": ""}},
        "leg-of-null": {"source": None},
        "note": {"note": ""},
    }
    for name, changes in wrong.items():
        yield refused(f"format/statement-with-{name}", "format", _base(**changes))
    for name, given in {
        "first": [attestation, terms_signature],
        "alone": [attestation],
        "twice": [terms_signature, attestation, attestation],
        "with-a-note": [terms_signature, attestation | {"note": ""}],
    }.items():
        yield refused(f"format/statement-{name}", "format", base | {"attestations": given})
