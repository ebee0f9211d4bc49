"""Pending claims and refunds are replaced with the same nonce, despite a fee cap or full blocks."""

from __future__ import annotations

import pytest
from eth_typing import Address

from layer2.errors import InsufficientFunds, NodeUnreachable
from layer2.formats.evm_hex import parse_data
from layer2.formats.evm_transaction import Eip1559Transaction, SignedTransaction, decode_signed
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.local.simnet.evm.chain import BLOCK_GAS_LIMIT, BOB_CHAIN_ID
from layer2.model.money import ETH
from layer2.model.transactions import Preimage, TxState
from layer2.ports.journal import Json
from layer2.protocols.evm.fees.prices import Price
from layer2.protocols.evm.sending.signing import message_of
from protocols.evm.bob_network import START, BobNetwork

SECRET = Preimage(bytes(range(32)))
BURN_ALL_GAS = b"\xfe"
"""Invalid code: creating a contract with it uses all gas of the transaction."""
GWEI = 1_000_000_000
DAY = 86_400
SOMEBODY = "0x" + "05" * 20


def last(act: Json) -> SignedTransaction:
    return decode_signed(parse_data(act["transactions"][-1], "transaction"))


def fill_blocks(bob: BobNetwork, until_base_fee: int) -> None:
    """Fill blocks from another account until the base fee has this value."""
    account = bob.accounts["deployer"]
    while bob.node.chain.least_price() < until_base_fee:
        nonce = bob.node.chain.state_at(bob.node.chain.head).get_nonce(Address(account.address))
        full = Eip1559Transaction(BOB_CHAIN_ID, nonce, GWEI, 2 * GWEI, BLOCK_GAS_LIMIT, None, 0, BURN_ALL_GAS)
        bob.node.send(full.signed(account.key.sign_recoverable(full.signing_hash(), hasher=None)).raw)
        bob.node.mine()


async def locked(bob: BobNetwork) -> Htlc:
    """A lock by the taker for the provider. From then on, only the test makes blocks."""
    htlc, taker = bob.htlc(SECRET, deadline=START + DAY), await bob.client("taker")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    bob.maker.set_enabled(False)
    return htlc


@pytest.mark.parametrize("verb", [Verb.COLLECT, Verb.RELEASE])
async def test_what_the_base_fee_leaves_behind_is_mined_at_a_higher_price_beyond_the_cap(
    bob: BobNetwork, verb: Verb
) -> None:
    htlc = await locked(bob)
    provider = await bob.client("provider", max_fee_per_gas_wei=3_000_000)
    act = await provider.legs.prepare(verb, htlc, SECRET if verb is Verb.COLLECT else None)
    await provider.legs.perform(act)
    assert await provider.legs.repriced(act, htlc) is None
    fill_blocks(bob, last(act).transaction.max_fee_per_gas + 1)
    assert await provider.legs.act_status(act) is ActStatus.UNDER_WAY

    # A new client, because the prices of the other one may be two seconds old.
    provider = await bob.client("provider", max_fee_per_gas_wei=3_000_000)
    again = await provider.legs.repriced(act, htlc)
    assert again is not None
    assert last(again).transaction.nonce == last(act).transaction.nonce
    assert last(again).transaction.data == last(act).transaction.data
    assert last(again).transaction.max_fee_per_gas > 3_000_000
    assert await provider.legs.act_status(again) is ActStatus.UNDER_WAY
    await provider.legs.perform(again)
    assert await provider.legs.repriced(again, htlc) is None
    bob.node.mine()
    assert await provider.legs.act_status(again) is ActStatus.DONE
    view = await provider.legs.observe(htlc, Side.PAYEE)
    assert view.state is (LegState.COLLECTED if verb is Verb.COLLECT else LegState.RETURNED)
    assert last(again).hash in bob.sent()
    assert last(act).hash not in bob.sent()


async def test_the_refund_after_the_deadline_is_repriced_too(bob: BobNetwork) -> None:
    htlc, taker = await locked(bob), await bob.client("taker")
    bob.node.advance_time(DAY + 100)
    act = await taker.legs.prepare(Verb.RECLAIM, htlc)
    await taker.legs.perform(act)
    fill_blocks(bob, last(act).transaction.max_fee_per_gas + 1)
    again = await taker.legs.repriced(act, htlc)
    assert again is not None
    await taker.legs.perform(again)
    bob.node.mine()
    assert await taker.legs.act_status(again) is ActStatus.DONE
    assert (await taker.legs.observe(htlc, Side.PAYER)).state is LegState.RETURNED


