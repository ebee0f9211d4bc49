"""A transfer from its quote to its proof, and what is done with the proof, against a running network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cli.running import layer2, layer2_here
from layer2 import BobClient, Layer2Manager, Layer2ProtocolType, TransferProof
from layer2.config import Layer2Config
from layer2.legs.leg import Htlc
from layer2.terms.signing import terms_hash
from proofs import made_proofs as made

pytestmark = pytest.mark.xdist_group("cli")


def test_a_transfer_from_quote_to_proof(home: Path) -> None:
    balance = layer2("balance", "--json", cwd=home)
    assert balance.status == 0, balance.err
    assert balance.envelope["data"]
    quote = layer2("quote", "100000", "--from", "bob", "--to", "lightning", "--json", cwd=home)
    assert quote.envelope["data"]["receive_amount"] == 100_000
    moved = layer2(
        "transfer", "100000", "--from", "bob", "--to", "lightning", "--proof", "one.json", "--json", "-v", cwd=home
    )
    assert moved.status == 0, moved.err
    # The verbose log of a success has no warning.
    assert not {"WARNING", "ERROR"} & set(moved.err.split())
    assert "maximum fee" in moved.err
    transfer = moved.envelope["data"]["transfer"]
    assert transfer["state"] == "completed"
    assert "completed" in moved.err
    listed = layer2("list", "--json", cwd=home).envelope["data"]["transfers"]
    assert transfer["transfer_id"] in [each["transfer_id"] for each in listed]
    shown = layer2("show", transfer["transfer_id"], "--json", cwd=home)
    assert shown.envelope["data"] == transfer
    waited = layer2("wait", transfer["transfer_id"], "--proof", "two.json", "--json", cwd=home)
    assert waited.status == 0
    assert (home / "one.json").read_bytes() == (home / "two.json").read_bytes()
    assert layer2("resume", "--json", cwd=home).envelope["data"] == {"transfers": [], "down": {}}
    alone = layer2("proof", "verify", "one.json", "--json", cwd=home)
    assert (alone.status, alone.envelope["data"]["source"]["level"]) == (4, "offline"), alone.err
    assert layer2("proof", "show", "one.json", "--json", cwd=home).status == 0
    # The safe head is two blocks below the newest.
    assert layer2("simnet", "mine", "2", "--chain", "bob", "--directory", "net", "--json", cwd=home).status == 0
    checked = layer2("proof", "verify", "one.json", "--node", "--json", cwd=home)
    assert checked.status == 0, checked.err
    data = checked.envelope["data"]
    assert data["source"]["level"] in {"as_agreed", "finalized"}
    assert data["source"]["finality"] in {"latest", "safe", "finalized"}
    assert data["destination"]["finality"] is None
    assert [each["point"] for each in data["open_points"]] == ["payment"]
    # Waiting does not help: no node shows the Lightning leg, and a statement does.
    unstated = layer2("proof", "verify", "one.json", "--node", "--requires", "stated", "--json", cwd=home)
    assert unstated.status == 4, unstated.err
    assert "layer2 proof complete FILE" in unstated.err
    written = layer2("proof", "headers", "one.json", "headers.txt", "--json", cwd=home)
    assert written.status == 0, written.err
    trusted = ("--trusted-header", written.envelope["data"]["trusted_header"], "--headers", "headers.txt")
    check_the_printed_command(home)
    nobody = layer2("proof", "verify", "one.json", *trusted, "--json", cwd=home)
    assert (nobody.status, nobody.envelope["data"]["provider_is_known"]) == (4, False), nobody.err
    provider = Layer2Config.load(home / "layer2.toml").providers[0].identity_key
    assert f"--provider {provider}" in nobody.err
    policy = layer2("proof", "policy", cwd=home)
    assert provider in policy.out
    (home / "policy.toml").write_text(policy.out)
    placed = layer2("proof", "verify", "one.json", *trusted, "--policy", "policy.toml", "--json", cwd=home)
    assert placed.status == 0, placed.err
    audited = layer2("proof", "audit", "one.json", "--node", "--json", cwd=home)
    assert audited.status == 0, audited.err
    (known,) = audited.envelope["data"]["blocks"]["BOB"]
    assert known.startswith("as_agreed:")
    header, file = written.envelope["data"]["trusted_header"], "BOB:headers.txt"
    options = ("--policy", "policy.toml", "--trusted-header", f"BOB:{header}", "--headers", file)
    chained = layer2("proof", "audit", "one.json", "two.json", *options, "--json", cwd=home)
    assert chained.status == 1
    data = chained.envelope["data"]
    assert (data["blocks"], data["reasons"]) == ({"BOB": {"trusted_header": 1}}, {"duplicate": 1})
    assert placed.envelope["data"]["source"]["level"] == "trusted_header"
    check_the_storage(home)
    check_is_completed(home, transfer["transfer_id"])
    check_a_stranger_completes_it(home)


def check_the_printed_command(home: Path) -> None:
    """The command that ``proof headers`` prints names the layer, which a proof with two blocks needs, and succeeds."""
    printed = layer2("proof", "headers", "one.json", "printed.txt", cwd=home)
    (command,) = [line for line in printed.out.splitlines() if line.startswith("to check: ")]
    words = command.removeprefix("to check: layer2 ").split()
    assert words[words.index("--trusted-header") + 1].startswith("BOB:0x")
    assert "BOB:printed.txt" in words
    assert layer2(*words, cwd=home).status == 0


def check_the_storage(home: Path) -> None:
    """Make the same proof from the contract's storage, and place its header as that of a receipt."""
    proof = TransferProof.load(home / "one.json")
    terms = proof.terms.terms
    with Layer2Manager(Layer2Config.load(home / "layer2.toml")) as layers:
        bob = layers.get_protocol_sync(Layer2ProtocolType.BOB)
        assert isinstance(bob, BobClient)
        evidence = bob.storage_evidence_sync(Htlc(terms.source, terms.payment_hash, terms_hash(terms)))
    replace(proof, source_leg=evidence).save(home / "storage.json")
    checked = layer2("proof", "verify", "storage.json", "--node", "--json", cwd=home)
    assert checked.status == 0, checked.err
    assert {each["point"] for each in checked.envelope["data"]["open_points"]} == {"payment", "preimage"}
    written = layer2("proof", "headers", "storage.json", "storage.txt", "--json", cwd=home)
    assert written.status == 0, written.err
    trusted = ("--trusted-header", written.envelope["data"]["trusted_header"], "--headers", "storage.txt")
    placed = layer2("proof", "verify", "storage.json", *trusted, "--policy", "policy.toml", "--json", cwd=home)
    assert placed.status == 0, placed.err
    assert placed.envelope["data"]["source"]["level"] == "trusted_header"


