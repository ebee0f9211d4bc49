"""What a provider checks before it is bound, and what open swaps bind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layer2.errors import (
    BadAnswer,
    FundsRulesError,
    IdempotencyConflict,
    InsufficientFunds,
    JournalError,
    Layer2Error,
    NodeUnreachable,
    QuoteExpired,
    SignerError,
)
from layer2.formats.evm_address import to_checksum
from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import LegState, Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.ports.journal import Role
from layer2.swap_rules.agreement import SwapRequest, check_terms
from layer2.swap_rules.states import (
    ProviderAgreed,
    ProviderCounterFunding,
    ProviderReleased,
    TakerPlanned,
    write_state,
)
from layer2.terms.documents import Scheme
from layer2.terms.signing import read_signed_terms
from provider.made_providers import (
    BOB,
    LANDING,
    LIGHTNING,
    OTHER_TAKERS,
    ROOTSTOCK,
    World,
    token_of,
    world,
)
from swap_rules.example_terms import AMOUNT, NOW, PREIMAGE, PROVIDER_EVM, PROVIDER_NODE, STRANGERS_NODE

DIRECTIONS = pytest.mark.parametrize("source", [BOB, LIGHTNING], ids=["bob_to_lightning", "lightning_to_bob"])
FUNDING_AND_LANDING = REGTEST.funding_window + LANDING


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as built:
        yield built


async def refusal(made: World, request: SwapRequest) -> str:
    with pytest.raises(Layer2Error) as refused:
        await made.open_swap(request)
    return refused.value.code


# What is agreed


@DIRECTIONS
async def test_accepted_terms_are_those_that_the_taker_checks(made: World, source: Layer2ProtocolType) -> None:
    signed_quote = await made.quote(source)
    request = replace(await made.request(1, source), quote_id=signed_quote.quote.quote_id)
    terms = read_signed_terms(await made.open_swap(request))
    assert terms.signature.scheme is Scheme.BIP340
    check_terms(terms, signed_quote.quote, request, NOW + 1, REGTEST)


async def test_swaps_between_two_chains_are_agreed_like_any_other(tmp_path: Path) -> None:
    async with world(tmp_path, (BOB, ROOTSTOCK)) as made:
        signed_quote = await made.quote(ROOTSTOCK, BOB)
        request = replace(await made.request(1, ROOTSTOCK, BOB), quote_id=signed_quote.quote.quote_id)
        terms = read_signed_terms(await made.open_swap(request))
        check_terms(terms, signed_quote.quote, request, NOW + 1, REGTEST)


@DIRECTIONS
async def test_an_accepted_swap_is_in_the_journal_and_is_driven(made: World, source: Layer2ProtocolType) -> None:
    request = await made.request(1, source)
    terms = await made.open_swap(request)
    [record] = await made.records()
    assert (record.swap_id, record.role, record.terms) == (request.swap_id, Role.PROVIDER, terms)
    assert record.state == write_state(ProviderAgreed())
    assert made.engine.driven == [request.swap_id]


async def test_the_journal_holds_the_hash_of_the_access_token_and_not_the_token(made: World, tmp_path: Path) -> None:
    request = await made.accept(1)
    [record] = await made.records()
    assert record.access == request.access_hash
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())  # noqa: ASYNC240 - a small file
    assert token_of(1) not in stored
    assert token_of(1).hex().encode() not in stored


@DIRECTIONS
async def test_both_nodes_confirm_first_that_the_swap_can_be_finished(made: World, source: Layer2ProtocolType) -> None:
    await made.accept(1, source)
    payee, payer = (made.bob, made.lightning) if source is BOB else (made.lightning, made.bob)
    assert [side for _, side in payee.checked] == [Side.PAYEE]
    assert [side for _, side in payer.checked] == [Side.PAYER]


@DIRECTIONS
async def test_the_same_request_gets_the_same_terms_even_after_the_quote_and_the_nodes_are_gone(
    made: World, source: Layer2ProtocolType
) -> None:
    request = await made.request(1, source)
    first = await made.open_swap(request)
    made.clock.time += 1_000
    made.bob.away = made.lightning.away = NodeUnreachable("down")
    assert await made.open_swap(request) == first
    assert len(await made.records()) == 1


async def test_many_equal_requests_at_once_are_one_swap(made: World) -> None:
    request = await made.request(1)
    answers = await asyncio.gather(*(made.open_swap(request) for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    assert len(await made.records()) == 1


@pytest.mark.parametrize("field", ["quote_id", "payment_hash", "source", "destination", "access_hash"])
async def test_another_request_under_a_known_id_is_a_conflict(made: World, field: str) -> None:
    request = await made.accept(1)
    other = replace(await made.request(2, taker=OTHER_TAKERS[0]), swap_id=request.swap_id)
    assert await refusal(made, replace(request, **{field: getattr(other, field)})) == "swap_conflict"


async def test_an_id_that_the_journal_has_in_another_role_is_a_conflict(made: World) -> None:
    request = await made.accept(1)
    [record] = await made.records()
    mine = replace(record, swap_id=SwapId("cd" * 16), role=Role.TAKER, state=write_state(TakerPlanned()), terms=None)
    await made.journal.create(replace(mine, quote_id=None))
    assert await refusal(made, replace(request, swap_id=SwapId("cd" * 16))) == "swap_conflict"


async def test_a_quote_serves_one_swap(made: World) -> None:
    first = await made.accept(1)
    second = replace(await made.request(2), quote_id=first.quote_id)
    assert await refusal(made, second) == "quote_expired"


# What binds a hash


@DIRECTIONS
async def test_an_open_hash_cannot_be_used_by_another_swap(made: World, source: Layer2ProtocolType) -> None:
    await made.accept(1, source)
    second = replace(await made.request(1, source), swap_id=SwapId("cd" * 16))
    assert await refusal(made, second) == "payment_hash_used"


async def test_two_requests_for_one_hash_at_once_are_one_swap(made: World) -> None:
    first = await made.request(1)
    second = replace(await made.request(1), swap_id=SwapId("cd" * 16))
    answers = await asyncio.gather(made.open_swap(first), made.open_swap(second), return_exceptions=True)
    assert [isinstance(answer, IdempotencyConflict) for answer in answers] == [False, True]


async def test_an_unfunded_swap_binds_its_hash_until_it_is_released(made: World) -> None:
    # A funding that comes late may still be paid for; a second swap would then collect for the same payment.
    first = await made.accept(1)
    made.clock.time = NOW + FUNDING_AND_LANDING + 1
    again = replace(await made.request(1), swap_id=SwapId("cd" * 16))
    assert await refusal(made, again) == "payment_hash_used"
    await made.engine.move(first.swap_id, ProviderReleased(None, None, "the taker did not fund in time"), "released")
    await made.open_swap(again)


@pytest.mark.parametrize(
    "shown",
    [
        {"state": LegState.COLLECTED, "preimage": PREIMAGE},
        {"state": LegState.RETURNED},
        {"state": LegState.PENDING},
        {"preimage": PREIMAGE},
    ],
    ids=["paid_before", "failed_before", "being_paid", "preimage_is_public"],
)
@pytest.mark.parametrize("end", ["source", "destination"])
async def test_a_provider_that_has_paid_an_invoice_before_does_not_collect_for_it_a_second_time(
    made: World, shown: dict[str, Any], end: str
) -> None:
    # Two payers of one invoice, one after the other: the first swap has ended, and its payment would count again.
    layer = made.bob if end == "source" else made.lightning
    layer.shown = shown
    assert await refusal(made, await made.request(1)) == "payment_hash_used"
    assert made.bob.reserved == made.lightning.reserved == set()
    layer.shown = {}
    await made.accept(1)


async def test_a_funded_swap_binds_its_hash_until_it_ends(made: World) -> None:
    first = await made.accept(1)
    await made.engine.move(first.swap_id, ProviderCounterFunding("0x01"), "counter-funding")
    made.clock.time += 2 * FUNDING_AND_LANDING
    again = replace(await made.request(1), swap_id=SwapId("cd" * 16))
    assert await refusal(made, again) == "payment_hash_used"
    await made.engine.move(first.swap_id, ProviderReleased("0x01", None, "failed"), "released")
    await made.open_swap(again)


async def test_a_hash_that_the_node_has_seen_before_is_a_conflict(made: World) -> None:
    request = await made.request(1, LIGHTNING)
    made.lightning.offer_error = IdempotencyConflict("this payment hash was used before", code="payment_hash_used")
    assert await refusal(made, request) == "payment_hash_used"


# What is refused


async def test_a_quote_that_ended_gives_no_terms(made: World) -> None:
    request = await made.request(1)
    made.clock.time = NOW + 61
    with pytest.raises(QuoteExpired):
        await made.open_swap(request)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prefix": "bc"}, "invoice_network"),
        ({"amount_msat": None}, "invoice_amount"),
        ({"amount_msat": AMOUNT * 1000 - 1}, "invoice_amount"),
    ],
)
async def test_a_wrong_invoice_is_refused_by_what_is_wrong_with_it(
    made: World, changes: dict[str, Any], code: str
) -> None:
    request = await made.request(1)
    wrong = made.invoice(request.payment_hash, **changes)
    assert await refusal(made, replace(request, destination=wrong)) == code


async def test_an_invoice_for_another_hash_is_refused(made: World) -> None:
    request = await made.request(1)
    assert await refusal(made, replace(request, destination=made.invoice(b"\x55" * 32))) == "invoice_hash"


@pytest.mark.parametrize("destination", ["", "lnbcrt1", to_checksum(b"\x66" * 20)])
async def test_an_invalid_invoice_is_refused(made: World, destination: str) -> None:
    assert await refusal(made, replace(await made.request(1), destination=destination)) == "invoice_format"


async def test_an_invoice_of_the_providers_own_node_is_not_paid(made: World) -> None:
    request = await made.request(1)
    own = made.invoice(request.payment_hash, signer=PROVIDER_NODE)
    assert await refusal(made, replace(request, destination=own)) == "invoice_payee"


async def test_another_partys_invoice_is_paid(made: World) -> None:
    request = await made.request(1)
    theirs = made.invoice(request.payment_hash, signer=STRANGERS_NODE)
    await made.open_swap(replace(request, destination=theirs))


@pytest.mark.parametrize("source", ["", "0x12", to_checksum(PROVIDER_EVM), "0x" + "00" * 20])
async def test_a_payer_must_name_an_account_of_its_own(made: World, source: str) -> None:
    assert await refusal(made, replace(await made.request(1), source=source)) == "offer_address"


@pytest.mark.parametrize("destination", ["", "0x12", to_checksum(PROVIDER_EVM)])
async def test_no_node_does_anything_for_a_request_that_names_something_wrong(made: World, destination: str) -> None:
    request = replace(await made.request(1, LIGHTNING), destination=destination)
    assert await refusal(made, request) == "offer_address"
    assert made.lightning.offered == {}
    assert made.lightning.checked == made.bob.checked == []


async def test_a_wrong_invoice_of_the_own_node_is_not_the_takers_fault(made: World) -> None:
    made.lightning.invoice_changes = {"amount_msat": 1}
    with pytest.raises(BadAnswer):
        await made.open_swap(await made.request(1, LIGHTNING))
    assert await made.records() == ()


async def test_an_invoice_that_leaves_too_little_time_is_refused(made: World) -> None:
    request = await made.request(1)
    short = made.invoice(request.payment_hash, expiry=100)
    with pytest.raises(FundsRulesError):
        await made.open_swap(replace(request, destination=short))


@DIRECTIONS
async def test_what_a_refused_swap_had_reserved_is_free_again(made: World, source: Layer2ProtocolType) -> None:
    made.bob.cannot_finish = InsufficientFunds("no gas")
    with pytest.raises(InsufficientFunds):
        await made.open_swap(await made.request(1, source))
    assert (await made.records(), made.engine.driven) == ((), [])
    assert made.bob.reserved == made.lightning.reserved == set()
    made.bob.cannot_finish = None
    await made.accept(2, source)
    assert len(made.bob.reserved) == len(made.lightning.reserved) == 1


async def test_what_was_reserved_is_free_again_where_the_terms_cannot_be_signed(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await made.request(1)

    async def no_key(digest: bytes) -> bytes:
        raise SignerError("the key cannot be used")

    monkeypatch.setattr(made.identity, "sign_schnorr", no_key)
    assert await refusal(made, request) == "signer"
    assert made.bob.reserved == made.lightning.reserved == set()


async def test_a_journal_that_cannot_be_read_stops_new_swaps(made: World, tmp_path: Path) -> None:
    request = await made.request(2)
    await made.accept(1)
    [record] = await made.records()
    unreadable = await made.journal.advance(record, state={"version": 99}, is_final=False, event="unknown", now=NOW)
    async with world(tmp_path) as restarted:
        with pytest.raises(JournalError):
            await restarted.request(2)
    made.engine.announce(unreadable)
    with pytest.raises(JournalError):
        await made.open_swap(request)
