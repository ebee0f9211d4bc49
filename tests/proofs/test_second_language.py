"""The verifier in TypeScript, written from the specification alone, agrees with the vectors and with Python."""

from __future__ import annotations

import fcntl
import hashlib
import json
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from coincurve import PrivateKey
from coincurve.utils import GROUP_ORDER_INT

from layer2 import OFFLINE, TransferProof, check_proof
from layer2.contracts.bitcoin_htlc import Branch
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import FormatError, ProofRefused
from layer2.legs.evidence import RootstockReceiptEvidence
from layer2.legs.evm import EvmLeg
from layer2.model.transactions import Preimage
from layer2.proofs import HolderAnswer, HolderChallenge, check_answer
from layer2.proofs.statement import StatedOutcome
from proofs import made_bitcoin as btc
from proofs import made_challenges, made_storage
from proofs import made_proofs as made
from proofs import made_rootstock as rsk
from proofs.made_statements import stated
from vectors.answers import answer as vector_answer
from vectors.mutants import every

pytestmark = [pytest.mark.javascript, pytest.mark.xdist_group("javascript"), pytest.mark.timeout(400)]

ROOT: Final = Path(__file__).parents[2]
VERIFIER: Final = ROOT / "verifier-js"
VECTORS: Final = ROOT / "src" / "layer2" / "proofs" / "vectors" / "v1.jsonl"

Answer = tuple[str, str, str]
Place = tuple[str | int, ...]

_KEY: Final = PrivateKey(b"\x07" * 32)
_NUMBERS: Final = (0, 1, 16, 255, 2**32 - 1, 2**32, 2**53 - 1, 2**53)
_OTHERS: Final[tuple[object, ...]] = ("", "00", "x", "0", None, 5, [], {})


