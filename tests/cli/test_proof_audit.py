"""``layer2 proof audit``: many files, one report, and an exit status that is 0 only if every proof counts."""

from __future__ import annotations

import inspect
import io
import json
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from cli.running import Ran, layer2_here
from layer2.cli.proof_file import given
from layer2.formats.bitcoin_block import decode_header
from layer2.legs.evidence import BitcoinSpendEvidence
from layer2.model.transactions import SwapId
from layer2.proofs.header_chain import write_headers
from proofs import made_bitcoin
from proofs import made_proofs as made
from proofs import made_rootstock as rootstock
from proofs.made_audits import completed, preimage_of, terms

KEY = made.PROVIDER_KEY.hex()
POLICY = f'''
networks = ["regtest"]
providers = ["{KEY}"]
contracts = ["33:0x{rootstock.CONTRACT.hex()}"]
work = ["ROOTSTOCK:16", "BITCOIN:1"]
'''
"""Accepts made proofs on Rootstock and Bitcoin by their work."""


def from_rootstock(number: int, **changes: Any) -> Any:
    """A completed transfer from Rootstock to Lightning."""
    agreed = terms(number, source=rootstock.leg(), **changes)
    preimage = preimage_of(number)
    proof = rootstock.from_rootstock(agreed, preimage=preimage)
    return replace(proof, destination_leg=completed(number).destination_leg)


def refund(number: int) -> Any:
    return replace(
        rootstock.from_rootstock(terms(number, source=rootstock.leg()), event="Refunded"), destination_leg=None
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "proofs").mkdir()
    return tmp_path


def audit(home: Path, *options: str) -> Ran:
    return layer2_here("proof", "audit", *options, "--policy", "policy.toml", "--json", cwd=home)


def given_lines(lines: list[bytes]) -> AbstractContextManager[object]:
    """Standard input with these lines."""
    return mock.patch.object(sys, "stdin", mock.Mock(buffer=io.BytesIO(b"\n".join(lines))))


def names(data: dict[str, Any], kind: str) -> list[str]:
    return [Path(each["file"]).name for each in data[kind]]


def provider_on(data: dict[str, Any], layer: str) -> tuple[int, int, int]:
    """What the provider paid and received on a layer, and in how many payments."""
    (row,) = [each for each in data["sums"] if (each["role"], each["layer"]) == ("provider", layer)]
    return row["paid"], row["received"], row["payments"]


def test_a_folder_of_accepted_proofs_is_summed_and_ends_with_0(home: Path) -> None:
    for number in range(3):
        from_rootstock(number).save(home / "proofs" / f"{number}.json")
    made_bitcoin.from_bitcoin().save(home / "proofs" / "deep.json")
    # As proof challenge and proof answer write them beside the proof.
    for name in ("0.challenge.json", "0.answer.json"):
        (home / "proofs" / name).write_text("{}")
    (home / "proofs" / "notes.txt").write_text("no proof")
    ran = audit(home, "proofs")
    assert ran.status == 0, ran.err
    data = ran.envelope["data"]
    assert names(data, "completed") == ["0.json", "1.json", "2.json", "deep.json"]
    assert data["blocks"] == {"BITCOIN": {"work": 1}, "ROOTSTOCK": {"work": 3}}
    assert data["policy"]["work"] == ["BITCOIN:1", "ROOTSTOCK:16"]
    assert (data["proofs"], data["reasons"]) == (4, {})
    sums = {(each["layer"], each["role"]): (each["paid"], each["received"]) for each in data["sums"]}
    assert sums["ROOTSTOCK", "provider"] == (0, 3 * 100_420)
    assert sums["LIGHTNING", "provider"] == (4 * 100_000, 0)


def test_a_duplicate_is_listed_with_the_proof_that_counts(home: Path) -> None:
    proof = from_rootstock(1)
    proof.save(home / "proofs" / "transfer.json")
    proof.save(home / "proofs" / "copy of transfer.json")
    ran = audit(home, "proofs")
    assert (ran.status, ran.envelope["error"]["code"]) == (1, "not_all_accepted")
    data = ran.envelope["data"]
    assert (data["reasons"], data["contested"]) == ({"duplicate": 1}, [])
    assert [(Path(each["file"]).name, Path(each["listed"]).name) for each in data["duplicates"]] == [
        ("copy of transfer.json", "transfer.json")
    ]
    assert provider_on(data, "ROOTSTOCK") == (0, 100_420, 1)


