"""Changed copies of valid proofs, under a policy that pins their provider and the headers of their blocks.

No mutant may show more than the proof from which it comes. The changes are the same in every run.
``python -m vectors.mutants COUNT`` makes COUNT structured mutants in all, and changes every byte of every proof.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from coincurve import PrivateKey
from eth_utils.crypto import keccak

from vectors.all import all_vectors
from vectors.bitcoin import sha256d
from vectors.documents import PROVIDER, Document, canonical, terms_hash
from vectors.keys import Key
from vectors.rootstock import hash_of
from vectors.vector import Vector

__all__ = ["BASES", "byte_mutants", "every", "pinned", "shows_more", "structured_mutants"]

BASES: Final = (
    "outcome/bob-to-lightning",
    "outcome/lightning-to-bob",
    "outcome/bob-to-rootstock",
    "outcome/refunded",
    "terms/signed-by-ecdsa",
    "evm-storage/claimed",
    "evm-storage/refunded",
    "evm-storage/both-legs",
    "statement/bob-to-lightning",
    "statement/bitcoin-to-lightning",
    "statement/refunded",
    "rootstock/claimed",
    "rootstock/refunded",
    "bitcoin/claim",
    "bitcoin/refund",
    "bitcoin/to-bob",
)
_ATTACKER: Final = Key("attacker")
_SIGNING: Final = PrivateKey(_ATTACKER.secret.to_bytes(32, "big"))


def pinned(name: str) -> Vector:
    """The vector of a valid proof, under a policy that trusts its blocks and its provider only."""
    base = next(each for each in all_vectors() if each.name == name)
    proof: Document = json.loads(base.proof)
    trusted: dict[str, str] = {}
    for evidence in (proof["source_leg"], proof["destination_leg"]):
        if evidence is not None and (block := _block(evidence)) is not None:
            trusted[evidence.get("protocol") or _LAYERS[evidence["type"]]] = block.hex()
    return replace(base, policy={"providers": [proof["terms"]["provider"]], "trusted_headers": trusted})


_LAYERS: Final = {"rootstock_receipt": "ROOTSTOCK", "bitcoin_spend": "BITCOIN"}


def _block(evidence: Document) -> bytes | None:
    """The hash of the newest block whose header the evidence has, as nodes display it."""
    match evidence["type"]:
        case "lightning_payment":
            return None
        case "bitcoin_spend":
            return sha256d(bytes.fromhex(evidence["headers"][-1]))[::-1]
        case "rootstock_receipt":
            return hash_of(bytes.fromhex(evidence["headers"][-1]))
        case _:
            return keccak(bytes.fromhex(evidence["header"]))


def byte_mutants(base: Vector, step: int = 1) -> Iterator[Vector]:
    """The file with each of its bytes changed, removed and doubled, or with one byte in ``step``."""
    data = base.proof
    for place in range(0, len(data), step):
        byte, before, after = data[place], data[:place], data[place + 1 :]
        flipped = byte ^ 1 << place % 7
        yield replace(base, name=f"{base.name}#changed-{place}", proof=before + bytes([flipped]) + after)
        if data[place : place + 1] != data[place + 1 : place + 2]:
            yield replace(base, name=f"{base.name}#removed-{place}", proof=before + after)
            yield replace(base, name=f"{base.name}#doubled-{place}", proof=before + bytes([byte, byte]) + after)


def structured_mutants(base: Vector, count: int) -> Iterator[Vector]:
    """The proof decoded, changed at a place, encoded again, and signed again if the place is in the terms."""
    chance = random.Random(base.name)
    original: Document = json.loads(base.proof)
    places = list(_places(original, ()))
    strangers = [json.loads(pinned(name).proof) for name in BASES if name != base.name]
    for number in range(count):
        proof = copy.deepcopy(original)
        place = chance.choice(places)
        try:
            _set(proof, place, _other(_get(proof, place), chance, place, strangers))
        except (KeyError, IndexError, TypeError):
            # The other proof has nothing at this place.
            _set(proof, place, None)
        if place[0] == "terms" and isinstance(proof["terms"], dict):
            _sign(proof, chance)
        if (data := canonical(proof)) != base.proof:
            yield replace(base, name=f"{base.name}#{number}-{'.'.join(map(str, place))}", proof=data)


def _places(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from _places(each, (*path, name))


def _get(value: Any, path: Sequence[str | int]) -> Any:
    for name in path:
        value = value[name]
    return value


def _set(value: Any, path: Sequence[str | int], new: Any) -> None:
    _get(value, path[:-1])[path[-1]] = new


def _other(value: Any, chance: random.Random, place: tuple[str | int, ...], strangers: list[Document]) -> Any:
    """Another value for a place: changed a little, or the one of another proof."""
    if chance.random() < 0.2:
        return _get(chance.choice(strangers), place)
    changes: Sequence[Callable[[], Any]]
    match value:
        case bool() | None:
            changes = [lambda: 0]
        case int():
            changes = [
                lambda: value + 1,
                lambda: max(0, value - 1),
                lambda: value ^ 1 << chance.randrange(40),
                lambda: 0,
            ]
        case str():
            changes = [lambda: _digit(value, chance), lambda: value[2:], lambda: value + value[-2:], lambda: ""]
        case list():
            changes = [
                lambda: value[1:],
                lambda: value[:-1],
                lambda: value + value[-1:],
                lambda: value[::-1],
                list,
            ]
        case _:
            changes = [lambda: None, dict, lambda: value | {"note": ""}]
    return chance.choice(changes)()


def _digit(text: str, chance: random.Random) -> str:
    """The text with another character at a place; hex stays hex."""
    if not text:
        return "0"
    place = chance.randrange(len(text))
    return text[:place] + chance.choice("0123456789abcdef".replace(text[place], "")) + text[place + 1 :]


def _sign(proof: Document, chance: random.Random) -> None:
    """Sign changed terms: with the attacker's key in the terms, or with that key in place of the provider's."""
    terms = proof["terms"]
    if chance.random() < 0.5:
        terms["provider"] = _ATTACKER.x.hex()
    key = terms.get("provider")
    if key not in (_ATTACKER.x.hex(), PROVIDER.x.hex(), PROVIDER.compressed.hex()):
        return
    signature = _SIGNING.sign_schnorr(terms_hash(terms), bytes(32)).hex()
    by_attacker = {"type": "terms_signature", "scheme": "bip340", "signature": signature}
    proof["attestations"] = [by_attacker, *(proof.get("attestations") or [])[1:]]


def shows_more(mutant: Vector, base: Vector, verdict: str, result: str) -> bool:
    """Whether an accepted mutant shows what its base does not: other terms, another end, what nobody signed."""
    if verdict != "valid":
        return False
    shown = json.loads(mutant.proof)
    if shown["terms"] != json.loads(base.proof)["terms"]:
        return True
    less = {base.result} if base.result == "refunded" else {base.result, "partial"}
    return result not in less or not {canonical(each) for each in shown["attestations"]} <= _signed()


@cache
def _signed() -> frozenset[bytes]:
    """What the provider signed: several bases are of the same terms, and their attestations fit each other."""
    proofs = [json.loads(pinned(name).proof) for name in BASES]
    return frozenset(canonical(each) for proof in proofs for each in proof["attestations"])


def every(count: int, step: int) -> Iterator[tuple[Vector, Vector]]:
    """Each base with each of its mutants.

    Args:
        count: of the structured mutants of all bases together.
        step: of the bytes, one of so many is changed.
    """
    for name in BASES:
        base = pinned(name)
        for mutant in itertools.chain(byte_mutants(base, step), structured_mutants(base, -(-count // len(BASES)))):
            yield base, mutant


def main(count: int, step: int) -> int:
    """Print how the verifier answers to the mutants of each base; the status is 1 if one shows more than its base."""
    from vectors.answers import answer

    answers: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    for base, mutant in every(count, step):
        verdict, result = answer(mutant)
        counted = answers.setdefault(base.name, Counter())
        counted[f"{verdict} [{result}]" if result else verdict] += 1
        if shows_more(mutant, base, verdict, result):
            wrong.append(f"{mutant.name}: {verdict} {result}")
    for name, counted in answers.items():
        print(f"{name}: {counted.total()} mutants: {', '.join(f'{n} {what}' for what, n in counted.most_common())}")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    total = sum((counted for counted in answers.values()), Counter())
    accepted = sum(n for what, n in total.items() if what.startswith("valid"))
    print(f"{total.total()} mutants: {accepted} accepted, and {len(wrong)} that show more than their base")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