@pytest.fixture(scope="module")
def command() -> Path:
    """The built command, which answers each line of its input."""
    # The processes of a parallel run wait for one of them.
    with (VERIFIER / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build = ["make", "--silent", "verifier-js/dist/.ready"]
        finished = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr
    return VERIFIER / "dist" / "bin" / "layer2-verify.js"


def answers(command: Path, lines: str) -> list[Answer]:
    finished = subprocess.run(
        ["node", str(command)], input=lines, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return [_answer(line) for line in finished.stdout.splitlines()]


def _answer(line: str) -> Answer:
    fields = json.loads(line)
    return fields["name"], fields["verdict"], fields["result"]


def test_the_second_verifier_gives_the_verdict_and_the_result_of_every_vector(command: Path) -> None:
    lines = VECTORS.read_text()
    expected = [_answer(line) for line in lines.splitlines()]
    assert len(expected) > 500
    assert answers(command, lines) == expected


def test_both_verifiers_answer_alike_about_proofs_that_this_package_writes(command: Path) -> None:
    # Other libraries wrote most of the vectors.
    written = {name: proof.to_bytes() for name, proof in _made().items()}
    lines = "".join(json.dumps({"name": name, "proof": file.decode()}) + "\n" for name, file in written.items())
    expected = [(name, *_verdict(file)) for name, file in written.items()]
    assert {result for _, _, result in expected} == {
        *("completed", "refunded", "partial"),
        *("event", "receipt_status", "preimage", "statement_amounts", "header"),
    }
    assert answers(command, lines) == expected


def _made() -> dict[str, TransferProof]:
    on_rootstock = rsk.terms(rsk.leg(contract=HTLC_ADDRESS))
    rootstock, to_lightning, between = rsk.from_rootstock(on_rootstock), made.to_lightning(), made.between_chains()
    lock = to_lightning.terms.terms.source
    assert isinstance(lock, EvmLeg)
    storage = made_storage.evidence_of(lock, to_lightning.terms.terms)
    assert isinstance(rootstock.source_leg, RootstockReceiptEvidence)
    return {
        "BOB to Lightning": to_lightning,
        "Lightning to BOB": made.to_bob(),
        "BOB to Rootstock": between,
        "one leg": replace(between, source_leg=None),
        "from Bitcoin": btc.from_bitcoin(),
        "from Rootstock": rootstock,
        "shown by the storage": replace(to_lightning, source_leg=storage),
        "with a statement": stated(to_lightning),
        "refunded on BOB": made.refunded(),
        "refunded on BOB, with a statement": stated(made.refunded(), StatedOutcome.REFUNDED),
        "refunded on Bitcoin": replace(
            btc.from_bitcoin(evidence=btc.evidence_of(btc.spend(Branch.REFUND))), destination_leg=None
        ),
        "released on Bitcoin": replace(
            btc.from_bitcoin(evidence=btc.evidence_of(btc.spend(Branch.RELEASE))), destination_leg=None
        ),
        "refunded on Rootstock": replace(rsk.from_rootstock(on_rootstock, event="Refunded"), destination_leg=None),
        "event of another contract": made.to_lightning(emitter=bytes(20)),
        "failed transaction": made.to_lightning(succeeded=False),
        "another preimage": made.to_lightning(payment=Preimage(b"\x01" * 32)),
        "statement of another amount": stated(to_lightning, paid=made.AMOUNT + 1),
        "headers with a gap": rsk.with_evidence(rootstock, headers=rootstock.source_leg.headers[::2]),
    }


def test_both_verifiers_answer_alike_about_changed_proofs(command: Path) -> None:
    # Whatever the change is, a difference means that the specification leaves a choice, or that one verifier is wrong.
    chance = random.Random(7)
    vectors = [json.loads(line) for line in VECTORS.read_text().splitlines()]
    proofs = [json.loads(each["proof"]) for each in vectors if each["verdict"] == "valid"]
    changed = {f"change {number}": _changed(chance, chance.choice(proofs)) for number in range(3000)}
    lines = "".join(json.dumps({"name": name, "proof": text}) + "\n" for name, text in changed.items())
    expected = [(name, *_verdict(text.encode())) for name, text in changed.items()]
    assert answers(command, lines) == expected
    results = {result for _, _, result in expected}
    assert {"completed", "format", "invoice", "receipt_inclusion", "inclusion", "header", "lock_id"} <= results


def test_both_verifiers_answer_alike_about_mutants_under_a_policy(command: Path) -> None:
    mutants = [mutant for _, mutant in every(4_000, 41)]
    lines = "".join(json.dumps(mutant.line(), ensure_ascii=False) + "\n" for mutant in mutants)
    expected = [(mutant.name, *vector_answer(mutant)) for mutant in mutants]
    different = [
        f"{ours}, the second verifier: {theirs}"
        for ours, theirs in zip(expected, answers(command, lines), strict=True)
        if ours != theirs
    ]
    assert not different, "\n".join(different)


def _verdict(file: bytes) -> tuple[str, str]:
    try:
        return "valid", check_proof(TransferProof.from_bytes(file), OFFLINE).outcome.value
    except FormatError:
        return "refused", "format"
    except ProofRefused as refused:
        return "refused", refused.check


def _changed(chance: random.Random, original: dict[str, object]) -> str:
    """A proof with a random change. Changed terms are signed again, by another provider."""
    places = list(_places(original))
    if chance.random() < 0.75:
        places = [each for each in places if str(each[0]).endswith("_leg") or each[-1] == "invoice"]
    proof = _replaced(chance, original, chance.choice(places))
    assert isinstance(proof, dict)
    terms = proof["terms"]
    if isinstance(terms, dict) and terms != original["terms"]:
        terms["provider"] = _KEY.public_key.format()[1:].hex()
        digest = _tagged_hash(b"layer2/terms/v1", _canonical(terms).encode())
        signature = _KEY.sign_schnorr(digest, bytes(32)).hex()
        proof["attestations"] = [{"type": "terms_signature", "scheme": "bip340", "signature": signature}]
    return _canonical(proof)


def _places(value: object, at: Place = ()) -> Iterator[Place]:
    """The places of all lists, texts, numbers and nulls."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _places(item, (*at, name))
        return
    yield at
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, (*at, index))


def _replaced(chance: random.Random, value: object, place: Place, digits: str = "0123456789abcdef") -> object:
    """The value with another one at this place."""
    if not place:
        return _other(chance, value, digits)
    step, *rest = place
    if step == "invoice":
        digits = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    if isinstance(value, dict):
        return {
            name: _replaced(chance, item, (*rest,), digits) if name == step else item for name, item in value.items()
        }
    assert isinstance(value, list)
    return [_replaced(chance, item, (*rest,), digits) if at == step else item for at, item in enumerate(value)]


def _other(chance: random.Random, value: object, digits: str) -> object:
    match value:
        case str() if value and chance.random() < 0.95:
            at = chance.randrange(len(value))
            even = at - at % 2
            return chance.choice(
                (
                    value[:at] + chance.choice(digits) + value[at + 1 :],
                    value[:even] + value[even + 2 :],
                    value[:even] + chance.choice(("00", "80", "ff", "c0")) + value[even:],
                )
            )
        case int():
            return chance.choice((*_NUMBERS, value + 1, max(value - 1, 0)))
        case [*items] if items:
            at = chance.randrange(len(items))
            shuffled = chance.sample(items, len(items))
            return chance.choice(
                (items[:at] + items[at + 1 :], [*items[:at], chance.choice(items), *items[at:]], shuffled)
            )
    return chance.choice(_OTHERS)


def _canonical(value: object) -> str:
    # All texts of the vectors are printable ASCII, for which this is the form of RFC 8785.
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _tagged_hash(tag: bytes, data: bytes) -> bytes:
    prefix = hashlib.sha256(tag).digest()
    return hashlib.sha256(prefix + prefix + data).digest()


CHECK_ANSWERS: Final = """
import { readFileSync } from "node:fs";
const { AnswerError, checkAnswer } = await import(process.argv[1]);
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const results = JSON.parse(readFileSync(0, "utf-8")).map(({ files, now }) => {
  try {
    return checkAnswer(...files.map(bytes), now).map(({ layer, side, key }) => [layer, side, key]);
  } catch (error) {
    if (error instanceof AnswerError) return error.reason;
    throw error;
  }
});
console.log(JSON.stringify(results));
"""


def test_both_verifiers_answer_alike_about_answers_of_holders(command: Path) -> None:
    cases = _answers()
    finished = subprocess.run(
        ["node", "--input-type=module", "--eval", CHECK_ANSWERS, str(command.parents[1] / "index.js")],
        input=json.dumps([{"files": [file.hex() for file in files], "now": now} for *files, now in cases]),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    expected = [_signers(*case) for case in cases]
    assert json.loads(finished.stdout) == expected
    reasons = {each for each in expected if isinstance(each, str)}
    assert reasons == {
        "format",
        *(f"answer_{name}" for name in ("challenge", "expired", "format", "high_s", "proof", "provider", "signature")),
        "answer_verifier",
    }
    assert max(len(each) for each in expected if not isinstance(each, str)) == 2


def _answers() -> list[tuple[bytes, bytes, bytes, int]]:
    """Proofs, challenges and answers, sound and not, each with the time at which the answer arrives."""
    on_bitcoin = btc.from_bitcoin()
    signers = [
        *(
            (proof, made_challenges.by_wallet, key)
            for proof in _held()
            for key in (made_challenges.TAKER, made_challenges.OTHER, made_challenges.LOCKER)
        ),
        *((on_bitcoin, made_challenges.by_output_key, key) for key in (btc.PAYER, btc.PAYEE, btc.PAYEE_RELEASE)),
        (on_bitcoin, made_challenges.by_wallet, btc.PAYER),
    ]
    cases: list[tuple[bytes, bytes, bytes, int]] = []
    chance = random.Random(11)
    for proof, sign, key in signers:
        challenge = made_challenges.asked_of(proof)
        others = [made_challenges.asked_of(proof, "Other Bank"), made_challenges.asked_of(proof, nonce=bytes(32))]
        signature, file, own = sign(challenge, key), proof.to_bytes(), challenge.to_bytes()
        answer = HolderAnswer(challenge, signature).to_bytes()
        high = signature[:32] + (GROUP_ORDER_INT - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
        wrong = [high + signature[64:], signature[:63], signature[:64], signature[:64] + b"\x02", bytes(65)]
        # The last byte of a signer of digests.
        wrong.append(signature[:64] + bytes([(signature + b"\x00")[64] % 27]))
        cases += [(file, own, answer, now) for now in (0, challenge.expires_at, challenge.expires_at + 1)]
        cases += [(file, own, HolderAnswer(each, sign(each, key)).to_bytes(), 0) for each in others]
        cases += [(file, own, HolderAnswer(challenge, each).to_bytes(), 0) for each in wrong]
        cases.append((made.to_bob().to_bytes(), own, answer, 0))
        cases += [(file, own, _flipped(chance, answer), 0) for _ in range(100)]
        cases += [(file, _flipped(chance, own), answer, 0) for _ in range(30)]
    return cases


def _held() -> tuple[TransferProof, ...]:
    return made_challenges.from_bob(), made_challenges.to_bob(), made_challenges.between_chains()


def _flipped(chance: random.Random, file: bytes) -> bytes:
    """The file with another character in one place."""
    at = chance.randrange(len(file))
    return file[:at] + chance.choice(b'0123456789abcdef",: {}').to_bytes() + file[at + 1 :]


def _signers(proof: bytes, challenge: bytes, answer: bytes, now: int) -> str | list[list[str]]:
    try:
        own, given = HolderChallenge.from_bytes(challenge), HolderAnswer.from_bytes(answer)
        keys = check_answer(TransferProof.from_bytes(proof), own, given, now=now)
    except FormatError:
        return "format"
    except ProofRefused as refused:
        return refused.check
    return [[each.protocol.value, each.side.value, each.key.data.hex()] for each in keys]


def test_a_line_that_is_no_proof_ends_the_command_with_an_error(command: Path) -> None:
    finished = subprocess.run(
        ["node", str(command)], input='{"name": "x"}\n', capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert "neither proof nor proof_hex" in finished.stderr


def test_the_second_verifier_names_no_registry_and_depends_on_two_libraries() -> None:
    lock = (VERIFIER / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') == lock.count('"node_modules/')
    package = json.loads((VERIFIER / "package.json").read_text())
    assert set(package["dependencies"]) == {"@noble/curves", "@noble/hashes"}