async def test_the_new_price_speaks_for_the_old_one_if_that_is_mined_after_all(bob: BobNetwork) -> None:
    htlc, provider = await locked(bob), await bob.client("provider")
    act = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(act)
    bob.node.advance_time(DAY - 1_000)  # That makes a block, and the claim is in it.
    again = await provider.legs.repriced(act, htlc)
    assert again is not None
    assert await provider.legs.act_status(again) is ActStatus.DONE
    with pytest.raises(Exception, match="nonce too low"):
        await provider.legs.perform(again)
    assert await provider.legs.act_status(again) is ActStatus.DONE
    # The nonce stays used: the next transaction takes the following one.
    bob.maker.set_enabled(True)
    tx_id = await provider.transfer_asset_async(ETH, 1, "0x" + "05" * 20)
    assert (await provider.get_transaction_status_async(tx_id)).depth is not None


async def test_a_claim_raises_what_was_sent_before_it_and_holds_it_up_beyond_the_cap(bob: BobNetwork) -> None:
    htlc = await locked(bob)
    provider = await bob.client("provider", max_fee_per_gas_wei=3_000_000)
    payment = await provider.transfer_asset_async(ETH, 7, SOMEBODY)
    act = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(act)
    fill_blocks(bob, last(act).transaction.max_fee_per_gas + 1)
    provider._fees._prices._until = 0.0  # As if two seconds had gone by: prices are read again.
    again = await provider.legs.repriced(act, htlc)
    assert again is not None
    await provider.legs.perform(again)
    bob.node.mine()
    assert await provider.legs.act_status(again) is ActStatus.DONE
    dropped = await provider.get_transaction_status_async(payment)
    assert dropped.state is TxState.DROPPED
    assert dropped.replaced_by is not None
    raised = await provider.get_transaction_status_async(dropped.replaced_by)
    assert raised.state is TxState.INCLUDED
    assert bob.node.chain.state_at(bob.node.chain.head).get_balance(Address(b"\x05" * 20)) == 7


async def test_a_lock_is_never_offered_at_a_higher_price(bob: BobNetwork) -> None:
    bob.maker.set_enabled(False)
    taker, htlc = await bob.client("taker"), bob.htlc(SECRET)
    act = await taker.legs.prepare(Verb.FUND, htlc)
    await taker.legs.perform(act)
    fill_blocks(bob, 5 * last(act).transaction.max_fee_per_gas)
    assert await taker.legs.repriced(act, htlc) is None


async def test_no_more_is_offered_than_the_account_can_pay(bob: BobNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    htlc, provider = await locked(bob), await bob.client("provider")
    act = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(act)
    fill_blocks(bob, last(act).transaction.max_fee_per_gas + 1)
    provider = await bob.client("provider")
    offered, gas = last(act).transaction.max_fee_per_gas, last(act).transaction.gas_limit

    async def balance(address: bytes) -> int:
        return have

    monkeypatch.setattr(provider._node, "balance", balance)
    have = gas * offered * 2
    again = await provider.legs.repriced(act, htlc)
    assert again is not None
    assert 1.1 * offered < last(again).transaction.max_fee_per_gas <= 2 * offered
    have = gas * offered
    with pytest.raises(InsufficientFunds, match="cannot pay more"):
        await provider.legs.repriced(act, htlc)


async def test_handing_in_again_while_the_node_is_away_never_frees_the_nonce(bob: BobNetwork) -> None:
    htlc, provider = await locked(bob), await bob.client("provider")
    act = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(act)
    bob.faults.set("down")
    with pytest.raises(NodeUnreachable):
        await provider.legs.perform(act)
    bob.faults.set("none")
    tx_id = await provider.transfer_asset_async(ETH, 1, "0x" + "05" * 20)
    bob.node.mine()
    assert await provider.legs.act_status(act) is ActStatus.DONE
    assert [tx_hash.hex() for tx_hash in bob.sent()[-2:]] == [last(act).hash.hex(), tx_id.removeprefix("0x")]


async def test_a_refused_replacement_leaves_the_nonce_to_what_waits(bob: BobNetwork) -> None:
    htlc, provider = await locked(bob), await bob.client("provider")
    act = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(act)
    dear = bob.node.chain.state_at(bob.node.chain.head).get_balance(Address(bob.address("provider")))
    signed = last(act)
    price = Price(dear // signed.transaction.gas_limit + 1, 2 * signed.transaction.max_priority_fee_per_gas)
    again = await provider._account.sign_replacement(signed, message_of(signed), price)
    with pytest.raises(InsufficientFunds):
        await provider._account.send(again, is_replacement=True)
    await provider.transfer_asset_async(ETH, 1, "0x" + "05" * 20)
    bob.node.mine()
    assert await provider.legs.act_status(act) is ActStatus.DONE
