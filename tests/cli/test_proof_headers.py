"""The file of ``--headers``: read one line at a time, and only as far as it is right."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from cli.running import layer2_here
from layer2.cli.proof_headers import HeaderFile
from layer2.errors import ConfigurationError, ProofRefused
from layer2.formats.keccak import keccak256
from layer2.legs.evidence import EvmReceiptEvidence
from proofs import made_proofs as made

LINE = b"0x" + b"00" * 600 + b"\n"


def peak_of(file: Path, expected: int | None) -> int:
    """The most bytes that reading the file takes; it has that many headers, or None if it is refused."""
    tracemalloc.start()
    try:
        if expected is None:
            with pytest.raises(ProofRefused, match="header_chain"):
                sum(1 for _ in HeaderFile.at(file))
        else:
            assert sum(1 for _ in HeaderFile.at(file)) == expected
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LINE * 20_000, 20_000),
        (b"0x00\n" * 262_144, 262_144),
        (b"0x00\n" * 262_145, None),
        (b"\n" * 20_000_000, None),
        (b"0x" + b"0" * 20_000_000, None),
        (b"\xff" * 20_000_000, None),
    ],
    ids=["24 MB of headers", "short lines", "too many lines", "empty lines", "one long line", "no text"],
)
def test_a_file_takes_the_memory_of_a_line(tmp_path: Path, content: bytes, expected: int | None) -> None:
    file = tmp_path / "headers.txt"
    file.write_bytes(content)
    del content
    assert peak_of(file, expected) < 200_000


def test_a_file_is_read_again_by_each_check_and_may_have_the_line_ends_of_windows(tmp_path: Path) -> None:
    file = tmp_path / "headers.txt"
    file.write_bytes(b"0x01\r\n0x02\n0x03")
    headers = HeaderFile.at(file)
    assert list(headers) == list(headers) == [b"\x01", b"\x02", b"\x03"]
    with pytest.raises(ConfigurationError, match="cannot be read"):
        HeaderFile.at(tmp_path / "none.txt")


def test_a_file_that_is_wrong_at_its_start_is_not_read_to_its_end(tmp_path: Path) -> None:
    proof = made.to_lightning()
    proof.save(tmp_path / "good.json")
    assert isinstance(proof.source_leg, EvmReceiptEvidence)
    # The rest is no text, which would be another error.
    (tmp_path / "headers.txt").write_bytes(b"0x" + proof.source_leg.header.hex().encode() + b"\n\xff\xff\n")
    trusted = keccak256(b"another").hex()
    ran = layer2_here(
        "proof", "verify", "good.json", "--trusted-header", trusted, "--headers", "headers.txt", cwd=tmp_path
    )
    assert ran.status == 1
    assert "header 1, of which the oldest is the first" in ran.err


def test_headers_are_not_written_over_the_proof(tmp_path: Path) -> None:
    made.to_lightning().save(tmp_path / "one.json")
    before = (tmp_path / "one.json").read_bytes()
    ran = layer2_here("proof", "headers", "one.json", "./one.json", "--json", cwd=tmp_path)
    assert (ran.status, ran.envelope["error"]["code"]) == (3, "usage"), ran.err
    assert (tmp_path / "one.json").read_bytes() == before
