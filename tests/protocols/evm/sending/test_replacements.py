"""Replacing pending transactions: recorded first, followed through all versions, and mined once."""

from __future__ import annotations

import asyncio

import pytest
from eth_typing import Address

from layer2.errors import (
    AsyncTimeout,
    FundsRulesError,
    InvalidRequest,
    Layer2Error,
    NodeError,
    Outcome,
    TransactionError,
)
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_transaction import SignedTransaction
from layer2.local.simnet.evm.pool import TransactionPool
from layer2.model.money import ETH
from layer2.model.transactions import EvmTxId, TxState
from layer2.ports.journal import SendRecord
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.fees.models import OP_STACK
from layer2.protocols.evm.fees.prices import Price
from layer2.protocols.evm.sending.history import signed_in
from layer2.protocols.evm.sending.signing import price_of
from memory_sends import MemorySends
from protocols.evm.bob_network import BobNetwork

SOMEBODY = to_checksum(b"\x05" * 20)


def received(bob: BobNetwork) -> int:
    return bob.node.chain.state_at(bob.node.chain.head).get_balance(Address(b"\x05" * 20))


async def waiting(bob: BobNetwork, client: BobClient, key: str | None = None) -> EvmTxId:
    bob.maker.set_enabled(False)
    return await client.transfer_asset_async(ETH, 7, SOMEBODY, idempotency_key=key)


def recorded(sends: MemorySends, tx_id: EvmTxId) -> SignedTransaction:
    (found,) = [record for record in sends.records.values() if record.tx_id == tx_id]
    return signed_in(found)


async def test_a_replaced_transaction_is_mined_once_and_its_replacement_is_named(bob: BobNetwork) -> None:
    sends = MemorySends()
    taker = await bob.client("taker", sends)
    first = await waiting(bob, taker)
    second = await taker.replace_transaction_async(first)
    bob.node.mine()
    assert received(bob) == 7
    dropped, mined = await taker.get_transaction_statuses_async([first, second])
    assert (dropped.state, dropped.replaced_by) == (TxState.DROPPED, second)
    assert (mined.state, mined.replaced_by) == (TxState.INCLUDED, None)
    assert OP_STACK.is_bump(price_of(recorded(sends, second)), price_of(recorded(sends, first)))


