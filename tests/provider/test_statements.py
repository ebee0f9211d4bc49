"""A provider states how a swap ended only when its own nodes show that both legs have ended finally."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layer2.errors import NodeUnreachable, ProofUndecided, StatementRefused
from layer2.formats.json_object import JsonObject
from layer2.legs.evm import EvmLeg
from layer2.legs.lock_evidence import block_of
from layer2.legs.views import LegState
from layer2.model.transactions import Finality, SwapId
from layer2.ports.journal import Delivery, Intent
from layer2.proofs.model import TransferProof
from layer2.proofs.statement import (
    SignedStatement,
    StatedBlock,
    StatedFinality,
    StatedLeg,
    StatedOutcome,
    check_statement,
    read_signed_statement,
)
from layer2.provider.statements import StatementIssuer
from layer2.signers.software import SoftwareIdentity
from layer2.swap_engine.records import record_terms
from layer2.swap_rules.states import (
    ProviderCollecting,
    ProviderCompleted,
    ProviderCounterFunding,
    ProviderLost,
    ProviderReleased,
    ProviderState,
)
from layer2.terms.documents import SignedTerms
from proofs import made_proofs as made
from provider.callers import Caller, bearer, error
from provider.made_providers import World, served, world

COMPLETED = ProviderCompleted("0xaa", "bb")
RELEASED = ProviderReleased("0xaa", None, "the taker did not collect")
COLLECTED = {"state": LegState.COLLECTED, "final": True}
RETURNED = {"state": LegState.RETURNED, "final": True}
SETTLED = StatedLeg(None, StatedFinality.SETTLED)
UNFUNDED = StatedLeg(None, StatedFinality.UNFUNDED)
PATH = f"/v1/swaps/{'01' * 16}/statement"
DAY = 24 * 3600
PAUSE = 30
"""Seconds that the provider asks a taker to wait."""


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    async with world(tmp_path) as made_world, served(made_world) as (url, session):
        yield Caller(made_world, url, session)


async def agreed(made_world: World) -> SignedTerms:
    """A swap from BOB to Lightning with the test's preimage."""
    request = await made_world.request(1)
    payment_hash = made.PREIMAGE.payment_hash
    request = replace(request, payment_hash=payment_hash, destination=made_world.invoice(payment_hash))
    await made_world.open_swap(request)
    record = await made_world.journal.load(request.swap_id)
    assert record is not None
    signed = record_terms(record)
    assert signed is not None
    # The acceptance has looked at both legs.
    made_world.bob.observed = made_world.lightning.observed = 0
    return signed


async def ended(made_world: World, state: ProviderState, *, event: str = "Claimed", paid: bool = True) -> SignedTerms:
    """A swap that has ended, and what its nodes show."""
    signed = await agreed(made_world)
    swap_id = signed.terms.swap_id
    if paid:
        record = await made_world.engine.move(swap_id, ProviderCounterFunding("0xaa"), "counter-funding")
        await made_world.journal.advance(
            record,
            state=record.state,
            is_final=False,
            event="fund of the destination",
            now=record.updated_at,
            intents=[Intent(1, "fund", "destination", {"act": {}})],
        )
        (intent,) = await made_world.journal.intents(swap_id)
        record = await loaded(made_world, swap_id)
        await made_world.journal.begin_delivery(record, intent, "ab" * 16)
        await made_world.journal.record_delivery(record, 1, Delivery.TAKEN)
    await made_world.engine.move(swap_id, state, "the end")
    assert isinstance(signed.terms.source, EvmLeg)
    made_world.bob.found = made.evidence_of(signed.terms.source, signed.terms, event=event)
    made_world.bob.shown = COLLECTED if event == "Claimed" else RETURNED
    made_world.lightning.shown = made_world.bob.shown
    return signed


async def loaded(made_world: World, swap_id: SwapId) -> Any:
    record = await made_world.journal.load(swap_id)
    assert record is not None
    return record


def block_found(made_world: World) -> StatedLeg:
    evidence: Any = made_world.bob.found
    block = block_of(evidence)
    return StatedLeg(StatedBlock(block.number, block.hash), StatedFinality.FINALIZED)


