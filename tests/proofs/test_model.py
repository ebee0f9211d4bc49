"""A proof file has one canonical form, and every change of it is detected."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError, InvalidRequest, ProofError, ProofRefused
from layer2.proofs.check import check_proof
from layer2.proofs.model import TransferProof
from layer2.proofs.policy import OFFLINE
from layer2.terms.documents import Scheme, Signature, SignedTerms
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made

PROOFS = [made.to_lightning(), made.to_bob(), made.refunded(), made.between_chains()]
BYTES = PROOFS[0].to_bytes()


@pytest.mark.parametrize("proof", PROOFS, ids=["to_lightning", "to_bob", "refunded", "between_chains"])
def test_a_proof_reads_back_as_it_was_written(proof: TransferProof, tmp_path: Path) -> None:
    assert TransferProof.from_bytes(proof.to_bytes()) == proof
    assert TransferProof.load(proof.save(tmp_path / "proof.json")) == proof
    assert [path.name for path in tmp_path.iterdir()] == ["proof.json"]
    assert len(proof.proof_id) == 32


def test_the_repr_of_a_proof_does_not_show_the_preimage() -> None:
    assert made.PREIMAGE.secret.hex() not in repr(PROOFS[0].destination_leg)
    assert repr(made.PREIMAGE.secret) not in repr(PROOFS[0].destination_leg)


def test_proofs_have_different_ids() -> None:
    assert len({proof.proof_id for proof in PROOFS}) == 4


def test_unknown_fields_are_refused_at_every_level() -> None:
    def objects(value: object) -> list[dict[str, object]]:
        if isinstance(value, dict):
            return [value, *(item for inner in value.values() for item in objects(inner))]
        if isinstance(value, list):
            return [item for inner in value for item in objects(inner)]
        return []

    count = len(objects(json.loads(BYTES)))
    assert count >= 6
    for index in range(count):
        document = json.loads(BYTES)
        objects(document)[index]["valid"] = True
        with pytest.raises(FormatError):
            TransferProof.from_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def test_another_spelling_of_the_same_proof_is_refused() -> None:
    with pytest.raises(FormatError):
        TransferProof.from_bytes(json.dumps(json.loads(BYTES)).encode())
    with pytest.raises(FormatError):
        TransferProof.from_bytes(BYTES + b"\n")


@pytest.mark.parametrize("length", [0, 1, 100, len(BYTES) // 2, len(BYTES) - 1])
def test_a_truncated_proof_is_refused(length: int) -> None:
    with pytest.raises(FormatError):
        TransferProof.from_bytes(BYTES[:length])


def test_a_proof_of_another_version_is_refused() -> None:
    with pytest.raises(FormatError, match="version 2"):
        TransferProof.from_bytes(BYTES.replace(b'"version":1}', b'"version":2}'))


def test_a_signature_names_its_scheme_and_counts_for_the_keys_of_that_scheme_only() -> None:
    assert b'"scheme":"bip340"' in BYTES
    with pytest.raises(FormatError, match="scheme"):
        TransferProof.from_bytes(BYTES.replace(b'"scheme":"bip340"', b'"scheme":"rsa"'))
    other = TransferProof.from_bytes(BYTES.replace(b'"scheme":"bip340"', b'"scheme":"ecdsa"'))
    with pytest.raises(ProofRefused, match="terms_signature"):
        check_proof(other, OFFLINE)


def test_terms_that_an_ecdsa_key_signed_hold() -> None:
    key = made.PROVIDER
    terms = made.terms(provider=key.public_key.format())
    signature = Signature(Scheme.ECDSA, key.sign_recoverable(terms_hash(terms), hasher=None)[:64])
    proof = replace(made.to_lightning(terms), terms=SignedTerms(terms, signature))
    read = TransferProof.from_bytes(proof.to_bytes())
    assert check_proof(read, replace(OFFLINE, providers=frozenset({terms.provider}))).provider_is_known


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_bytes(b" " * 1_000_001)
    with pytest.raises(FormatError):
        TransferProof.load(path)


def test_a_file_that_cannot_be_used_is_a_typed_error_with_a_remedy(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "proof.json"
    with pytest.raises(InvalidRequest, match=r"proof\.json cannot be read: No such file") as unreadable:
        TransferProof.load(missing)
    assert (unreadable.value.code, unreadable.value.remedy) == ("unreadable_file", "check the path of the proof")
    with pytest.raises(InvalidRequest, match="NoneType"):
        TransferProof.load(None)  # type: ignore[arg-type]  # a caller without type checks
    with pytest.raises(ProofError, match=r"proof\.json cannot be written: No such file") as unwritable:
        made.to_lightning().save(missing)
    assert (unwritable.value.code, unwritable.value.remedy) == ("unwritable_file", "save it to another path")


def test_saving_follows_no_link_that_someone_else_put_into_the_folder(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / ".proof.json.partial").symlink_to(victim)
    (tmp_path / "proof.json").symlink_to(victim)
    path = PROOFS[0].save(tmp_path / "proof.json")
    assert victim.read_text() == "kept"
    assert not path.is_symlink()
    assert TransferProof.load(path) == PROOFS[0]
    assert sorted(each.name for each in tmp_path.iterdir()) == [".proof.json.partial", "proof.json", "victim"]


def test_a_new_file_has_the_usual_mode_and_one_that_is_replaced_keeps_its_own(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    path = PROOFS[0].save(tmp_path / "proof.json")
    assert path.stat().st_mode == usual.stat().st_mode
    path.chmod(0o600)
    PROOFS[1].save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_save_that_fails_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(ProofError, match="cannot be written"):
            PROOFS[0].save(path)
    with pytest.raises(ProofError, match="cannot be written"):
        PROOFS[0].save("/")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_file_name_may_be_as_long_as_the_file_system_permits(tmp_path: Path) -> None:
    assert TransferProof.load(PROOFS[0].save(tmp_path / ("x" * 255))) == PROOFS[0]


def test_the_file_is_durable_before_it_gets_its_name_and_the_folder_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def replace_file(*names: Any, **folders: Any) -> None:
        done.append("rename")
        renamed(*names, **folders)

    renamed = os.replace
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace_file)
    PROOFS[0].save(tmp_path / "proof.json")
    assert done == ["file", "rename", "folder"]


def _check(data: bytes) -> bytes | None:
    """The hash of the header that a node has to confirm, or None if the proof is refused."""
    try:
        report = check_proof(TransferProof.from_bytes(data), OFFLINE)
    except (InvalidRequest, ProofRefused):
        return None
    assert report.source.header is not None
    return report.source.header.hash


@settings(max_examples=400, deadline=None)
@given(position=st.integers(0, len(BYTES) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_is_refused_or_names_another_block(position: int, bit: int) -> None:
    changed = bytearray(BYTES)
    changed[position] ^= 1 << bit
    assert _check(bytes(changed)) != _check(BYTES)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, len(BYTES) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_outside_the_header_is_refused(position: int, bit: int) -> None:
    start = BYTES.index(b'"header":"')
    end = BYTES.index(b'"', start + 10)
    changed = bytearray(BYTES)
    changed[position] ^= 1 << bit
    if not start <= position <= end:
        assert _check(bytes(changed)) is None
