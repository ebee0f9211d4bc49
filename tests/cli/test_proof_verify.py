"""``layer2 proof verify`` and ``show`` without a node: what a file shows, and what its reader has to declare."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

from cli.running import layer2_here, no_traceback
from layer2.formats.bitcoin_block import decode_header
from layer2.formats.keccak import keccak256
from layer2.formats.rsk_header import decode_full_header
from layer2.legs.evidence import BitcoinSpendEvidence, EvmReceiptEvidence, RootstockReceiptEvidence
from layer2.legs.evm import EvmLeg
from layer2.proofs.model import TransferProof
from layer2.proofs.statement import StatedOutcome
from proofs import made_bitcoin, made_rootstock, made_storage
from proofs import made_proofs as made
from proofs.made_statements import SETTLED, stated

NODE_IS_DOWN = f"""
network = "regtest"
default_timeout_ms = 2000
[bob]
rpc_url = "http://127.0.0.1:9"
token_address = "0x{made.TOKEN.hex()}"
token_decimals = 8
key = "{"01" * 32}"
[[providers]]
name = "one"
url = "https://swaps.example.org"
identity_key = "{made.PROVIDER_KEY.hex()}"
"""
DECLARED = (
    *("--provider", made.PROVIDER_KEY.hex(), "--network", "regtest"),
    *("--token", f"60808:0x{made.TOKEN.hex()}:8"),
)
"""What a verifier has to declare of a made proof."""
BOTH_TOKENS = (*DECLARED[-2:], "--token", f"33:0x{made.TOKEN.hex()}:8")
"""For a proof between BOB and Rootstock."""


def test_a_forged_proof_is_refused_and_a_refund_is_not_a_success(tmp_path: Path) -> None:
    made.to_lightning().save(tmp_path / "good.json")
    made.refunded().save(tmp_path / "refund.json")
    text = (tmp_path / "good.json").read_text().replace('"amount":"100000"', '"amount":"200000"')
    (tmp_path / "forged.json").write_text(text)
    forged = layer2_here("proof", "verify", "forged.json", "--json", cwd=tmp_path)
    assert forged.status == 1
    assert "terms_signature" in forged.envelope["error"]["message"]
    (tmp_path / "edited.json").write_text((tmp_path / "good.json").read_text() + "\n")
    edited = layer2_here("proof", "verify", "edited.json", cwd=tmp_path)
    assert edited.status == 1
    assert "if an editor or a mail program has changed the file" in edited.err
    refund = layer2_here("proof", "verify", "refund.json", "--json", cwd=tmp_path)
    assert (refund.status, refund.envelope["error"]["code"]) == (1, "proof_of_refund")
    assert refund.envelope["data"]["proof_id"] == made.refunded().proof_id.hex()
    other = layer2_here("proof", "verify", "good.json", "--provider", "00" * 32, "--json", cwd=tmp_path)
    assert other.status == 1


def test_a_known_provider_shows_no_completion_while_the_header_is_unknown(tmp_path: Path) -> None:
    made.to_lightning().save(tmp_path / "fabricated.json")
    for options in ((), ("--provider", made.PROVIDER_KEY.hex())):
        ran = layer2_here("proof", "verify", "fabricated.json", *options, cwd=tmp_path)
        assert ran.status == 4
        assert "not shown" in ran.out
        assert "holds" not in ran.out
        assert "ask your own node" in ran.out
        # The report says what is open; the error does not repeat it, and names the remedy.
        assert "ask your own node" not in ran.err
        assert "more is open than the policy accepts; use --node, or --trusted-header" in ran.err
        no_traceback(ran)


def test_a_providers_word_is_enough_only_for_those_who_ask_for_no_more(tmp_path: Path) -> None:
    stated(made.to_lightning()).save(tmp_path / "stated.json")
    made.to_lightning().save(tmp_path / "unstated.json")
    replace(stated(made.between_chains()), destination_leg=None).save(tmp_path / "half.json")
    stated(made.refunded(), StatedOutcome.REFUNDED).save(tmp_path / "refund.json")
    stated(made.to_lightning(), StatedOutcome.REFUNDED, destination=SETTLED).save(tmp_path / "lie.json")
    signer = (*DECLARED, "--token", f"33:0x{made.TOKEN.hex()}:8")
    stated_only = (*signer, "--requires", "stated")
    cases = [
        ("stated.json", (), 4, "use --node"),
        ("stated.json", signer, 4, "if the provider's statement is enough for you: --requires stated"),
        ("stated.json", stated_only, 0, ""),
        ("unstated.json", stated_only, 4, "layer2 proof complete FILE"),
        ("half.json", stated_only, 1, "shows one leg"),
        ("refund.json", stated_only, 1, "shows a refund"),
        ("lie.json", signer, 1, "statement: the provider states"),
        ("unstated.json", (*DECLARED[2:], "--requires", "stated"), 4, "layer2 proof complete FILE"),
        ("stated.json", (*DECLARED[2:], "--requires", "stated"), 4, "only if you name the provider that signed it"),
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


def test_a_leg_that_no_node_can_show_needs_the_statement_and_no_node_is_asked(tmp_path: Path) -> None:
    made.to_lightning().save(tmp_path / "unstated.json")
    made.between_chains().save(tmp_path / "two-chains.json")
    (tmp_path / "layer2.toml").write_text(NODE_IS_DOWN)
    words = ("--node", "--requires", "stated", "--json")
    ran = layer2_here("proof", "verify", "unstated.json", *words, cwd=tmp_path)
    assert (ran.status, ran.envelope["error"]["code"]) == (4, "proof_undecided"), ran.err
    assert "the end of the BOB leg is stated" in ran.err
    assert "layer2 proof complete FILE" in ran.err
    assert not ran.envelope["error"]["retryable"]
    # A node can show the blocks of both legs, in place of a statement.
    asked = layer2_here("proof", "verify", "two-chains.json", *words, *BOTH_TOKENS, cwd=tmp_path)
    assert asked.status == 5, asked.err


def test_the_verdict_names_each_condition_under_which_it_holds(tmp_path: Path) -> None:
    stated(made.to_lightning()).save(tmp_path / "stated.json")
    made.to_lightning().save(tmp_path / "unstated.json")
    made.between_chains().save(tmp_path / "two.json")
    made.refunded().save(tmp_path / "refund.json")

    def verdict(file: str, *options: str) -> str:
        own = [keccak256(leg.header).hex() for leg in legs_of(tmp_path / file) if is_receipt(leg)]
        trusted = [
            ("--trusted-header", f"{layer}:{each}") for layer, each in zip(("BOB", "ROOTSTOCK"), own, strict=False)
        ]
        words = options if "stated" in options else (*(word for pair in trusted for word in pair), *options)
        return layer2_here("proof", "verify", file, *words, cwd=tmp_path).out.splitlines()[0].partition("   ")[2]

    by_word = verdict("stated.json", *DECLARED, "--requires", "stated")
    assert by_word == "holds: a completed transfer, if the provider's statement about BOB and LIGHTNING is true"
    half = verdict("stated.json", *DECLARED)
    assert half == "holds: a completed transfer, if the provider's statement about LIGHTNING is true"
    preimage = verdict("unstated.json", *DECLARED)
    assert preimage == "holds: a completed transfer, if the payment on LIGHTNING was made: a preimage does not show it"
    payee = ("--payee", made.PAYEE.public_key.format().hex())
    assert verdict("unstated.json", *DECLARED, *payee) == "holds: a completed transfer"
    assert verdict("two.json", *DECLARED[:4], *BOTH_TOKENS) == "holds: a completed transfer"
    undeclared = "not accepted: it shows a completed transfer, and you did not declare its"
    assert verdict("two.json") == f"{undeclared} signer, its token and its network"
    assert verdict("two.json", *DECLARED[:2], *BOTH_TOKENS) == f"{undeclared} network"
    refund = verdict("refund.json", *DECLARED[2:])
    assert refund == "not accepted: it shows a refund, not a completed transfer, and you did not declare its signer"


def legs_of(file: Path) -> tuple[object, object]:
    proof = TransferProof.load(file)
    return proof.source_leg, proof.destination_leg


def test_a_refund_claims_nothing_about_a_leg_without_evidence(tmp_path: Path) -> None:
    made.refunded().save(tmp_path / "refund.json")
    ran = layer2_here("proof", "verify", "refund.json", cwd=tmp_path)
    assert "nothing is shown about this leg: neither that money was paid here, nor that it came back" in ran.out
    # A refund shows no preimage, so nobody made the one that it shows.
    assert "  preimage" not in ran.out


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
    later = layer2_here("proof", "verify", "good.json", "--trusted-header", "00" * 32, cwd=tmp_path)
    assert "if the block that you trust is a later one: --headers" in later.err
    people = layer2_here("proof", "verify", "good.json", "--trusted-header", own, cwd=tmp_path)
    assert "on the chain of the header that you trust" in people.out


def test_a_lock_that_the_storage_shows_is_placed_by_a_trusted_header(tmp_path: Path) -> None:
    proof = made.to_lightning()
    terms = proof.terms.terms
    assert isinstance(terms.source, EvmLeg)
    evidence = made_storage.evidence_of(terms.source, terms)
    replace(proof, source_leg=evidence).save(tmp_path / "good.json")
    own, signer = keccak256(evidence.header).hex(), DECLARED
    assert layer2_here("proof", "verify", "good.json", *signer, cwd=tmp_path).status == 4
    ran = layer2_here("proof", "verify", "good.json", "--trusted-header", own, *signer, cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert "on the chain of the header that you trust" in ran.out
    assert "the preimage with which the lock on BOB was claimed" in ran.out
    shown = layer2_here("proof", "show", "good.json", cwd=tmp_path)
    assert "source: evm_storage; destination: lightning_payment" in shown.out


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
        "source: bitcoin_spend",
    ):
        assert part in shown.out
    ran = layer2_here("proof", "headers", "good.json", "headers.txt", "--json", cwd=tmp_path)
    # The proof is not refused: the command is the wrong one.
    assert (ran.status, ran.envelope["error"]["code"]) == (3, "usage")
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
        if status == 3:
            assert ran.envelope["error"]["code"] == "usage"
    shown = layer2_here("proof", "show", "good.json", cwd=tmp_path)
    assert "source: rootstock_receipt" in shown.out
    assert "(18 decimals) of RBTC" in shown.out


def test_checking_a_proof_without_a_node_loads_no_network_database_or_settings_library(tmp_path: Path) -> None:
    made.to_lightning().save(tmp_path / "good.json")
    program = (
        "import sys\nfrom layer2.cli.app import run\nassert run(['proof', 'verify', 'good.json']) == 4\n"
        "assert not {'aiohttp', 'sqlalchemy', 'pydantic', 'layer2.manager'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False).returncode == 0


def test_the_evidence_of_a_proof_is_checked_once_whatever_its_headers_need(tmp_path: Path) -> None:
    proof = made.to_lightning()
    proof.save(tmp_path / "good.json")
    assert isinstance(proof.source_leg, EvmReceiptEvidence)
    program = (
        "import sys\nfrom layer2.proofs import check\nfrom layer2.cli.app import run\n"
        "checked, is_signed = [], check.is_signed\n"
        "check.is_signed = lambda *given: (checked.append(given), is_signed(*given))[1]\n"
        "assert run(['proof', 'verify', 'good.json', *sys.argv[1:]]) == 4\nassert len(checked) == 1, len(checked)"
    )
    for options in ((), ("--trusted-header", keccak256(proof.source_leg.header).hex())):
        command = [sys.executable, "-c", program, *options]
        assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0, options