async def stated(caller: Caller, signed: SignedTerms) -> SignedStatement:
    status, answer = await caller.get(PATH, **bearer(1))
    assert status == 200, answer
    fields = JsonObject(answer, "statement")
    statement = read_signed_statement(fields)
    fields.end()
    check_statement(statement, signed.terms)
    return statement


async def refusal(caller: Caller) -> tuple[int, str]:
    status, code, _ = error(await caller.get(PATH, **bearer(1)))
    return status, code


async def test_a_completed_swap_is_stated_with_its_block_and_its_amounts(caller: Caller) -> None:
    signed = await ended(caller.made, COMPLETED)
    statement = (await stated(caller, signed)).statement
    assert statement.outcome is StatedOutcome.COMPLETED
    assert (statement.received, statement.paid) == (signed.terms.source_amount, signed.terms.amount)
    assert (statement.source, statement.destination) == (block_found(caller.made), SETTLED)
    assert statement.stated_at == int(caller.made.clock.now())


async def test_the_statement_is_made_once_and_kept_with_the_providers_proof(caller: Caller) -> None:
    signed = await ended(caller.made, COMPLETED)
    first = await stated(caller, signed)
    caller.made.clock.time += 50
    for layer in caller.made.layers.values():
        layer.away = NodeUnreachable("down")
    assert await stated(caller, signed) == first
    data = await caller.made.journal.load_proof(signed.terms.swap_id)
    assert data is not None
    assert TransferProof.from_bytes(data).statement == first


@pytest.mark.parametrize("layer", ["bob", "lightning"])
async def test_nothing_is_stated_while_the_end_of_a_leg_is_not_final(caller: Caller, layer: str) -> None:
    signed = await ended(caller.made, COMPLETED)
    node = getattr(caller.made, layer)
    for shown in ({"state": LegState.COLLECTED, "arrived": True}, {"state": LegState.FUNDED}, {}):
        node.shown = shown
        assert await refusal(caller) == (503, "end_not_final")
        caller.made.clock.time += PAUSE
    async with caller.session.get(caller.url + PATH, headers=bearer(1)) as answer:
        assert answer.headers["Retry-After"] == str(PAUSE)
    node.shown = COLLECTED
    caller.made.clock.time += PAUSE
    await stated(caller, signed)


async def test_no_node_is_asked_about_a_swap_that_has_not_ended(caller: Caller) -> None:
    signed = await agreed(caller.made)
    assert await refusal(caller) == (503, "end_not_final")
    await caller.made.engine.move(
        signed.terms.swap_id, ProviderCollecting("0xaa", "bb", has_arrived=True), "collecting"
    )
    assert await refusal(caller) == (503, "end_not_final")
    assert caller.made.bob.observed == caller.made.lightning.observed == 0


async def test_only_the_holder_of_the_token_gets_it(caller: Caller) -> None:
    await ended(caller.made, COMPLETED)
    assert error(await caller.get(PATH))[:2] == (401, "access")
    assert error(await caller.get(PATH, **bearer(2)))[:2] == (401, "access")
    assert error(await caller.get(f"/v1/swaps/{'99' * 16}/statement", **bearer(1)))[:2] == (404, "unknown_swap")


async def test_evidence_of_the_journal_is_confirmed_and_not_searched_for(caller: Caller) -> None:
    signed = await ended(caller.made, COMPLETED)
    evidence = caller.made.bob.found
    assert evidence is not None
    await caller.made.journal.save_proof(signed.terms.swap_id, TransferProof(signed, evidence, None).to_bytes())
    caller.made.bob.confirms = ProofUndecided("not that final yet")
    assert await refusal(caller) == (503, "end_not_final")
    caller.made.bob.confirms = True
    # However long ago it ended.
    caller.made.clock.time += 100 * DAY
    assert (await stated(caller, signed)).statement.source == block_found(caller.made)
    assert caller.made.bob.observed == 0
    assert isinstance(signed.terms.source, EvmLeg)
    assert caller.made.bob.confirmed[-1] == (evidence, signed.terms.source.contract, Finality.FINALIZED)


