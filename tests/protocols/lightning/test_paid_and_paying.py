"""A payment by a node under the hash of its own invoice does not make the invoice look paid.

A party that knows the preimage of a hold invoice can make an invoice over a satoshi with the same hash, and have the
node pay it. That payment succeeds, with a matching preimage.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest

from layer2.errors import FundsRulesError, IdempotencyConflict, ProofUndecided
from layer2.formats import bolt11
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.legs.evidence import LightningPaymentEvidence
from layer2.model.money import BTC
from layer2.model.transactions import LightningPaymentId, TxState
from layer2.protocols.lightning import LightningNetwork
from protocols.lightning.waiting import SECONDS, streams_open
from protocols.lightning.world import HASH, PREIMAGE, World, offer_request, settings_of

ORDER = LightningPaymentId(HASH.hex())


@pytest.fixture
async def bait(world: World) -> Bolt11Invoice:
    """An invoice of the thief (the taker) over a satoshi; he knows the preimage. The shop (the provider) can pay it."""
    funds = await world.provider.create_invoice_async(10_000)
    tx_id = await world.taker.transfer_asset_async(BTC, 10_000, funds.text)
    await world.taker.wait_for_status_async(tx_id, timeout=SECONDS)
    body = {"value_msat": "1000", "expiry": "3600", "r_preimage": b64encode(PREIMAGE.secret).decode()}
    return bolt11.decode((await world.taker._parts.rest.post("/v1/invoices", body)).fields.text("payment_request"))


@pytest.fixture
async def other_process(world: World) -> AsyncIterator[LightningNetwork]:
    """Another client of the shop's node, which has not seen the invoices of the first one."""
    async with LightningNetwork(settings_of(world.nodes[1]), world.sends, world.clock) as client:
        yield client


async def test_nothing_is_paid_under_the_hash_of_an_own_hold_invoice(world: World, bait: Bolt11Invoice) -> None:
    await world.provider.create_hold_invoice_async(HASH, 100_000)
    with pytest.raises(FundsRulesError, match="your node has an invoice with this hash"):
        await world.provider.submit_transaction_async(bait.text)
    assert (await world.provider.get_transaction_status_async(ORDER)).state is TxState.PENDING


async def test_no_invoice_is_made_under_a_hash_that_the_node_pays(world: World, bait: Bolt11Invoice) -> None:
    await world.provider.submit_transaction_async(bait.text)
    with pytest.raises(IdempotencyConflict) as refused:
        await world.provider.create_hold_invoice_async(HASH, 100_000)
    with pytest.raises(IdempotencyConflict):
        await world.provider.legs.offer(offer_request())
    assert refused.value.code == "payment_hash_used"
    await world.provider.wait_for_status_async(ORDER, timeout=SECONDS)
    assert (await world.provider.get_transaction_status_async(ORDER)).state is TxState.FINAL


async def test_what_another_process_pays_under_the_hash_of_an_invoice_is_not_its_being_paid(
    world: World, bait: Bolt11Invoice, other_process: LightningNetwork
) -> None:
    await world.provider.create_hold_invoice_async(HASH, 100_000)
    before = asyncio.ensure_future(world.provider.wait_for_status_async(ORDER))
    await streams_open(world.provider, 2)
    await other_process.submit_transaction_async(bait.text)
    await world.taker.wait_for_status_async(ORDER, timeout=SECONDS)
    after = asyncio.ensure_future(world.provider.wait_for_status_async(ORDER))
    assert (await world.provider.get_transaction_status_async(ORDER)).state is TxState.PENDING
    with pytest.raises(ProofUndecided):
        await world.provider.verify_proof_async(LightningPaymentEvidence(PREIMAGE))
    assert not before.done()
    assert not after.done()
    await world.provider.cancel_invoice_async(HASH)
    for wait in (before, after):
        assert (await asyncio.wait_for(wait, SECONDS)).state is TxState.FAILED