def test_two_swaps_that_claim_one_lightning_payment_are_listed_and_end_with_1(home: Path) -> None:
    proofs = {"a.json": from_rootstock(1), "b.json": from_rootstock(1, swap_id=SwapId("ee" * 16))}
    for name, proof in proofs.items():
        proof.save(home / "proofs" / name)
    ran = audit(home, "proofs")
    assert (ran.status, ran.envelope["error"]["code"]) == (1, "not_all_accepted")
    assert ran.envelope["error"]["message"] == "1 leg is contested"
    data = ran.envelope["data"]
    assert (names(data, "completed"), data["reasons"], data["duplicates"]) == (["a.json", "b.json"], {}, [])
    (leg,) = data["contested"]
    assert (leg["network"], leg["name"]) == ("regtest", f"payment_hash {preimage_of(1).payment_hash.hex()}")
    assert [(Path(each["file"]).name, each["outcome"], each["amount"]) for each in leg["claims"]] == [
        (name, "completed", 100_000) for name in proofs
    ]
    assert {each["proof_id"] for each in leg["claims"]} == {each.proof_id.hex() for each in proofs.values()}
    assert provider_on(data, "LIGHTNING") == (100_000, 0, 1)
    assert provider_on(data, "ROOTSTOCK") == (0, 2 * 100_420, 2)
    people = layer2_here("proof", "audit", "proofs", "--policy", "policy.toml", cwd=home)
    for part in (
        "1 contested leg;",
        "the largest amount",
        f"{leg['name']}: proofs/b.json, completed, 100,000 sat",
    ):
        assert part in people.out


def test_bad_files_are_reported_and_stop_nothing(home: Path) -> None:
    folder = home / "proofs"
    from_rootstock(1).save(folder / "good.json")
    (folder / "text.json").write_text("no proof")
    (folder / "large.json").write_bytes(b" " * 1_100_000)
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "folder.json").mkdir()
    (folder / "nowhere.json").symlink_to("absent")
    os.mkfifo(folder / "pipe.json")
    replace(from_rootstock(2), terms=made.signed(terms(2, source=rootstock.leg()), made.PAYEE)).save(
        folder / "signed.json"
    )
    replace(made.between_chains(), source_leg=None).save(folder / "half.json")
    ran = audit(home, "proofs", "absent.json", "x" * 5_000)
    assert ran.status == 1
    data = ran.envelope["data"]
    assert names(data, "completed") == ["good.json"]
    codes = {Path(each["file"]).name: each["code"] for each in data["not_accepted"]}
    assert codes == {
        "text.json": "format",
        "large.json": "format",
        "deep.json": "format",
        "nowhere.json": "unreadable_file",
        "pipe.json": "unreadable_file",
        "absent.json": "unreadable_file",
        "x" * 5_000: "unreadable_file",
        "signed.json": "terms_signature",
        "half.json": "proof_of_one_leg",
    }


def test_a_folder_may_be_deeper_than_the_interpreter_recurses(tmp_path: Path) -> None:
    deepest = tmp_path.joinpath(*["a"] * 150)
    deepest.mkdir(parents=True)
    for place in (tmp_path / "a" / "b.json", deepest / "x.json", tmp_path / "c.json"):
        place.write_text("no proof")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 75)
    try:
        found = [Path(each.name).name for each in given([tmp_path], None)]
    finally:
        sys.setrecursionlimit(limit)
    assert found == ["c.json", "b.json", "x.json"]


def test_a_file_s_name_that_is_no_text_is_reported(home: Path) -> None:
    (home / os.fsdecode(b"proofs/\xff\x1b[2J.json")).write_text("no proof")
    ran = audit(home, "proofs")
    assert ran.envelope["data"]["not_accepted"][0]["file"] == "proofs/\\xff\x1b[2J.json"
    people = layer2_here("proof", "audit", "proofs", cwd=home)
    assert people.status == 1
    assert "\x1b" not in people.out + people.err


