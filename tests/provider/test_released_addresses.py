"""A source that was released by a signature, and a later swap of the same taker under the same hash.

The provider's keys of quotes are the same for every swap, and the taker chooses the hash, its own keys and, by the
expiry of its invoice, the lock time. So it can name the address of a swap that was released. A signature that released
an output of that address would take the funding of the new swap back, after the provider has paid.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from layer2.errors import IdempotencyConflict
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.leg import Leg
from layer2.legs.timelock_settings import REGTEST
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import SwapId
from layer2.swap_engine.records import record_terms
from layer2.swap_rules.agreement import SwapRequest
from layer2.swap_rules.states import ProviderReleased, ProviderReleasing, ProviderState
from provider.made_providers import LIGHTNING, World, world
from swap_rules.example_terms import AMOUNT

BITCOIN = Layer2ProtocolType.BITCOIN
RELEASED = ProviderReleased(None, None, "the amount is wrong")
RELEASING = ProviderReleasing(None, None, "the amount is wrong")


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, (BITCOIN, LIGHTNING)) as built:
        yield built


async def request_of(made: World, name: str, amount: int = AMOUNT, expiry: int | None = None) -> SwapRequest:
    """A request for a new swap under one hash, with the same keys of the taker."""
    request = await made.request(1, BITCOIN, amount=amount)
    changes = {} if expiry is None else {"expiry": expiry}
    return replace(
        request,
        swap_id=SwapId(name * 16),
        destination=made.invoice(request.payment_hash, amount, **changes),
    )


async def source_of(made: World, request: SwapRequest) -> Leg:
    record = await made.journal.load(request.swap_id)
    assert record is not None
    signed = record_terms(record)
    assert signed is not None
    return signed.terms.source


@pytest.mark.parametrize("state", [RELEASED, RELEASING], ids=["released", "releasing"])
async def test_the_address_of_a_released_swap_serves_no_other_swap(made: World, state: ProviderState) -> None:
    first = await request_of(made, "01", AMOUNT // 2)
    await made.open_swap(first)
    await made.engine.move(first.swap_id, state, "released")
    with pytest.raises(IdempotencyConflict) as caught:
        await made.open_swap(await request_of(made, "02"))
    assert caught.value.code == "payment_hash_used"
    # A layer frees by the address, which the first swap may still need.
    assert made.layers[BITCOIN].freed == []


async def test_an_invoice_can_be_paid_by_a_second_swap_with_another_address(made: World) -> None:
    first = await request_of(made, "01", expiry=REGTEST.own_invoice_expiry)
    await made.open_swap(first)
    await made.engine.move(first.swap_id, RELEASED, "released")
    second = await request_of(made, "02", expiry=REGTEST.own_invoice_expiry + 60)
    await made.open_swap(second)
    legs = [await source_of(made, each) for each in (first, second)]
    assert all(isinstance(each, BitcoinLeg) for each in legs)
    assert len({each.htlc.program for each in legs if isinstance(each, BitcoinLeg)}) == 2
