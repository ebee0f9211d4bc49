"""An auditor's machine: only Python, this package, and its three libraries for proofs are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import layer2
from layer2.formats.evm_address import address_of_public_key
from layer2.proofs import KeyScheme, PartyKey, make_answer, make_challenge
from proofs import made_proofs as made

THREE = ("coincurve", "safe-pysha3", "rfc8785")
PROGRAM = """
import importlib.util, json, sys
sys.path[:0] = sys.argv[1:3]
from layer2 import OFFLINE, TransferProof, check_proof
from layer2.errors import ProofRefused

report = check_proof(TransferProof.load(sys.argv[3]), OFFLINE)
try:
    check_proof(TransferProof.load(sys.argv[4]), OFFLINE)
except ProofRefused as error:
    refused = error.check
print(json.dumps({
    "outcome": report.outcome.value,
    "open_points": len(report.open_points),
    "refused": refused,
    "installed": [name for name in ("aiohttp", "pydantic", "sqlalchemy", "orjson") if importlib.util.find_spec(name)],
}))
"""

ANSWERED = """
import sys
sys.path[:0] = sys.argv[1:3]
from layer2 import TransferProof
from layer2.proofs import HolderAnswer, HolderChallenge, check_answer

proof = TransferProof.load(sys.argv[3])
challenge = HolderChallenge.from_bytes(bytes.fromhex(sys.argv[4]))
(key,) = check_answer(proof, challenge, HolderAnswer.from_bytes(bytes.fromhex(sys.argv[5])), now=0)
print(key.side.value, key.protocol.value)
"""


@pytest.fixture
def three_libraries(tmp_path: Path) -> Path:
    """A directory with the files of these three libraries only."""
    directory = tmp_path / "libraries"
    directory.mkdir()
    for name in THREE:
        distribution = metadata.distribution(name)
        assert distribution.files is not None
        for top in {Path(file).parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            (directory / top).symlink_to(Path(str(distribution.locate_file(top))))
    return directory


def test_a_proof_is_checked_with_three_libraries_and_nothing_else(tmp_path: Path, three_libraries: Path) -> None:
    good = made.to_lightning().save(tmp_path / "good.json")
    text = good.read_text()
    tampered = tmp_path / "tampered.json"
    tampered.write_text(text.replace(f'"amount":"{made.AMOUNT}"', f'"amount":"{made.AMOUNT + 1}"'))
    assert tampered.read_text() != text
    source = Path(layer2.__file__).parents[1]
    # -I ignores the environment and the directory; -S ignores installed packages.
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(three_libraries), str(source), str(good), str(tampered)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == {
        "outcome": "completed",
        "open_points": 5,
        "refused": "terms_signature",
        "installed": [],
    }


def test_a_holder_s_answer_is_checked_with_them_too(tmp_path: Path, three_libraries: Path) -> None:
    account = address_of_public_key(made.PAYEE.public_key.format())
    proof = made.to_lightning(made.terms(made.evm_leg(payer=account)))
    challenge = make_challenge(proof, verifier="Example Bank", expires_at=1, nonce=bytes(32))
    signature = made.PAYEE.sign_recoverable(challenge.digest(PartyKey(KeyScheme.EIP191, account)), hasher=None)
    answer = make_answer(proof, challenge, signature)
    source = Path(layer2.__file__).parents[1]
    file = proof.save(tmp_path / "proof.json")
    words = (str(three_libraries), str(source), str(file), challenge.to_bytes().hex(), answer.to_bytes().hex())
    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ANSWERED, *words], capture_output=True, text=True, timeout=60
    )
    assert (finished.stdout, finished.returncode) == ("payer BOB\n", 0), finished.stderr


def test_the_three_libraries_need_no_other() -> None:
    for name in THREE:
        needed = [each for each in metadata.requires(name) or () if "extra ==" not in each]
        assert needed == []
