"""Asking providers for completion statements: a few times, in the background, and nothing depends on the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layer2.errors import Layer2Error, NodeUnreachable, StatementRefused, UnknownTransfer
from layer2.journal.sql_journal import SqlJournal
from layer2.manager.statements import StatementRequests
from layer2.ports.journal import Role, SwapRecord
from layer2.proofs.model import TransferProof
from layer2.proofs.statement import SignedStatement, StatedOutcome
from layer2.swap_rules.states import (
    TakerAbandoned,
    TakerCollecting,
    TakerCompleted,
    TakerRefunded,
    TakerState,
    write_state,
)
from layer2.terms.documents import Terms
from layer2.terms.signing import write_signed_terms
from proofs import made_proofs as made
from proofs.made_statements import SETTLED, signed, statement

NOW = made.INVOICE_TIME
PROOF = made.to_lightning()
ID = PROOF.terms.terms.swap_id
COMPLETED, REFUNDED = TakerCompleted("0xaa", "bb"), TakerRefunded("0xaa", "no payment")


class FakeProvider:
    """Answers with its queue of answers, and then with the last one."""

    def __init__(self, *answers: SignedStatement | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []

    async def completion_statement(self, terms: Terms, access_token: bytes) -> SignedStatement:
        assert terms == PROOF.terms.terms
        self.asked.append(access_token)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqlJournal]:
    journal = await SqlJournal.open(tmp_path / "journal.sqlite")
    yield journal
    await journal.aclose()


async def ended(journal: SqlJournal, state: TakerState = COMPLETED, proof: TransferProof | None = PROOF) -> SwapRecord:
    """A transfer of the taker in that state."""
    record = await journal.create(
        SwapRecord(
            swap_id=ID,
            role=Role.TAKER,
            state=write_state(TakerCollecting("0xaa", "bb", has_arrived=True, final_at=None)),
            payment_hash=PROOF.terms.terms.payment_hash,
            terms=write_signed_terms(PROOF.terms),
            request={},
            provider_name="provider",
            quote_id="1",
            access=b"\x07" * 32,
            created_at=NOW,
            updated_at=NOW,
        )
    )
    if proof is not None:
        await journal.save_proof(ID, proof.to_bytes())
    return await journal.advance(record, state=write_state(state), is_final=state.is_final, event="the end", now=NOW)


def asking(journal: SqlJournal, provider: FakeProvider, pauses: tuple[float, ...] = (0.0,) * 3) -> StatementRequests:
    providers: Any = {"provider": provider}
    return StatementRequests(journal, providers, pauses, 0.001)


async def stored(journal: SqlJournal) -> TransferProof | None:
    data = await journal.load_proof(ID)
    return None if data is None else TransferProof.from_bytes(data)


async def rounds(statements: StatementRequests, number: int = 5) -> None:
    """Let it look a number of times, one after the other."""
    for _ in range(number):
        await statements.background.once()


def not_final() -> StatementRefused:
    return StatementRefused("later", code="end_not_final", retryable=True)


async def test_the_statement_is_kept_with_the_proof(journal: SqlJournal) -> None:
    expected = signed(statement(PROOF.terms.terms))
    provider = FakeProvider(not_final(), NodeUnreachable("down", retryable=True), expected)
    statements = asking(journal, provider)
    statements.note(await ended(journal))
    await rounds(statements)
    assert await stored(journal) == replace(PROOF, statement=expected)
    assert provider.asked == [b"\x07" * 32] * 3


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (not_final(), 3),
        (NodeUnreachable("down", retryable=True), 3),
        (StatementRefused("never"), 1),
        (UnknownTransfer("an old provider has no such path"), 1),
        (signed(statement(PROOF.terms.terms), made.PAYEE), 1),
        (signed(statement(PROOF.terms.terms, StatedOutcome.REFUNDED, destination=SETTLED)), 1),
    ],
    ids=["not final", "unreachable", "refused", "unknown", "forged", "a lie"],
)
async def test_whatever_else_the_provider_answers_leaves_the_proof_as_it_is(
    journal: SqlJournal, answer: SignedStatement | Layer2Error, asked: int
) -> None:
    provider = FakeProvider(answer)
    statements = asking(journal, provider)
    statements.note(await ended(journal))
    await rounds(statements)
    assert await stored(journal) == PROOF
    assert len(provider.asked) == asked


async def test_only_transfers_that_ended_with_money_are_asked_for(journal: SqlJournal) -> None:
    provider = FakeProvider(not_final())
    statements = asking(journal, provider)
    record = await ended(journal)
    for state in (TakerCollecting("0xaa", "bb", has_arrived=True, final_at=None), TakerAbandoned("nothing locked")):
        statements.note(replace(record, state=write_state(state), is_final=state.is_final))
    statements.note(replace(record, role=Role.PROVIDER))
    await rounds(statements)
    assert provider.asked == []


async def test_a_transfer_that_is_reopened_is_asked_for_when_it_ends_again(journal: SqlJournal) -> None:
    provider = FakeProvider(not_final())
    statements = asking(journal, provider)
    record = await ended(journal)
    statements.note(record)
    statements.note(replace(record, state=write_state(TakerCollecting(None, None, False, None)), is_final=False))
    await rounds(statements)
    assert provider.asked == []
    statements = asking(journal, provider)
    statements.note(record)
    await rounds(statements)
    assert len(provider.asked) == 3


async def test_a_proof_that_has_a_statement_is_not_asked_for_again(journal: SqlJournal) -> None:
    provider = FakeProvider(not_final())
    statements = asking(journal, provider)
    with_statement = replace(PROOF, statement=signed(statement(PROOF.terms.terms)))
    statements.note(await ended(journal, proof=with_statement))
    await rounds(statements)
    assert provider.asked == []
    assert await stored(journal) == with_statement


async def test_a_transfer_without_evidence_gets_no_proof_of_the_statement_alone(journal: SqlJournal) -> None:
    provider = FakeProvider(signed(statement(PROOF.terms.terms, StatedOutcome.REFUNDED)))
    statements = asking(journal, provider)
    statements.note(await ended(journal, REFUNDED, proof=None))
    await rounds(statements)
    assert await stored(journal) is None
    assert provider.asked == []


async def test_the_pauses_between_the_tries_are_kept(journal: SqlJournal) -> None:
    provider = FakeProvider(not_final())
    statements = asking(journal, provider, (0.0, 60.0))
    statements.note(await ended(journal))
    await rounds(statements)
    assert len(provider.asked) == 1


async def test_the_pause_that_the_provider_asks_for_is_kept(journal: SqlJournal) -> None:
    later = not_final()
    later.retry_after = 60.0
    provider = FakeProvider(later)
    statements = asking(journal, provider)
    statements.note(await ended(journal))
    await rounds(statements)
    assert len(provider.asked) == 1
