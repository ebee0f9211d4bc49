"""What makes an EVM client Rootstock's: bitcoin is the coin that pays gas, and addresses name their network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from layer2.contracts.htlc import CLAIM_GAS, HTLC_ADDRESS, LOCK_GAS_NATIVE
from layer2.errors import (
    BadAnswer,
    FormatError,
    FundsRulesError,
    InsufficientFunds,
    InvalidRequest,
    TransactionError,
    UnknownAsset,
    WrongNetwork,
)
from layer2.formats.evm_address import parse_address, to_checksum
from layer2.formats.evm_transaction import LegacyTransaction
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.local.accounts import START_WEI
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, ETH, AssetId
from layer2.model.transactions import Preimage, TxState
from layer2.protocols.evm.locks.act import EvmAct
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.protocols.rootstock import ROOTSTOCK_REGTEST, RootstockClient
from memory_sends import MemorySends
from protocols.evm.rootstock_network import AMOUNT, SAT, RootstockNetwork, rootstock_network

SECRET = Preimage(bytes(range(32)))
RBTC = AssetId("RBTC", 18)
START_SATOSHI = START_WEI // SAT
SOMEBODY = bytes.fromhex("deadbeef" * 5)


@pytest.fixture
async def rootstock() -> AsyncIterator[RootstockNetwork]:
    async with rootstock_network() as network:
        yield network


async def wei(client: RootstockClient) -> int:
    return (await client.balances_async())[RBTC].spendable


async def fee(client: RootstockClient, tx_id: Any) -> int:
    status = await client.wait_for_status_async(tx_id, timeout=10)
    assert status.fee is not None
    return status.fee


# Balances and transfers.


async def test_bitcoin_is_the_coin_that_pays_gas(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    assert taker.protocol_type is Layer2ProtocolType.ROOTSTOCK
    balances = await taker.balances_async()
    assert {asset: balance.spendable for asset, balance in balances.items()} == {BTC: START_SATOSHI, RBTC: START_WEI}
    tx_id = await taker.transfer_asset_async(BTC, 5_000, to_checksum(SOMEBODY, ROOTSTOCK_REGTEST))
    paid = 5_000 * SAT + await fee(taker, tx_id)
    assert await wei(taker) == START_WEI - paid
    # What is left of a satoshi cannot be moved.
    assert (await taker.balances_async())[BTC].spendable == (START_WEI - paid) // SAT < START_SATOSHI - 5_000
    assert rootstock.balance(SOMEBODY) == 5_000 * SAT


async def test_the_same_coin_is_sent_in_wei_under_its_own_name(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    await fee(taker, await taker.transfer_asset_async(RBTC, 7, to_checksum(SOMEBODY, ROOTSTOCK_REGTEST)))
    assert rootstock.balance(SOMEBODY) == 7
    with pytest.raises(UnknownAsset, match="RBTC"):
        await taker.transfer_asset_async(ETH, 1, "0x" + SOMEBODY.hex())


async def test_amount_and_gas_have_to_fit_together(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    for satoshi in (START_SATOSHI, START_SATOSHI + 1):
        with pytest.raises(InsufficientFunds):
            await taker.transfer_asset_async(BTC, satoshi, "0x" + SOMEBODY.hex())
    assert await wei(taker) == START_WEI
    most = (await taker.estimate_fee_async(EvmTransactionRequest(to="0x" + SOMEBODY.hex(), value=1))).most
    tx_id = await taker.transfer_asset_async(BTC, START_SATOSHI - most // SAT - 2, "0x" + SOMEBODY.hex())
    assert (await taker.wait_for_status_async(tx_id, timeout=10)).state is not TxState.FAILED


async def test_a_transfer_that_is_repeated_with_its_key_is_not_checked_against_what_it_left(
    rootstock: RootstockNetwork,
) -> None:
    taker = await rootstock.client("taker", MemorySends())
    most, to = START_SATOSHI // 4 * 3, "0x" + SOMEBODY.hex()
    first = await taker.transfer_asset_async(BTC, most, to, idempotency_key="all")
    await taker.wait_for_status_async(first, timeout=10)
    assert await taker.transfer_asset_async(BTC, most, to, idempotency_key="all") == first
    assert rootstock.balance(SOMEBODY) == most * SAT


async def test_there_are_no_permits(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    with pytest.raises(TransactionError, match="own coin, which has no permits") as refused:
        await taker.permit_async("0x" + SOMEBODY.hex(), 1, 2**40)
    assert refused.value.code == "no_permit"


# Addresses.


async def test_an_address_of_another_network_is_refused(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    for other in (None, 30, 31):
        address = to_checksum(SOMEBODY, other)
        with pytest.raises(FormatError, match="not the EIP-1191 checksum for chain 33") as refused:
            await taker.transfer_asset_async(BTC, 1_000, address)
        assert refused.value.code == "other_network"
        with pytest.raises(FormatError, match="not the EIP-1191 checksum for chain 33"):
            await taker.submit_transaction_async(EvmTransactionRequest(to=address, value=1))
    own = to_checksum(SOMEBODY, ROOTSTOCK_REGTEST)
    await taker.submit_transaction_async(EvmTransactionRequest(to=own, value=1))
    with pytest.raises(FormatError, match=r"does not match"):
        EvmTransactionRequest(to=own.swapcase().replace("0X", "0x"))


async def test_own_addresses_have_the_networks_checksum(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    address, account = await taker.receive_address_async(), rootstock.accounts["taker"].address
    assert address == to_checksum(account, ROOTSTOCK_REGTEST) != to_checksum(account)
    assert parse_address(address, ROOTSTOCK_REGTEST) == account
    assert address in repr(taker)


@pytest.mark.parametrize(
    ("recipient", "name"), [(HTLC_ADDRESS, "the HTLC contract"), (bytes(20), "the zero address")], ids=["htlc", "zero"]
)
async def test_recipients_that_would_lose_the_money_are_refused(
    rootstock: RootstockNetwork, recipient: bytes, name: str
) -> None:
    taker = await rootstock.client("taker")
    with pytest.raises(InvalidRequest, match=f"is {name}"):
        await taker.transfer_asset_async(BTC, 1, "0x" + recipient.hex())


# The contract.


async def test_no_swap_begins_without_the_contract_at_its_configured_address(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker", contract_address="0x" + SOMEBODY.hex())
    htlc = rootstock.htlc(SECRET, contract=SOMEBODY)
    with pytest.raises(FundsRulesError, match=f"no HTLC contract at {to_checksum(SOMEBODY, 33)}") as missing:
        await taker.legs.check_can_finish(htlc, Side.PAYER)
    assert (missing.value.code, missing.value.remedy) == ("no_contract", "correct contract_address")


async def test_a_leg_in_another_contract_or_asset_is_refused(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    for other in (rootstock.htlc(SECRET, contract=SOMEBODY), rootstock.htlc(SECRET, token=SOMEBODY)):
        with pytest.raises(FundsRulesError, match="another chain, contract or token"):
            await taker.legs.check_can_finish(other, Side.PAYER)
    with pytest.raises(FundsRulesError, match="8 decimals, not 18"):
        await taker.legs.check_can_finish(rootstock.htlc(SECRET, token_decimals=8), Side.PAYER)


# Locks.


async def test_a_lock_takes_its_amount_as_value_and_pays_it_out(rootstock: RootstockNetwork) -> None:
    taker, provider, htlc = await rootstock.client("taker"), await rootstock.client("provider"), rootstock.htlc(SECRET)
    offer = await provider.legs.leg_offer()
    assert (offer.contract, offer.token, offer.token_decimals) == (HTLC_ADDRESS, bytes(20), 18)
    await taker.legs.check_can_finish(htlc, Side.PAYER)
    await provider.legs.check_can_finish(htlc, Side.PAYEE)
    act = await taker.legs.prepare(Verb.FUND, htlc)
    (lock,) = EvmAct.read(act).transactions
    assert isinstance(lock.transaction, LegacyTransaction)
    assert (lock.transaction.value, lock.transaction.to) == (AMOUNT * SAT, HTLC_ADDRESS)
    await taker.legs.perform(act)
    assert await taker.legs.act_status(act) is ActStatus.DONE
    assert (await provider.legs.observe(htlc, Side.PAYEE)).state is LegState.FUNDED
    assert rootstock.balance(HTLC_ADDRESS) == AMOUNT * SAT
    await provider.legs.perform(await provider.legs.prepare(Verb.COLLECT, htlc, SECRET))
    view = await taker.legs.observe(htlc, Side.PAYER)
    assert (view.state, view.preimage) == (LegState.COLLECTED, SECRET)
    assert rootstock.balance(HTLC_ADDRESS) == 0
    assert await wei(provider) > START_WEI + (AMOUNT - 10_000) * SAT


async def test_the_payer_gets_the_coin_back_after_the_deadline(rootstock: RootstockNetwork) -> None:
    taker, htlc = await rootstock.client("taker"), rootstock.htlc(SECRET)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    with pytest.raises(FundsRulesError, match="deadline has not passed"):
        await taker.legs.prepare(Verb.RECLAIM, htlc)
    await rootstock.chain.advance_time(7_200)
    await taker.legs.perform(await taker.legs.prepare(Verb.RECLAIM, htlc))
    assert (await taker.legs.observe(htlc, Side.PAYER)).state is LegState.RETURNED
    assert START_WEI - 10_000 * SAT < await wei(taker) < START_WEI


async def test_a_lock_is_not_funded_twice_nor_if_the_contract_would_refuse_it(rootstock: RootstockNetwork) -> None:
    taker, htlc = await rootstock.client("taker"), rootstock.htlc(SECRET)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    with pytest.raises(FundsRulesError, match="already locked under this payment hash"):
        await taker.legs.prepare(Verb.FUND, htlc)
    money = taker.legs._parts.money
    head = await taker._node.head(htlc.leg.finality)
    with pytest.raises(FundsRulesError, match=r"the lock would fail: .*lock used"):
        await money.check(taker.legs._parts.locks.lock(htlc), head)


async def test_a_payout_that_the_contract_cannot_make_keeps_the_preimage_secret(rootstock: RootstockNetwork) -> None:
    provider = await rootstock.client("provider")
    lock = provider.legs._parts.locks.lock(rootstock.htlc(SECRET))
    # Nothing is locked, so the contract has nothing.
    with pytest.raises(FundsRulesError, match="has less than the lock's amount; the preimage stays secret"):
        await provider.legs._parts.money.check_payout(lock)


# One balance pays locks and gas.


def with_most(rootstock: RootstockNetwork, number: int, satoshi: int) -> Any:
    return rootstock.htlc(Preimage(bytes((number,)) * 32), satoshi=satoshi)


async def test_a_lock_of_everything_leaves_no_gas_and_is_refused(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    everything = with_most(rootstock, 1, START_SATOSHI)
    with pytest.raises(InsufficientFunds, match=f"for the lock of {START_WEI} wei and its gas"):
        await taker.legs.check_can_finish(everything, Side.PAYER)
    with pytest.raises(InsufficientFunds, match="the lock needs up to"):
        await taker.legs.prepare(Verb.FUND, everything)
    with pytest.raises(InsufficientFunds, match=f"has {START_WEI} wei"):
        await taker.legs.check_can_finish(with_most(rootstock, 1, START_SATOSHI + 1), Side.PAYER)


async def test_two_swaps_cannot_both_have_the_same_coins(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    first, second = (with_most(rootstock, number, START_SATOSHI * 6 // 10) for number in (1, 2))
    await taker.legs.check_can_finish(first, Side.PAYER)
    await taker.legs.reserve(first, Side.PAYER)
    with pytest.raises(InsufficientFunds, match="other open swaps"):
        await taker.legs.check_can_finish(second, Side.PAYER)
    with pytest.raises(InsufficientFunds, match="and open swaps"):
        await taker.transfer_asset_async(BTC, START_SATOSHI * 6 // 10, "0x" + SOMEBODY.hex())
    taker.legs.free(first)
    await taker.legs.check_can_finish(second, Side.PAYER)


async def test_a_funded_lock_no_longer_counts_but_its_refund_does(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    first, second = (with_most(rootstock, number, START_SATOSHI * 4 // 10) for number in (1, 2))
    await taker.legs.reserve(first, Side.PAYER)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, first))
    # 60 % is left, and 40 % would still be kept.
    with pytest.raises(InsufficientFunds, match="other open swaps"):
        await taker.legs.check_can_finish(second, Side.PAYER)
    await taker.legs.observe(first, Side.PAYER)
    # Reserving again, as after a restart of the runner, does not count it again.
    await taker.legs.reserve(first, Side.PAYER)
    await taker.legs.check_can_finish(second, Side.PAYER)
    rest = (await taker.balances_async())[BTC].spendable
    with pytest.raises(InsufficientFunds, match="and open swaps"):
        await taker.transfer_asset_async(BTC, rest - 3_000, "0x" + SOMEBODY.hex())


async def test_a_lock_that_was_funded_before_a_restart_does_not_count_after_one_look(
    rootstock: RootstockNetwork,
) -> None:
    before = await rootstock.client("taker")
    first, second = (with_most(rootstock, number, START_SATOSHI * 4 // 10) for number in (1, 2))
    await before.legs.perform(await before.legs.prepare(Verb.FUND, first))
    # Its swap may fall asleep after one turn: the look, and then the reserve.
    taker = await rootstock.client("taker")
    await taker.legs.observe(first, Side.PAYER)
    await taker.legs.reserve(first, Side.PAYER)
    await taker.legs.check_can_finish(second, Side.PAYER)


async def test_a_lock_leaves_the_gas_of_other_open_swaps(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    price = await taker._fees.quote()
    funded = with_most(rootstock, 1, START_SATOSHI // 2)
    await taker.legs.reserve(funded, Side.PAYER)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, funded))
    await taker.legs.observe(funded, Side.PAYER)
    left = await wei(taker) - price.most(LOCK_GAS_NATIVE, 400)
    last = with_most(rootstock, 2, left // SAT)
    with pytest.raises(InsufficientFunds, match=r"other open swaps .* for gas"):
        await taker.legs.prepare(Verb.FUND, last)
    taker.legs.free(funded)
    await taker.legs.prepare(Verb.FUND, last)


async def test_network_costs_are_known_without_a_price(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker")
    cost = await taker.legs.network_cost(AMOUNT)
    assert cost is not None
    quote = await taker._fees.urgent_quote()
    assert cost * SAT >= quote.max_fee_per_gas * LOCK_GAS_NATIVE > (cost - 20_000) * SAT


async def test_the_configured_depths_decide_when_a_transaction_is_final(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker", head_life_ms=0)
    tx_id = await taker.transfer_asset_async(BTC, 1_000, "0x" + SOMEBODY.hex())
    await taker.wait_for_status_async(tx_id, timeout=10)
    await rootstock.chain.mine(3)
    assert (await taker.get_transaction_status_async(tx_id)).state is TxState.INCLUDED
    await rootstock.chain.mine(1)
    assert (await taker.get_transaction_status_async(tx_id)).state is TxState.FINAL


async def test_a_node_of_another_chain_is_refused(rootstock: RootstockNetwork) -> None:
    with pytest.raises(WrongNetwork, match="is on chain 33"):
        await rootstock.client("taker", network="testnet", chain_id=31, contract_address="0x" + HTLC_ADDRESS.hex())


# Clocks.


async def test_a_node_that_sends_no_date_is_trusted_within_the_bounds_of_its_newest_block(
    rootstock: RootstockNetwork,
) -> None:
    async with aiohttp.ClientSession() as session, session.post(rootstock.url, json={}) as response:
        assert "Date" not in response.headers
    provider = await rootstock.client("provider", stale_after_seconds=900, max_ahead_seconds=600)
    newest = rootstock.chain.node.chain.head.timestamp
    rootstock.clock.advance(newest + 900 - int(rootstock.clock.now()))
    assert (await provider.legs.read_clock()).chain_time == newest
    rootstock.clock.advance(1)
    with pytest.raises(BadAnswer, match="901 s old"):
        await provider.legs.read_clock()
    rootstock.chain.node.advance_time(601)
    with pytest.raises(BadAnswer, match="601 s ahead of this machine's clock"):
        await provider.legs.check_can_finish(rootstock.htlc(SECRET), Side.PAYEE)


async def test_a_payment_that_waits_for_a_block_cannot_be_spent_again_by_the_next_one_or_by_a_swap(
    rootstock: RootstockNetwork,
) -> None:
    taker = await rootstock.client("taker")
    swap = rootstock.htlc(SECRET, payer=SOMEBODY, payee=rootstock.accounts["taker"].address)
    await taker.legs.reserve(swap, Side.PAYEE)
    rootstock.chain.maker.set_enabled(False)
    first = await taker.transfer_asset_async(BTC, START_SATOSHI * 9 // 10, "0x" + SOMEBODY.hex())
    # Together with the first one it would leave less than the gas of the claim.
    price = await taker._fees.urgent_quote()
    rest = START_WEI // 10 - 2 * price.most(21_000 * 6 // 5, 400) - price.most(CLAIM_GAS, 400)
    with pytest.raises(InsufficientFunds, match="and open swaps"):
        await taker.transfer_asset_async(RBTC, rest, "0x" + SOMEBODY.hex())
    with pytest.raises(InsufficientFunds, match="for the lock of"):
        await taker.legs.check_can_finish(with_most(rootstock, 3, START_SATOSHI // 5), Side.PAYER)
    rootstock.chain.node.mine()
    assert (await taker.get_transaction_status_async(first)).state is TxState.INCLUDED
    # Once it is in a block, the balance itself shows it.
    await taker.transfer_asset_async(BTC, START_SATOSHI // 20, "0x" + SOMEBODY.hex())


async def test_a_lock_that_a_reorganisation_removes_has_its_coins_kept_again(rootstock: RootstockNetwork) -> None:
    taker = await rootstock.client("taker", head_life_ms=0)
    lock = with_most(rootstock, 1, START_SATOSHI * 6 // 10)
    await taker.legs.reserve(lock, Side.PAYER)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, lock))
    assert (await taker.legs.observe(lock, Side.PAYER)).state is LegState.FUNDED
    rootstock.chain.maker.set_enabled(False)
    rootstock.chain.node.reorganise(1, keep_transactions=True)
    assert (await taker.legs.observe(lock, Side.PAYER)).state is LegState.NONE
    # The lock waits in the pool. If its coins were spent, nothing with a later nonce would be mined, claims included.
    with pytest.raises(InsufficientFunds, match="and open swaps"):
        await taker.transfer_asset_async(BTC, START_SATOSHI * 6 // 10, "0x" + SOMEBODY.hex())
    rootstock.chain.node.mine()
    assert (await taker.legs.observe(lock, Side.PAYER)).state is LegState.FUNDED
    await taker.transfer_asset_async(BTC, START_SATOSHI * 3 // 10, "0x" + SOMEBODY.hex())