def test_a_refund_is_accepted_and_in_no_sum(home: Path) -> None:
    from_rootstock(1).save(home / "proofs" / "a.json")
    refund(2).save(home / "proofs" / "b.json")
    ran = audit(home, "proofs")
    assert ran.status == 0, ran.err
    data = ran.envelope["data"]
    assert (names(data, "completed"), names(data, "refunded")) == (["a.json"], ["b.json"])
    assert all(each["payments"] == 1 for each in data["sums"])


def test_what_is_not_declared_ends_with_4_and_is_not_counted(home: Path) -> None:
    from_rootstock(1).save(home / "proofs" / "a.json")
    completed(2).save(home / "proofs" / "b.json")
    ran = audit(home, "proofs")
    assert ran.status == 4
    data = ran.envelope["data"]
    assert names(data, "completed") == ["a.json"]
    assert [(each["code"], each["why"]) for each in data["not_accepted"]] == [("undeclared_header", "undeclared")]
    assert f"--token 60808:0x{made.TOKEN.hex()}:8" in data["not_accepted"][0]["text"]
    made.to_bob().save(home / "proofs" / "c.json")
    (home / "proofs" / "d.json").write_text("no proof")
    assert audit(home, "proofs").status == 1


def test_no_proof_at_all_is_wrong_use(home: Path) -> None:
    for paths in ((), ("proofs",)):
        assert audit(home, *paths).status == 3
    ran = audit(home, "proofs", "--provder", KEY)
    assert (ran.status, ran.envelope["error"]["code"]) == (3, "usage")


def test_standard_input_has_one_proof_on_each_line(home: Path) -> None:
    lines = [from_rootstock(1).to_bytes(), b"no proof", b"x" * 3_000_000, from_rootstock(2).to_bytes()]
    with given_lines(lines):
        ran = audit(home, "--stdin")
    data = ran.envelope["data"]
    assert [each["file"] for each in data["completed"]] == ["line 1", "line 4"]
    refused = [(each["file"], each["code"]) for each in data["not_accepted"]]
    assert refused == [("line 2", "format"), ("line 3", "format")]


def test_the_order_of_the_lists_is_that_of_the_paths_and_of_the_names_in_a_folder(home: Path) -> None:
    (home / "proofs" / "b").mkdir()
    for number, name in enumerate(("c", "b/z", "a")):
        from_rootstock(number).save(home / "proofs" / f"{name}.json")
    first = audit(home, "proofs").envelope["data"]
    assert names(first, "completed") == ["a.json", "c.json", "z.json"]
    other = audit(home, "proofs/c.json", "proofs/b", "proofs/a.json").envelope["data"]
    assert names(other, "completed") == ["c.json", "z.json", "a.json"]
    assert other["sums"] == first["sums"]


def test_one_trusted_header_and_its_headers_place_every_block_below_it(home: Path) -> None:
    proof = made_bitcoin.from_bitcoin()
    evidence = proof.source_leg
    assert isinstance(evidence, BitcoinSpendEvidence)
    short = replace(proof, source_leg=replace(evidence, headers=evidence.headers[:1]))
    short.save(home / "proofs" / "a.json")
    (home / "policy.toml").write_text(f'networks = ["regtest"]\nproviders = ["{KEY}"]\n')
    trusted = decode_header(evidence.headers[-1]).id
    (home / "headers.txt").write_text(write_headers(evidence.headers[1:]))
    (home / "short.txt").write_text(write_headers(evidence.headers[2:]))
    options = ("--trusted-header", f"BITCOIN:{trusted}")
    ran = audit(home, "proofs", *options, "--headers", "bitcoin:headers.txt")
    assert ran.status == 0, ran.err
    assert ran.envelope["data"]["blocks"] == {"BITCOIN": {"trusted_header": 1}}
    for wrong, status in (((), 1), (("--headers", "BITCOIN:short.txt"), 1)):
        ran = audit(home, "proofs", *options, *wrong)
        assert (ran.status, ran.envelope["data"]["reasons"]) == (status, {"header_chain": 1})
    assert audit(home, "proofs", "--headers", "BITCOIN:headers.txt").status == 3
    assert audit(home, "proofs", *options, "--headers", "headers.txt").status == 3
    assert audit(home, "proofs", *options, "--node").status == 3
    other = ("--trusted-header", f"BITCOIN:{decode_header(evidence.headers[-2]).id}")
    assert audit(home, "proofs", *other, "--headers", "BITCOIN:headers.txt").status == 1