def check_is_completed(home: Path, transfer_id: str) -> None:
    """The provider states how the transfer of ``one.json`` ended once its claim is final, and not before."""
    codes: list[str] = []
    for _ in range(50):
        ran = layer2("proof", "complete", "one.json", "--output", "stated.json", "--json", cwd=home)
        if ran.status == 0:
            break
        codes.append(ran.envelope["error"]["code"])
        assert layer2("simnet", "mine", "10", "--chain", "bob", "--directory", "net", "--json", cwd=home).status == 0
    assert ran.status == 0, ran.err
    assert set(codes) <= {"end_not_final"}
    before = (home / "one.json").read_bytes()
    stated_file = (home / "stated.json").read_bytes()
    options = ("--policy", "policy.toml", "--requires", "stated", "--json")
    assert layer2("proof", "verify", "stated.json", *options, cwd=home).status == 0
    assert layer2("proof", "verify", "one.json", *options, cwd=home).status == 4
    # By its id, into the default file; and again, from the file that has it.
    by_id = layer2("proof", "complete", transfer_id, "--json", cwd=home)
    assert by_id.envelope["data"]["file"] == f"transfer-{transfer_id}.json"
    assert (home / f"transfer-{transfer_id}.json").read_bytes() == stated_file
    assert layer2("proof", "complete", "stated.json", "--json", cwd=home).status == 0
    assert (home / "stated.json").read_bytes() == stated_file
    assert (home / "one.json").read_bytes() == before