async def test_each_replacement_replaces_the_newest_whichever_is_named(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    versions = [await waiting(bob, taker)]
    for named in (0, 0, 1, 3):
        versions.append(await taker.replace_transaction_async(versions[named]))
    assert len(set(versions)) == 5
    bob.node.mine()
    assert received(bob) == 7
    statuses = await taker.get_transaction_statuses_async(versions)
    assert [status.state for status in statuses] == [TxState.DROPPED] * 4 + [TxState.INCLUDED]
    assert {status.replaced_by for status in statuses[:-1]} == {versions[-1]}


async def test_replacements_at_once_follow_each_other(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    first = await waiting(bob, taker)
    versions = await asyncio.gather(*[taker.replace_transaction_async(first) for _ in range(5)])
    assert len(set(versions)) == 5
    bob.node.mine()
    assert received(bob) == 7
    assert (await taker.get_transaction_status_async(versions[-1])).state is TxState.INCLUDED


async def test_a_restarted_client_replaces_what_an_earlier_one_sent_with_a_key(bob: BobNetwork) -> None:
    sends = MemorySends()
    first = await waiting(bob, await bob.client("taker", sends), "rent")
    second = await (await bob.client("taker", sends)).replace_transaction_async(first)
    third = await (await bob.client("taker", sends)).replace_transaction_async(first)
    assert len({first, second, third}) == 3
    bob.node.mine()
    assert received(bob) == 7
    restarted = await bob.client("taker", sends)
    assert await restarted.transfer_asset_async(ETH, 7, SOMEBODY, idempotency_key="rent") == third
    with pytest.raises(TransactionError, match="in a block") as mined:
        await restarted.replace_transaction_async(second)
    assert (mined.value.code, mined.value.tx_id) == ("mined", third)


async def test_the_original_key_names_the_newest_while_none_is_mined(bob: BobNetwork) -> None:
    sends = MemorySends()
    taker = await bob.client("taker", sends)
    first = await waiting(bob, taker, "rent")
    second = await taker.replace_transaction_async(first)
    for client in (taker, await bob.client("taker", sends)):
        assert await client.transfer_asset_async(ETH, 7, SOMEBODY, idempotency_key="rent") == second


async def test_the_original_key_names_the_original_where_that_was_mined(bob: BobNetwork) -> None:
    taker = await bob.client("taker", MiningSends(bob))
    first = await waiting(bob, taker, "rent")
    with pytest.raises(TransactionError, match="in a block"):
        await taker.replace_transaction_async(first)
    assert await taker.transfer_asset_async(ETH, 7, SOMEBODY, idempotency_key="rent") == first
    assert received(bob) == 7


class MiningSends(MemorySends):
    """Make a block after a replacement is recorded and before it is sent."""

    def __init__(self, bob: BobNetwork) -> None:
        super().__init__()
        self.bob = bob

    async def add_send(self, record: SendRecord) -> SendRecord:
        added = await super().add_send(record)
        if record.idempotency_key.startswith("replaces:"):
            self.bob.node.mine()
        return added


async def test_an_original_that_is_mined_while_its_replacement_is_on_its_way_is_reported(bob: BobNetwork) -> None:
    taker = await bob.client("taker", MiningSends(bob))
    first = await waiting(bob, taker)
    with pytest.raises(TransactionError, match="in a block") as late:
        await taker.replace_transaction_async(first)
    assert (late.value.code, late.value.outcome, late.value.tx_id) == ("mined", Outcome.REJECTED, first)
    # The next transaction takes the following nonce.
    second = await taker.transfer_asset_async(ETH, 7, SOMEBODY)
    bob.node.mine()
    assert (await taker.get_transaction_status_async(second)).state is TxState.INCLUDED
    assert received(bob) == 14


async def test_a_replacement_that_was_recorded_and_not_sent_holds_nothing_up(bob: BobNetwork) -> None:
    sends = MemorySends()
    taker = await bob.client("taker", sends, default_timeout_ms=300)
    first = await waiting(bob, taker)
    bob.faults.set("error", method="eth_sendRawTransaction", status=502)
    with pytest.raises(Layer2Error) as lost:
        await taker.replace_transaction_async(first)
    assert isinstance(lost.value, NodeError | AsyncTimeout)
    assert lost.value.outcome is Outcome.UNKNOWN
    bob.faults.set("none")
    third = await taker.replace_transaction_async(first)
    assert third != lost.value.tx_id
    bob.node.mine()
    assert (await taker.get_transaction_status_async(third)).state is TxState.INCLUDED
    assert received(bob) == 7


async def test_a_cancelled_transaction_pays_nothing_and_its_key_reports_that(bob: BobNetwork) -> None:
    sends = MemorySends()
    taker = await bob.client("taker", sends)
    first = await waiting(bob, taker, "rent")
    nothing = await taker.cancel_transaction_async(first)
    for outcome in (Outcome.UNKNOWN, Outcome.REJECTED):
        with pytest.raises(TransactionError, match="was cancelled") as cancelled:
            await taker.transfer_asset_async(ETH, 7, SOMEBODY, idempotency_key="rent")
        assert (cancelled.value.code, cancelled.value.outcome, cancelled.value.tx_id) == ("cancelled", outcome, nothing)
        bob.node.mine()
    assert received(bob) == 0
    status = await taker.get_transaction_status_async(first)
    assert (status.state, status.replaced_by) == (TxState.DROPPED, nothing)
    assert recorded(sends, nothing).transaction.value == 0


async def test_what_is_not_recorded_cannot_be_replaced(bob: BobNetwork) -> None:
    first = await waiting(bob, await bob.client("taker"))
    other = await bob.client("taker")
    for call in (other.replace_transaction_async, other.cancel_transaction_async):
        with pytest.raises(TransactionError) as unknown:
            await call(first)
        assert (unknown.value.code, unknown.value.outcome) == ("not_recorded", Outcome.NOT_SENT)


async def test_what_another_key_signed_cannot_be_replaced(bob: BobNetwork) -> None:
    sends = MemorySends()
    provider = await bob.client("provider", sends)
    first = await waiting(bob, provider)
    with pytest.raises(TransactionError) as foreign:
        await (await bob.client("taker", sends)).replace_transaction_async(first)
    assert foreign.value.code == "not_own"


async def test_neither_too_little_nor_more_than_the_cap_is_offered(bob: BobNetwork) -> None:
    sends = MemorySends()
    taker = await bob.client("taker", sends)
    first = await waiting(bob, taker)
    old = price_of(recorded(sends, first))
    with pytest.raises(TransactionError) as small:
        await taker.replace_transaction_async(first, max_fee_per_gas=old.max_fee_per_gas + 1)
    assert small.value.code == "bump_too_small"
    cap = taker.settings.max_fee_per_gas_wei
    with pytest.raises(FundsRulesError, match=f"{cap + 1} wei.*{cap}") as capped:
        await taker.replace_transaction_async(first, max_fee_per_gas=cap + 1)
    assert capped.value.code == "fee_cap"
    second = await taker.replace_transaction_async(first, max_fee_per_gas=cap, max_priority_fee_per_gas=cap)
    assert price_of(recorded(sends, second)) == Price(cap, cap)
    with pytest.raises(FundsRulesError):
        await taker.cancel_transaction_async(first)
    with pytest.raises(InvalidRequest):
        await taker.replace_transaction_async(first, max_fee_per_gas=-1)


async def test_a_nonce_that_another_transaction_has_by_now_is_not_taken_from_it(bob: BobNetwork) -> None:
    sends = MemorySends()
    earlier = await bob.client("taker", sends)
    first = await waiting(bob, earlier)
    # The node lost it, and another transaction has its nonce, which a replacement would displace.
    bob.node.pool = TransactionPool()
    taker = await bob.client("taker", sends)
    rival = await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    with pytest.raises(TransactionError) as used:
        await taker.replace_transaction_async(first)
    assert (used.value.code, used.value.outcome) == ("nonce_used", Outcome.REJECTED)
    bob.node.mine()
    assert (await taker.get_transaction_status_async(rival)).state is TxState.INCLUDED


async def test_a_key_that_would_name_a_replacement_is_refused(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    with pytest.raises(InvalidRequest, match="must not begin"):
        await taker.transfer_asset_async(ETH, 1, SOMEBODY, idempotency_key="replaces:0x")