def test_many_proofs_are_checked_by_other_processes_with_the_same_result(home: Path) -> None:
    lines = [from_rootstock(number).to_bytes() for number in (*range(100), 5, 7)]
    lines.insert(50, b"no proof")
    command = [sys.executable, "-c", "from layer2.cli import main; main()", "proof", "audit", "--stdin", "--json"]
    finished = subprocess.run(
        [*command, "--policy", "policy.toml"], input=b"\n".join(lines), cwd=home, capture_output=True, timeout=120
    )
    assert finished.returncode == 1, finished.stderr.decode()
    data = json.loads(finished.stdout)["data"]
    assert data["proofs"] == 103
    assert [each["file"] for each in data["completed"]] == [f"line {n}" for n in range(1, 102) if n != 51]
    duplicates = [(each["file"], each["listed"]) for each in data["duplicates"]]
    assert duplicates == [("line 102", "line 6"), ("line 103", "line 8")]
    with given_lines(lines), mock.patch("layer2.cli.proof_audit._cores", return_value=1):
        alone = audit(home, "--stdin")
    assert alone.envelope["data"] | {"checked_at": 0} == data | {"checked_at": 0}


def test_a_node_that_does_not_answer_leaves_every_proof_undecided_and_is_asked_once(home: Path) -> None:
    for number in range(40):
        completed(number).save(home / "proofs" / f"{number:02}.json")
    (home / "proofs" / "other.json").write_text("no proof")
    (home / "layer2.toml").write_text(
        f'network = "regtest"\ndefault_timeout_ms = 2000\n[bob]\nrpc_url = "http://127.0.0.1:9"\n'
        f'token_address = "0x{made.TOKEN.hex()}"\ntoken_decimals = 8\nkey = "{"01" * 32}"\n'
        f'[[providers]]\nname = "one"\nurl = "https://swaps.example.org"\nidentity_key = "{KEY}"\n'
    )
    ran = layer2_here("proof", "audit", "proofs", "--node", "--json", cwd=home)
    assert ran.status == 1
    assert ran.envelope["data"]["reasons"] == {"node_unreachable": 40, "format": 1}
    assert {each["why"] for each in ran.envelope["data"]["not_accepted"]} == {"undecided", "refused"}
    (home / "proofs" / "other.json").unlink()
    assert layer2_here("proof", "audit", "proofs", "--node", "--json", cwd=home).status == 2


def test_the_processes_of_an_audit_that_is_killed_end_too(home: Path) -> None:
    line = from_rootstock(1).to_bytes() + b"\n"
    command = [sys.executable, "-c", "from layer2.cli import main; main()", "proof", "audit", "--stdin"]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=home)
    with program:
        assert program.stdin is not None
        program.stdin.write(line * 200)
        program.stdin.flush()
        # It waits for the next line, and its processes for the next proofs.
        give_up = time.monotonic() + 60
        while len(children := living_children(program.pid)) < 2:
            assert time.monotonic() < give_up
            time.sleep(0.1)
        program.kill()
    while any(is_alive(child) for child in children):
        assert time.monotonic() < give_up
        time.sleep(0.1)


def living_children(pid: int) -> list[int]:
    folders = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    return [each for each in folders if status_of(each)[1:] == [str(pid)] and is_alive(each)]


def is_alive(pid: int) -> bool:
    """Whether the process has not ended; one that has can stay listed until its parent looks."""
    return status_of(pid)[:1] not in ([], ["Z"])


def status_of(pid: int) -> list[str]:
    """State and parent; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return []


def test_people_see_the_policy_the_counts_and_the_sums(home: Path) -> None:
    for number in range(30):
        from_rootstock(1).save(home / "proofs" / f"{number:02}.json")
    ran = layer2_here("proof", "audit", "proofs", "--policy", "policy.toml", cwd=home)
    assert ran.status == 1
    parts = (
        "30 proofs: 1 completed",
        "networks: regtest",
        "ROOTSTOCK: 1 work",
        "29 duplicate",
        "and 9 more",
        "100,420 sat",
    )
    for part in parts:
        assert part in ran.out