def check_a_stranger_completes_it(home: Path) -> None:
    """Whoever has the file and a node adds the evidence of the lock; the statement is only for the taker."""
    proof = TransferProof.load(home / "one.json")
    file = replace(proof, source_leg=None, statement=None).save(home / "half.json")
    given = file.read_bytes()
    words, journal = ("proof", "complete", "half.json"), str(home / "none.sqlite")
    ran = layer2(*words, "--output", "whole.json", "--json", cwd=home, LAYER2_JOURNAL__PATH=journal)
    assert ran.status == 0, ran.err
    data = ran.envelope["data"]
    assert (data["file"], data["added"], data["outcome"]) == ("whole.json", ["source"], "completed")
    assert data["not_added"]["statement"]["code"] == "unknown_transfer"
    assert not Path(journal).exists()
    assert layer2("proof", "verify", "whole.json", "--node", cwd=home).status == 0
    for_people = layer2(*words, "--output", "whole.json", cwd=home, LAYER2_JOURNAL__PATH=journal)
    assert "added      evidence of the source: from the storage on BOB after block" in for_people.out
    assert "not added  the completion statement: the journal has no transfer" in for_people.out
    dead = "http://127.0.0.1:9"
    down = layer2(*words, "--json", cwd=home, LAYER2_JOURNAL__PATH=journal, LAYER2_BOB__RPC_URL=dead)
    assert (down.status, down.envelope["data"]["added"], down.envelope["data"]["file"]) == (5, [], None)
    assert set(down.envelope["data"]["not_added"]) == {"source", "statement"}
    assert file.read_bytes() == given
    # The taker, whose node is down, still gets the statement of what has evidence.
    known = layer2(
        "proof",
        "complete",
        "one.json",
        "--storage",
        "--output",
        "whole.json",
        "--json",
        cwd=home,
        LAYER2_BOB__RPC_URL=dead,
    )
    assert (known.status, known.envelope["data"]["added"]) == (0, ["statement"]), known.err
    assert known.envelope["data"]["not_added"]["source"]["code"] == "node_unreachable"


def test_an_invented_header_is_not_on_the_nodes_chain_under_any_proof(home: Path) -> None:
    config = Layer2Config.load(home / "layer2.toml")
    assert config.bob is not None
    token = bytes.fromhex(config.bob.token_address.removeprefix("0x"))
    terms = made.terms(made.evm_leg(token=token))
    for name, proof in (("refund", made.refunded(terms)), ("claim", made.to_lightning(terms))):
        proof.save(home / f"{name}.json")
        checked = layer2_here(
            "proof", "verify", f"{name}.json", "--node", "--provider", made.PROVIDER_KEY.hex(), "--json", cwd=home
        )
        assert checked.status != 0
        assert checked.envelope["error"]["code"] in {"proof_refused", "proof_undecided"}, checked.out
        assert checked.envelope["data"] is None
    unknown = layer2_here("proof", "verify", "refund.json", "--node", "--json", cwd=home)
    assert unknown.status == 1
    assert "does not list the provider" in unknown.err


def test_a_proof_that_cannot_be_written_stays_in_the_journal_and_the_remedy_writes_it(home: Path) -> None:
    (home / "taken").mkdir(exist_ok=True)
    words = ("transfer", "20000", "--from", "bob", "--to", "lightning", "--timeout", "60")
    ran = layer2_here(*words, "--proof", "taken", "--json", cwd=home)
    error = ran.envelope["error"]
    assert (ran.status, error["code"]) == (1, "unwritable_file"), ran.err
    assert error["remedy"].endswith(f"layer2 wait {error['transfer_id']} --proof FILE")
    again = layer2_here("wait", error["transfer_id"], "--proof", "again.json", "--json", cwd=home)
    assert again.status == 0, again.err


def test_an_open_transfer_continues_even_if_its_proof_cannot_be_written(home: Path) -> None:
    words = ("transfer", "20000", "--from", "bob", "--to", "lightning", "--idempotency-key", "no place for a proof")
    begun = layer2_here(*words, "--timeout", "0", "--json", cwd=home)
    transfer_id = begun.envelope["error"]["transfer_id"]
    assert begun.status == 2, begun.err
    for command in (("wait", transfer_id), words):
        ran = layer2_here(*command, "--proof", "none/one.json", "--timeout", "60", "--json", cwd=home)
        assert (ran.status, ran.envelope["error"]["code"]) == (1, "unwritable_file"), ran.err
        assert "nothing was sent" not in ran.err
        shown = layer2_here("show", transfer_id, "--json", cwd=home)
        assert shown.envelope["data"]["state"] == "completed"