async def test_a_proof_that_has_no_space_for_the_statement_is_kept_without_it(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = await ended(caller.made, COMPLETED)
    data = TransferProof(signed, caller.made.bob.found, None).to_bytes()
    await caller.made.journal.save_proof(signed.terms.swap_id, data)
    monkeypatch.setattr("layer2.proofs.model._MAX_BYTES", len(data))
    assert (await stated(caller, signed)).statement.outcome is StatedOutcome.COMPLETED
    assert await caller.made.journal.load_proof(signed.terms.swap_id) == data


async def test_evidence_whose_block_is_gone_is_searched_for_again(caller: Caller) -> None:
    signed = await ended(caller.made, COMPLETED)
    assert isinstance(signed.terms.source, EvmLeg)
    gone = made.evidence_of(signed.terms.source, signed.terms, block_time=made.BLOCK_TIME + 1)
    await caller.made.journal.save_proof(signed.terms.swap_id, TransferProof(signed, gone, None).to_bytes())
    assert (await stated(caller, signed)).statement.source == block_found(caller.made)


async def test_an_old_swap_without_evidence_is_not_searched_for(caller: Caller) -> None:
    await ended(caller.made, COMPLETED)
    caller.made.clock.time += 8 * DAY
    assert await refusal(caller) == (409, "no_statement")
    assert caller.made.bob.observed == 0


async def test_a_refund_is_stated_with_a_destination_that_was_never_funded(caller: Caller) -> None:
    signed = await ended(caller.made, RELEASED, event="Refunded", paid=False)
    statement = (await stated(caller, signed)).statement
    assert (statement.outcome, statement.received, statement.paid) == (StatedOutcome.REFUNDED, 0, 0)
    assert (statement.source, statement.destination) == (block_found(caller.made), UNFUNDED)
    assert caller.made.lightning.observed == 0


async def test_a_refund_is_stated_when_what_the_provider_paid_is_back_finally(caller: Caller) -> None:
    signed = await ended(caller.made, RELEASED, event="Refunded")
    for shown in ({"state": LegState.FUNDED}, {"state": LegState.RETURNED, "arrived": True}):
        caller.made.lightning.shown = shown
        assert await refusal(caller) == (503, "end_not_final")
    caller.made.lightning.shown = RETURNED
    assert (await stated(caller, signed)).statement.destination == SETTLED


async def test_a_payment_that_the_node_has_deleted_is_not_stated_as_never_made(caller: Caller) -> None:
    # The journal, which can be an old copy, does not show that no payment left.
    await ended(caller.made, RELEASED, event="Refunded")
    caller.made.lightning.shown = {"over": True}
    assert await refusal(caller) == (409, "no_statement")


async def test_a_swap_in_which_money_was_lost_is_not_stated(caller: Caller) -> None:
    await ended(caller.made, ProviderLost("0xaa", "bb", "too late"))
    assert await refusal(caller) == (409, "no_statement")
    assert caller.made.bob.observed == 0


async def test_nothing_is_stated_about_a_swap_that_nobody_funded(caller: Caller) -> None:
    await ended(caller.made, RELEASED, event="Refunded", paid=False)
    caller.made.bob.shown = {"over": True}
    assert await refusal(caller) == (409, "no_statement")


async def test_no_node_is_asked_about_a_swap_that_cost_the_taker_nothing(caller: Caller) -> None:
    await ended(caller.made, ProviderReleased(None, None, "not funded"), event="Refunded", paid=False)
    caller.made.bob.shown = {"over": True}
    assert await refusal(caller) == (409, "no_statement")
    assert caller.made.bob.observed == caller.made.lightning.observed == 0


async def test_a_final_end_whose_evidence_is_of_a_newer_block_is_not_stated(caller: Caller) -> None:
    signed = await ended(caller.made, COMPLETED)
    # The storage of the finalized block cannot be proven, so the evidence is of the newest one.
    caller.made.bob.confirms = ProofUndecided("not that final yet")
    assert await refusal(caller) == (503, "end_not_final")
    caller.made.clock.time += PAUSE
    caller.made.bob.confirms = False
    assert await refusal(caller) == (503, "end_not_final")
    caller.made.clock.time += PAUSE
    caller.made.bob.confirms = True
    await stated(caller, signed)


async def test_an_end_that_is_not_final_is_searched_for_again_after_the_pause_only(caller: Caller) -> None:
    signed = await ended(caller.made, COMPLETED)
    caller.made.bob.shown = {"state": LegState.FUNDED}
    for _ in range(5):
        assert await refusal(caller) == (503, "end_not_final")
    assert caller.made.bob.observed == 1
    caller.made.bob.shown = COLLECTED
    caller.made.clock.time += PAUSE
    await stated(caller, signed)
    assert caller.made.bob.observed == 2


async def test_a_refused_request_leaves_no_search_behind(caller: Caller) -> None:
    await ended(caller.made, COMPLETED)
    caller.made.bob.shown = {"state": LegState.FUNDED}
    assert await refusal(caller) == (503, "end_not_final")
    assert caller.made.lightning.observed == 0


@pytest.mark.parametrize(
    ("state", "bob", "lightning"),
    [
        (COMPLETED, COLLECTED, RETURNED),
        (COMPLETED, RETURNED, COLLECTED),
        (COMPLETED, RETURNED, RETURNED),
        (RELEASED, RETURNED, COLLECTED),
        (RELEASED, COLLECTED, RETURNED),
        (RELEASED, COLLECTED, COLLECTED),
    ],
)
async def test_legs_that_ended_otherwise_than_the_swap_are_not_stated(
    caller: Caller, state: ProviderState, bob: dict[str, Any], lightning: dict[str, Any]
) -> None:
    await ended(caller.made, state, event="Claimed" if bob is COLLECTED else "Refunded")
    caller.made.bob.shown, caller.made.lightning.shown = bob, lightning
    assert await refusal(caller) == (409, "no_statement")


async def test_a_node_that_is_down_is_asked_again_later(caller: Caller) -> None:
    signed = await ended(caller.made, COMPLETED)
    caller.made.lightning.away = NodeUnreachable("down")
    assert await refusal(caller) == (503, "not_ready")
    caller.made.lightning.away = None
    await stated(caller, signed)


async def test_evidence_of_another_end_than_the_view_is_not_stated(caller: Caller) -> None:
    signed = await ended(caller.made, COMPLETED)
    assert isinstance(signed.terms.source, EvmLeg)
    caller.made.bob.found = made.evidence_of(signed.terms.source, signed.terms, event="Refunded")
    assert await refusal(caller) == (503, "end_not_final")
    caller.made.clock.time += PAUSE
    caller.made.bob.found = None
    assert await refusal(caller) == (503, "end_not_final")


async def test_another_process_of_the_provider_states_it_from_the_journal_and_its_nodes(tmp_path: Path) -> None:
    async with world(tmp_path) as first:
        signed = await ended(first, COMPLETED)
        evidence = first.bob.found
    async with world(tmp_path) as second, served(second) as (url, session):
        second.bob.found, second.bob.shown, second.lightning.shown = evidence, COLLECTED, COLLECTED
        caller = Caller(second, url, session)
        assert (await stated(caller, signed)).statement.source == block_found(second)
        assert second.engine.driven == []
        # What the search made the layers follow.
        assert len(second.bob.freed) == len(second.lightning.freed) == 1


async def test_a_provider_with_a_new_key_states_nothing_about_terms_of_the_old_one(caller: Caller) -> None:
    signed = await ended(caller.made, COMPLETED)
    provider = caller.made.provider
    statements = StatementIssuer(
        journal=provider.journal,
        layers=provider.layers,
        signer=SoftwareIdentity(made.PAYEE.secret),
        book=provider.book,
        clock=provider.clock,
    )
    with pytest.raises(StatementRefused):
        await statements.make(await loaded(caller.made, signed.terms.swap_id))
    assert caller.made.bob.observed == 0


async def test_a_leg_that_another_open_swap_uses_is_not_freed(caller: Caller) -> None:
    signed = await ended(caller.made, COMPLETED)
    found, shown = caller.made.bob.found, caller.made.bob.shown
    caller.made.bob.shown = caller.made.lightning.shown = {}
    other = await caller.made.request(2)
    payment_hash = signed.terms.payment_hash
    await caller.made.open_swap(
        replace(other, payment_hash=payment_hash, destination=caller.made.invoice(payment_hash))
    )
    caller.made.bob.found, caller.made.bob.shown, caller.made.lightning.shown = found, shown, shown
    await stated(caller, signed)
    assert caller.made.bob.freed == caller.made.lightning.freed == []
