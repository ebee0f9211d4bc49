"""On Rootstock, pending claims and refunds are replaced at one higher price, and sent again if the pool drops them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256

import pytest

from layer2.contracts.htlc import NATIVE_COIN
from layer2.errors import Outcome, TransactionError
from layer2.formats.evm_address import parse_address
from layer2.formats.evm_hex import parse_data
from layer2.formats.evm_transaction import LegacyTransaction, SignedTransaction, decode_signed
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import AssetId
from layer2.model.transactions import Finality, Preimage, TxState
from layer2.ports.journal import Json
from layer2.protocols.evm.fees.models import MINIMUM_GAS_PRICE
from layer2.protocols.evm.sending.signing import price_of
from protocols.evm.rootstock_network import CHAIN_ID, RootstockNetwork, rootstock_network

SECRET = Preimage(bytes(range(32)))
AMOUNT = 10**16
DAY = 86_400


@pytest.fixture
async def rootstock() -> AsyncIterator[RootstockNetwork]:
    async with rootstock_network() as network:
        yield network


def last(act: Json) -> SignedTransaction:
    return decode_signed(parse_data(act["transactions"][-1], "transaction"))


def price(act: Json) -> int:
    transaction = last(act).transaction
    assert isinstance(transaction, LegacyTransaction)
    return transaction.gas_price


async def locked(rootstock: RootstockNetwork, seconds: int = DAY) -> Htlc:
    """A lock by the taker for the provider. From then on, only the test makes blocks."""
    leg = EvmLeg(
        protocol=Layer2ProtocolType.ROOTSTOCK,
        chain_id=CHAIN_ID,
        contract=parse_address(rootstock.contract, CHAIN_ID),
        token=NATIVE_COIN,
        token_decimals=18,
        amount=AMOUNT,
        payer=rootstock.accounts["taker"].address,
        payee=rootstock.accounts["provider"].address,
        deadline=rootstock.chain.node.chain.head.timestamp + seconds,
        finality=Finality.LATEST,
    )
    htlc, taker = Htlc(leg, SECRET.payment_hash, sha256(b"terms").digest()), await rootstock.client("taker")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    rootstock.chain.maker.set_enabled(False)
    return htlc


def wait_unmined(rootstock: RootstockNetwork, patch: pytest.MonkeyPatch, price: int) -> None:
    """Make blocks without transactions until the minimum gas price is above a price."""
    node = rootstock.chain.node
    rootstock.want_price(100 * price)
    with patch.context() as context:
        context.setattr(node.pool, "ready", lambda *_: iter(()))
        while rootstock.minimum <= price:
            node.mine()


@pytest.mark.parametrize("verb", [Verb.COLLECT, Verb.RELEASE])
async def test_what_the_minimum_price_passes_is_mined_at_a_higher_price_beyond_the_cap(
    rootstock: RootstockNetwork, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    htlc = await locked(rootstock)
    before = rootstock.balance(rootstock.accounts["provider"].address)
    cap = 2 * rootstock.minimum
    provider = await rootstock.client("provider", max_fee_per_gas_wei=cap)
    act = await provider.legs.prepare(verb, htlc, SECRET if verb is Verb.COLLECT else None)
    await provider.legs.perform(act)
    assert await provider.legs.repriced(act, htlc) is None
    wait_unmined(rootstock, monkeypatch, price(act))
    # The pool has dropped it, and would not take it again.
    assert await provider.legs.act_status(act) is ActStatus.UNSEEN

    # A new client, because the prices of the other one may be two seconds old.
    provider = await rootstock.client("provider", max_fee_per_gas_wei=cap)
    again = await provider.legs.repriced(act, htlc)
    assert again is not None
    assert last(again).transaction.nonce == last(act).transaction.nonce
    assert MINIMUM_GAS_PRICE.is_bump(price_of(last(again)), price_of(last(act)))
    assert price(again) > cap
    await provider.legs.perform(again)
    assert await provider.legs.act_status(again) is ActStatus.UNDER_WAY
    assert await provider.legs.repriced(again, htlc) is None
    rootstock.chain.node.mine()
    assert await provider.legs.act_status(again) is ActStatus.DONE
    view = await provider.legs.observe(htlc, Side.PAYEE)
    assert view.state is (LegState.COLLECTED if verb is Verb.COLLECT else LegState.RETURNED)
    spent = before - rootstock.balance(rootstock.accounts["provider"].address)
    assert (spent < 0) == (verb is Verb.COLLECT)


async def test_a_repriced_claim_that_the_minimum_passes_during_an_outage_is_repriced_and_not_only_repeated(
    rootstock: RootstockNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    htlc = await locked(rootstock)
    provider = await rootstock.client("provider")
    first = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(first)
    wait_unmined(rootstock, monkeypatch, price(first))
    provider = await rootstock.client("provider")
    second = await provider.legs.repriced(first, htlc)
    assert second is not None
    await provider.legs.perform(second)
    await provider.aclose()
    wait_unmined(rootstock, monkeypatch, price(second))

    # The pool dropped it and refuses it. As an earlier version may be in a block, that is not known to have failed.
    provider = await rootstock.client("provider")
    with pytest.raises(TransactionError, match="lower than block's minimum") as refused:
        await provider.legs.perform(second)
    assert refused.value.outcome is Outcome.UNKNOWN
    # The engine repeats what is unseen, and reprices only what is under way.
    assert await provider.legs.act_status(second) is ActStatus.UNDER_WAY
    third = await provider.legs.repriced(second, htlc)
    assert third is not None
    await provider.legs.perform(third)
    rootstock.chain.node.mine()
    assert await provider.legs.act_status(third) is ActStatus.DONE


async def test_a_claims_price_rises_to_its_deadline_and_the_pool_takes_each_one(
    rootstock: RootstockNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, htlc = rootstock.chain.node, await locked(rootstock, 7_200)
    provider = await rootstock.client("provider")
    act = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    prices = [price(act) // rootstock.minimum]
    await provider.legs.perform(act)
    # No miner takes the claim.
    with monkeypatch.context() as patch:
        patch.setattr(node.pool, "ready", lambda *_: iter(()))
        for seconds in (3_700, 1_800, 900, 450):
            node.advance_time(seconds)
            again = await provider.legs.repriced(act, htlc)
            if again is not None:
                act = again
                await provider.legs.perform(act)
                prices.append(price(act) // rootstock.minimum)
    assert prices == [2, 8, 16, 32, 64]
    node.mine()
    assert await provider.legs.act_status(act) is ActStatus.DONE


async def test_a_dropped_claim_is_sent_again_as_the_same_bytes(rootstock: RootstockNetwork) -> None:
    htlc = await locked(rootstock)
    provider = await rootstock.client("provider")
    act = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(act)
    rootstock.clock.advance(651)
    assert len(rootstock.chain.node.pool) == 0
    assert await provider.legs.act_status(act) is ActStatus.UNSEEN
    await provider.legs.perform(act)
    assert await provider.legs.act_status(act) is ActStatus.UNDER_WAY
    rootstock.chain.node.mine()
    assert await provider.legs.act_status(act) is ActStatus.DONE


async def test_a_claim_behind_a_payment_that_the_market_passed_is_mined(
    rootstock: RootstockNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    htlc = await locked(rootstock)
    provider = await rootstock.client("provider", max_fee_per_gas_wei=2 * rootstock.minimum)
    payment = await provider.transfer_asset_async(AssetId("RBTC", 18), 1, "0x" + "05" * 20)
    wait_unmined(rootstock, monkeypatch, 2 * rootstock.minimum)
    provider._fees._prices._until = 0.0  # As if two seconds had gone by: prices are read again.
    act = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    assert last(act).transaction.nonce == 1
    await provider.legs.perform(act)
    rootstock.chain.node.mine()
    assert await provider.legs.act_status(act) is ActStatus.DONE
    assert rootstock.balance(b"\x05" * 20) == 1
    assert (await provider.get_transaction_status_async(payment)).state is TxState.DROPPED
