"""``layer2 proof complete`` without a network: what it says, and that it writes nothing then."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cli.running import Ran, layer2_here, no_traceback
from layer2.formats.evm_address import to_checksum
from layer2.journal.sql_journal import SqlJournal
from layer2.ports.journal import Role, SwapRecord
from layer2.proofs.model import TransferProof
from layer2.proofs.statement import StatedOutcome
from layer2.swap_rules.states import TakerRefunded, write_state
from layer2.terms.signing import write_signed_terms
from proofs import made_proofs as made
from proofs.made_statements import stated

CONFIG = f"""
network = "regtest"
default_timeout_ms = 2000
[bob]
rpc_url = "http://127.0.0.1:9"
token_address = "{to_checksum(made.TOKEN)}"
token_decimals = 8
key_file = "key"
[[providers]]
name = "provider"
url = "http://127.0.0.1:9"
identity_key = "{made.PROVIDER_KEY.hex()}"
"""
REFUND = made.to_bob().terms
ID = REFUND.terms.swap_id


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "layer2.toml").write_text(CONFIG)
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text(made.PAYEE.to_hex())
    return tmp_path


async def remember_a_refund(journal: Path) -> None:
    """A transfer from Lightning to BOB in the taker's journal that left no evidence."""
    opened = await SqlJournal.open(journal)
    await opened.create(
        SwapRecord(
            swap_id=ID,
            role=Role.TAKER,
            state=write_state(TakerRefunded("0xaa", "no payment")),
            payment_hash=REFUND.terms.payment_hash,
            terms=write_signed_terms(REFUND),
            request={},
            provider_name="provider",
            quote_id="1",
            access=b"\x07" * 32,
            created_at=0,
            updated_at=0,
        )
    )
    await opened.aclose()


def complete(desk: Path, *words: str) -> Ran:
    return layer2_here("proof", "complete", *words, "--json", cwd=desk)


def files(desk: Path) -> set[str]:
    return {each.name for each in desk.iterdir() if not each.name.startswith("layer2-journal")}


def test_a_transfer_without_evidence_is_named_and_nothing_is_written(desk: Path) -> None:
    asyncio.run(remember_a_refund(desk / "layer2-journal.sqlite"))
    before = files(desk)
    ran = complete(desk, ID)
    assert (ran.status, ran.envelope["error"]["code"]) == (5, "node_unreachable"), ran.err
    data = ran.envelope["data"]
    assert (data["file"], data["added"], set(data["not_added"])) == (None, [], {"destination", "statement"})
    assert files(desk) == before
    no_traceback(ran)


def test_a_file_with_a_statement_alone_is_not_completed_by_it(desk: Path) -> None:
    bare = stated(TransferProof(REFUND, None, None), StatedOutcome.REFUNDED)
    before = bare.save(desk / "bare.json").read_bytes()
    ran = complete(desk, "bare.json", "--output", "other.json")
    assert (ran.status, ran.envelope["error"]["code"]) == (5, "node_unreachable"), ran.err
    assert (desk / "bare.json").read_bytes() == before
    assert not (desk / "other.json").exists()


def test_a_proof_that_lacks_nothing_is_written_as_it_is(desk: Path) -> None:
    whole = stated(made.to_lightning()).save(desk / "whole.json")
    ran = complete(desk, "whole.json", "--output", "copy.json")
    assert (ran.status, ran.envelope["data"]["added"], ran.envelope["data"]["not_added"]) == (0, [], {}), ran.err
    assert (desk / "copy.json").read_bytes() == whole.read_bytes()
    assert not (desk / "layer2-journal.sqlite").exists()


def test_a_forged_file_is_refused_before_anyone_is_asked(desk: Path) -> None:
    made.to_lightning().save(desk / "good.json")
    text = (desk / "good.json").read_text().replace('"amount":"100000"', '"amount":"200000"')
    (desk / "forged.json").write_text(text)
    ran = complete(desk, "forged.json", "--storage")
    assert (ran.status, ran.envelope["error"]["code"]) == (1, "proof_refused")
    assert "terms_signature" in ran.err
