"""The verifier in TypeScript, which is written from the specification alone, agrees with the test vectors."""

from __future__ import annotations

import fcntl
import json
import subprocess
from pathlib import Path
from typing import Final

import pytest

pytestmark = [pytest.mark.javascript, pytest.mark.xdist_group("javascript"), pytest.mark.timeout(400)]

ROOT: Final = Path(__file__).parents[2]
VERIFIER: Final = ROOT / "verifier-js"
VECTORS: Final = ROOT / "src" / "layer2" / "proofs" / "vectors" / "v1.jsonl"

Answer = tuple[str, str, str]


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
