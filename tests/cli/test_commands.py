"""Every command against a running network: one envelope, one sentence for an error, and its documented status."""

from __future__ import annotations

import importlib.util
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

import pytest

from cli.running import Ran, layer2, layer2_here
from layer2 import BobClient, Layer2Manager, Layer2ProtocolType, TransferProof
from layer2.cli.app import COMMANDS
from layer2.config import Layer2Config
from layer2.formats.bitcoin_block import decode_header
from layer2.formats.keccak import keccak256
from layer2.formats.rsk_header import decode_full_header
from layer2.legs.evidence import BitcoinSpendEvidence, EvmReceiptEvidence, RootstockReceiptEvidence
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.proofs.statement import StatedOutcome
from layer2.terms.signing import terms_hash
from proofs import made_bitcoin, made_rootstock, made_storage
from proofs import made_proofs as made
from proofs.made_statements import SETTLED, stated

pytestmark = pytest.mark.xdist_group("cli")

ROOT = Path(__file__).parents[2]
DECLARED = (
    *("--provider", made.PROVIDER_KEY.hex(), "--network", "regtest"),
    *("--token", f"60808:0x{made.TOKEN.hex()}:8"),
)
"""What a verifier has to declare of a made proof."""


def no_traceback(ran: Ran) -> None:
    assert "Traceback" not in ran.err
    assert ran.err.count("error:") == 1


def test_config_init_makes_secrets_of_mode_0600_and_overwrites_nothing(home: Path) -> None:
    assert stat.S_IMODE((home / "layer2.toml").stat().st_mode) == 0o600
    (seed,) = [path for path in home.iterdir() if path.name.startswith("swap")]
    assert stat.S_IMODE(seed.stat().st_mode) == 0o600
    before = seed.read_text()
    again = layer2("config", "init", "--network-directory", "net", "--json", cwd=home)
    assert again.status == 3
    assert again.envelope["error"]["code"] == "exists"
    no_traceback(again)
    assert seed.read_text() == before


def test_config_check_and_show_mask_secrets_and_show_origins(home: Path) -> None:
    assert layer2("config", "check", "--json", cwd=home).status == 0
    shown = layer2(
        "config",
        "show",
        "--origin",
        "--json",
        cwd=home,
        LAYER2_BOB__RPC_URL="http://me:secret@127.0.0.1:1/key",
        LAYER2_BOB__FALLBACK_RPC_URLS='["http://me:secret@127.0.0.1:2"]',
    )
    assert shown.status == 0, shown.err
    assert shown.envelope["data"]["origins"]["bob.rpc_url"] == "environment"
    assert shown.envelope["data"]["settings"]["bob.fallback_rpc_urls"] == ["http://***@127.0.0.1:2"]
    assert "secret" not in shown.out + shown.err
    wrong = layer2("config", "check", "--json", cwd=home, LAYER2_BOB__TOKEN_DECIMALS="99")
    assert wrong.status == 3
    assert "token_decimals" in wrong.err


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
    written = layer2("proof", "headers", "one.json", "headers.txt", "--json", cwd=home)
    assert written.status == 0, written.err
    trusted = ("--trusted-header", written.envelope["data"]["trusted_header"], "--headers", "headers.txt")
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


def test_doctor_finds_a_good_configuration_good_and_a_dead_node_unreachable(home: Path) -> None:
    good = layer2_here("doctor", "--json", cwd=home)
    assert good.status == 0, good.err
    dead = layer2_here("doctor", "--json", cwd=home, LAYER2_BOB__RPC_URL="http://127.0.0.1:9")
    assert dead.status == 5
    assert "127.0.0.1:9" in dead.out
    no_traceback(dead)


