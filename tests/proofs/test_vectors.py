"""The published test vectors: who wrote them, the answers of this package's verifier, and what they find."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import pytest
import rlp  # type: ignore[import-untyped]  # ships no types
from eth_utils.crypto import keccak

from vectors.all import FILE, all_vectors, written
from vectors.answers import answer
from vectors.documents import canonical, terms_hash
from vectors.evm import CLAIMED, REFUNDED, lock_id
from vectors.keys import tagged
from vectors.mutants import every, shows_more
from vectors.vector import Vector

TESTS = Path(__file__).parents[1]


def test_the_published_file_is_what_the_generator_writes() -> None:
    published = files("layer2.proofs").joinpath("vectors", "v1.jsonl").read_text()
    assert published == FILE.read_text() == written(), "run python -m vectors.all"


def test_a_line_has_everything_that_a_verifier_needs() -> None:
    for line, vector in zip(FILE.read_text().splitlines(), all_vectors(), strict=True):
        fields = json.loads(line)
        data = bytes.fromhex(fields["proof_hex"]) if "proof_hex" in fields else fields["proof"].encode()
        headers: dict[str, Sequence[bytes]] = {
            layer: [bytes.fromhex(each) for each in given] for layer, given in fields["headers"].items()
        }
        again = Vector(fields["name"], data, fields["verdict"], fields["result"], fields["policy"], headers)
        assert again == vector


def test_the_page_states_the_classes_and_their_sizes() -> None:
    sizes = Counter(vector.name.partition("/")[0] for vector in all_vectors())
    page = (TESTS.parent / "docs" / "proof-format.md").read_text().partition("\n## Test vectors\n")[2]
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", page, re.MULTILINE)
    assert {name: int(size) for name, size in rows} == sizes


def test_the_page_states_what_the_generator_computes_on_the_way_to_one_vector() -> None:
    page = (TESTS.parent / "docs" / "proof-format.md").read_text().partition("### Values of one vector\n")[2]
    proofs = {vector.name: vector.proof for vector in all_vectors()}
    file = proofs["outcome/bob-to-lightning"]
    proof, stated = json.loads(file), json.loads(proofs["statement/bob-to-lightning"])
    terms, evidence = proof["terms"], proof["source_leg"]
    assert stated["terms"] == terms
    header = bytes.fromhex(evidence["header"])
    computed = {
        "length of the canonical JSON of the terms": str(len(canonical(terms))),
        "`terms_hash`": f"`{terms_hash(terms).hex()}`",
        "hash of the block": f"`{keccak(header).hex()}`",
        "receipts root": f"`{rlp.decode(header)[5].hex()}`",
        "key in the trie of receipts": f"`{rlp.encode(evidence['transaction_index']).hex()}`",
        "topic of `Claimed`": f"`{CLAIMED.hex()}`",
        "topic of `Refunded`": f"`{REFUNDED.hex()}`",
        "id of the lock": f"`{lock_id(terms['source'], terms).hex()}`",
        "`proof_id`": f"`{tagged('layer2/proof/v1', file).hex()}`",
    }
    assert dict(re.findall(r"^\| (.+?) \| (.+?) \|$", page, re.MULTILINE)) == computed
    assert f"`{tagged('layer2/completion/v1', canonical(stated['attestations'][1]['statement'])).hex()}`" in page


def test_the_page_names_every_check_that_the_code_makes() -> None:
    source = TESTS.parent / "src" / "layer2"
    code = "".join(path.read_text() for folder in ("proofs", "legs") for path in (source / folder).glob("*.py"))
    checks = set(re.findall(r'ProofRefused\(\s*"([a-z_]+)"', code))
    assert len(checks) > 20
    page = (TESTS.parent / "docs" / "proof-format.md").read_text()
    assert {check for check in checks if f"`{check}`" not in page} == set()


def test_the_verifier_gives_every_vector_its_verdict_and_reason() -> None:
    wrong = [
        f"{vector.name}: {answer(vector)}, expected {(vector.verdict, vector.result)}"
        for vector in all_vectors()
        if answer(vector) != (vector.verdict, vector.result)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(600)
def test_the_vectors_find_every_check_that_is_removed() -> None:
    # In a process of its own: nothing of the package may be imported before a check is removed.
    command = [sys.executable, "-m", "vectors.removed_checks"]
    result = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


@pytest.mark.timeout(600)
def test_no_changed_proof_shows_more_than_the_proof_itself() -> None:
    # ``make proof-mutants`` makes 100,000 of them, and changes every byte.
    count, wrong = 0, []
    for base, mutant in every(8_000, 11):
        count += 1
        verdict, result = answer(mutant)
        if shows_more(mutant, base, verdict, result):
            wrong.append(f"{mutant.name}: {verdict} {result}")
    assert count > 20_000
    assert not wrong, "\n".join(wrong)