REFUSED: dict[str, tuple[tuple[str, ...], int]] = {
    "unknown command": (("nothing",), 3),
    "no command": ((), 3),
    "fraction": (("quote", "1.5", "--from", "bob", "--to", "lightning"), 3),
    "amount zero": (("quote", "0", "--from", "bob", "--to", "lightning"), 3),
    "same layer": (("quote", "100000", "--from", "bob", "--to", "bob"), 3),
    "fee too high": (("quote", "100000", "--from", "bob", "--to", "lightning", "--max-fee", "1"), 1),
    "unknown transfer": (("show", "00" * 16), 1),
    "no transfer to complete": (("proof", "complete", "00" * 16), 1),
    "no proof to complete": (("proof", "complete", "none.json"), 3),
    "no such proof": (("proof", "verify", "none.json"), 3),
    "no such file": (("balance", "--config", "none.toml"), 3),
    "no source": (("transfer", "20000", "--to", "lightning"), 3),
    "no destination": (("quote", "20000", "--from", "bob"), 3),
    "no transfer named": (("show",), 3),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_one_sentence_with_its_status(home: Path, case: str) -> None:
    words, status = REFUSED[case]
    ran = layer2_here(*words, "--json", cwd=home)
    assert (ran.status, ran.envelope["ok"]) == (status, False), ran.err
    no_traceback(ran)


def test_a_node_on_another_chain_needs_action(home: Path) -> None:
    ran = layer2_here("balance", "--json", cwd=home, LAYER2_BOB__CHAIN_ID="1")
    assert ran.status == 4
    assert "60808" in ran.err
    no_traceback(ran)


def test_a_forged_proof_is_refused_and_a_refund_is_not_a_success(tmp_path: Path) -> None:
    made.to_lightning().save(tmp_path / "good.json")
    made.refunded().save(tmp_path / "refund.json")
    text = (tmp_path / "good.json").read_text().replace('"amount":"100000"', '"amount":"200000"')
    (tmp_path / "forged.json").write_text(text)
    forged = layer2_here("proof", "verify", "forged.json", "--json", cwd=tmp_path)
    assert forged.status == 1
    assert "terms_signature" in forged.envelope["error"]["message"]
    refund = layer2_here("proof", "verify", "refund.json", "--json", cwd=tmp_path)
    assert (refund.status, refund.envelope["error"]["code"]) == (1, "proof_of_refund")
    other = layer2_here("proof", "verify", "good.json", "--provider", "00" * 32, "--json", cwd=tmp_path)
    assert other.status == 1


def test_a_known_provider_shows_no_completion_while_the_header_is_unknown(tmp_path: Path) -> None:
    made.to_lightning().save(tmp_path / "fabricated.json")
    for options in ((), ("--provider", made.PROVIDER_KEY.hex())):
        ran = layer2_here("proof", "verify", "fabricated.json", *options, cwd=tmp_path)
        assert ran.status == 4
        assert "not shown" in ran.out
        assert "holds" not in ran.out
        assert "ask your own node" in ran.err
        no_traceback(ran)


def test_a_providers_word_is_enough_only_for_those_who_ask_for_no_more(tmp_path: Path) -> None:
    stated(made.to_lightning()).save(tmp_path / "stated.json")
    made.to_lightning().save(tmp_path / "unstated.json")
    replace(stated(made.between_chains()), destination_leg=None).save(tmp_path / "half.json")
    stated(made.refunded(), StatedOutcome.REFUNDED).save(tmp_path / "refund.json")
    stated(made.to_lightning(), StatedOutcome.REFUNDED, destination=SETTLED).save(tmp_path / "lie.json")
    signer = ("--provider", made.PROVIDER_KEY.hex(), *DECLARED)
    stated_only = (*signer, "--requires", "stated")
    cases = [
        ("stated.json", (), 4, "ask your own node"),
        ("stated.json", signer, 4, "if the provider's word is enough for you: --requires stated"),
        ("stated.json", stated_only, 0, ""),
        ("unstated.json", stated_only, 4, "layer2 proof complete FILE"),
        ("half.json", (*stated_only, "--token", "33:0x1111111111111111111111111111111111111111:8"), 1, "shows one leg"),
        ("refund.json", stated_only, 1, "shows a refund"),
        ("lie.json", signer, 1, "statement: the provider states"),
        ("stated.json", (*DECLARED[2:], "--requires", "stated"), 4, "a provider that the policy names"),
    ]
    for file, options, status, text in cases:
        ran = layer2_here("proof", "verify", file, *options, cwd=tmp_path)
        assert ran.status == status, (file, options, ran.err)
        assert text in ran.err
        if status:
            no_traceback(ran)
    ran = layer2_here("proof", "verify", "stated.json", *stated_only, cwd=tmp_path)
    assert "it acknowledges that it received 100,420 sat, and claims that it paid 100,000 sat" in ran.out
    assert "not confirmed to be on the chain; stated by the provider that you named" in ran.out


def test_a_refund_claims_nothing_about_a_leg_without_evidence(tmp_path: Path) -> None:
    made.refunded().save(tmp_path / "refund.json")
    ran = layer2_here("proof", "verify", "refund.json", cwd=tmp_path)
    assert "nothing is shown about this leg: neither that money was paid here, nor that it came back" in ran.out


def test_one_leg_is_not_a_completed_transfer(tmp_path: Path) -> None:
    replace(made.between_chains(), source_leg=None).save(tmp_path / "one.json")
    ran = layer2_here("proof", "verify", "one.json", "--json", cwd=tmp_path)
    assert (ran.status, ran.envelope["error"]["code"]) == (1, "proof_of_one_leg")


def test_two_trusted_headers_name_their_layers(tmp_path: Path) -> None:
    proof = made.between_chains()
    proof.save(tmp_path / "two.json")
    hashes = [keccak256(leg.header).hex() for leg in (proof.source_leg, proof.destination_leg) if is_receipt(leg)]
    named = ("--trusted-header", f"BOB:{hashes[0]}", "--trusted-header", f"rootstock:0x{hashes[1]}")
    token = made.TOKEN.hex()
    signer = (*DECLARED, "--token", f"33:0x{token}:8")
    cases = (((*named, *signer), 0), (named, 4), (named[:2], 4), (("--trusted-header", hashes[0]), 3))
    for options, status in cases:
        ran = layer2_here("proof", "verify", "two.json", *options, "--json", cwd=tmp_path)
        assert ran.status == status, (options, ran.err)


def is_receipt(evidence: object) -> TypeGuard[EvmReceiptEvidence]:
    return isinstance(evidence, EvmReceiptEvidence)


def test_a_strangers_proof_writes_only_text_to_the_terminal(tmp_path: Path) -> None:
    lightning = made.lightning_leg()
    for name, terms in {
        "network": made.terms(network="\x1b[2J\x9b1m\nholds"),
        "leg": made.terms(destination=replace(lightning, prefix="\x1b[2J\n")),
        "invoice": made.terms(destination=replace(lightning, invoice="\x1b[2J\nit holds: a completed transfer")),
        "time": made.terms(issued_at=2**53 - 1, fund_by=2**40),
    }.items():
        made.to_lightning(terms).save(tmp_path / f"{name}.json")
        for words in (("show", "--verbose"), ("show",), ("verify",)):
            ran = layer2_here("proof", words[0], f"{name}.json", *words[1:], cwd=tmp_path)
            assert ran.status == 0 or (words == ("verify",) and ran.status in (1, 4) and "internal" not in ran.err), (
                ran.err
            )
            assert not {"\x1b", "\x9b"} & set(ran.out + ran.err), f"{name} {words}"
            assert not any(line.strip().startswith(("holds", "it holds")) for line in ran.out.splitlines())


def test_headers_are_not_written_over_the_proof(tmp_path: Path) -> None:
    made.to_lightning().save(tmp_path / "one.json")
    before = (tmp_path / "one.json").read_bytes()
    ran = layer2_here("proof", "headers", "one.json", "./one.json", "--json", cwd=tmp_path)
    assert (ran.status, ran.envelope["error"]["code"]) == (3, "usage"), ran.err
    assert (tmp_path / "one.json").read_bytes() == before


def test_a_proof_is_placed_by_a_trusted_header_and_by_no_other(tmp_path: Path) -> None:
    proof = made.to_lightning()
    proof.save(tmp_path / "good.json")
    assert isinstance(proof.source_leg, EvmReceiptEvidence)
    own = keccak256(proof.source_leg.header).hex()
    (tmp_path / "none.txt").write_text("")
    (tmp_path / "text.txt").write_text("no header\n")
    signer = DECLARED
    cases = [
        (("--trusted-header", own), 4),
        (("--trusted-header", own, *signer), 0),
        (("--trusted-header", "0x" + own, "--headers", "none.txt", *signer), 0),
        (("--trusted-header", "00" * 32), 1),
        (("--trusted-header", own, "--headers", "text.txt"), 1),
        (("--trusted-header", own, "--headers", "absent.txt"), 3),
        (("--trusted-header", "00"), 3),
        (("--trusted-header", own, "--node"), 3),
        (("--headers", "none.txt"), 3),
    ]
    for options, status in cases:
        ran = layer2_here("proof", "verify", "good.json", *options, "--json", cwd=tmp_path)
        assert ran.status == status, (options, ran.err)
        if status:
            no_traceback(ran)
    people = layer2_here("proof", "verify", "good.json", "--trusted-header", own, cwd=tmp_path)
    assert "on the chain of the header that you trust" in people.out


def test_a_lock_that_the_storage_shows_is_placed_by_a_trusted_header(tmp_path: Path) -> None:
    proof = made.to_lightning()
    terms = proof.terms.terms
    assert isinstance(terms.source, EvmLeg)
    evidence = made_storage.evidence_of(terms.source, terms)
    replace(proof, source_leg=evidence).save(tmp_path / "good.json")
    own, signer = keccak256(evidence.header).hex(), ("--provider", made.PROVIDER_KEY.hex(), *DECLARED)
    assert layer2_here("proof", "verify", "good.json", *signer, cwd=tmp_path).status == 4
    ran = layer2_here("proof", "verify", "good.json", "--trusted-header", own, *signer, cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert "on the chain of the header that you trust" in ran.out
    assert "the preimage with which the lock on BOB was claimed" in ran.out
    shown = layer2_here("proof", "show", "good.json", cwd=tmp_path)
    assert "source: EvmStorage; destination: LightningPayment" in shown.out


def test_a_proof_on_bitcoin_is_placed_by_the_id_of_its_block_or_of_one_above_it(tmp_path: Path) -> None:
    proof = made_bitcoin.from_bitcoin()
    proof.save(tmp_path / "good.json")
    assert isinstance(proof.source_leg, BitcoinSpendEvidence)
    block, *_, last = [decode_header(each).id for each in proof.source_leg.headers]
    signer = DECLARED
    offline = layer2_here("proof", "verify", "good.json", *signer, cwd=tmp_path)
    assert offline.status == 4
    assert f"0x{block}" in offline.out
    assert "about 2**2 hashes" in offline.out
    for trusted in (block, last):
        ran = layer2_here("proof", "verify", "good.json", "--trusted-header", trusted, *signer, cwd=tmp_path)
        assert ran.status == 0, ran.err
        assert f"block {made_bitcoin.HEIGHT} ..{block[-8:]}, on the chain of the header that you trust" in ran.out
    reversed_id = bytes.fromhex(block)[::-1].hex()
    assert layer2_here("proof", "verify", "good.json", "--trusted-header", reversed_id, cwd=tmp_path).status == 1
    shown = layer2_here("proof", "show", "good.json", "--verbose", cwd=tmp_path)
    assert shown.status == 0
    for part in (
        f"refundable from block {made_bitcoin.LOCKTIME}",
        made_bitcoin.HTLC.descriptor,
        "source: BitcoinSpend",
    ):
        assert part in shown.out
    ran = layer2_here("proof", "headers", "good.json", "headers.txt", "--json", cwd=tmp_path)
    assert ran.status == 1
    assert "no leg has a header of an EVM layer" in ran.envelope["error"]["message"]


def test_a_proof_on_rootstock_is_checked_by_its_work_and_with_its_contract(tmp_path: Path) -> None:
    made_rootstock.from_rootstock().save(tmp_path / "good.json")
    signer, contract = DECLARED, ("--contract", f"33:0x{made_rootstock.CONTRACT.hex()}")
    evidence = made_rootstock.from_rootstock().source_leg
    assert isinstance(evidence, RootstockReceiptEvidence)
    last = decode_full_header(evidence.headers[-1])[0].hash.hex()
    cases = [
        (signer, 1),
        ((*contract, *signer), 4),
        ((*contract, *signer, "--work", "ROOTSTOCK:16"), 0),
        ((*contract, *signer, "--work", "rootstock:17"), 4),
        ((*contract, *signer, "--work", "BITCOIN:1"), 4),
        ((*contract, *signer, "--trusted-header", last), 0),
        ((*contract, "--work", "ROOTSTOCK:much"), 3),
        ((*contract, "--work", "BOB:1"), 3),
        ((*contract, "--work", "MARS:1"), 3),
        ((*contract, "--work", "ROOTSTOCK:" + 5_000 * "9"), 3),
        ((*contract, "--work", "ROOTSTOCK:0"), 3),
        (("--contract", "0x" + made_rootstock.CONTRACT.hex()), 3),
        (("--contract", "33:0x44"), 3),
    ]
    for options, status in cases:
        ran = layer2_here("proof", "verify", "good.json", *options, "--json", cwd=tmp_path)
        assert ran.status == status, (options, ran.err)
    shown = layer2_here("proof", "show", "good.json", cwd=tmp_path)
    assert "source: RootstockReceipt" in shown.out
    assert "(18 decimals) of RBTC" in shown.out


def test_checking_a_proof_without_a_node_loads_no_network_database_or_settings_library(tmp_path: Path) -> None:
    made.to_lightning().save(tmp_path / "good.json")
    program = (
        "import sys\nfrom layer2.cli.app import run\nassert run(['proof', 'verify', 'good.json']) == 4\n"
        "assert not {'aiohttp', 'sqlalchemy', 'pydantic', 'layer2.manager'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_its_help(name: str, tmp_path: Path) -> None:
    ran = layer2_here(*name.split(), "--help", cwd=tmp_path)
    assert ran.status == 0
    assert f"Usage: layer2 {name}" in ran.out
    assert "[default: False]" not in ran.out


def test_the_page_of_the_command_line_is_what_the_program_says() -> None:
    place = ROOT / "tools" / "write_cli_docs.py"
    spec = importlib.util.spec_from_file_location("write_cli_docs", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run: python tools/write_cli_docs.py"


WRONG_VALUES: dict[str, tuple[tuple[str, ...], str]] = {
    "network": (("proof", "verify", "one.json", "--network", "moon"), '"mainnet", "testnet", "regtest"'),
    "negative timeout": (("wait", "00", "--timeout=-1"), "--timeout. Must be >= 0"),
    "limit of none": (("list", "--limit", "0"), "--limit. Must be >= 1"),
    "no provider's file": (("provider", "serve"), "create one: layer2 config init --role provider; or"),
    "proof in no directory": (
        ("transfer", "20000", "--from", "bob", "--to", "lightning", "--proof", "none/one.json"),
        "none; nothing was sent; name another file: --proof",
    ),
    "proof that cannot be read": (("proof", "show", "none.json"), "No such file or directory; check the path"),
}


@pytest.mark.parametrize("case", WRONG_VALUES)
def test_a_wrong_value_is_refused_before_a_file_or_a_node_is_used(tmp_path: Path, case: str) -> None:
    words, text = WRONG_VALUES[case]
    ran = layer2_here(*words, cwd=tmp_path)
    assert (ran.status, ran.out) == (3, "")
    assert text in ran.err
    no_traceback(ran)


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
