"""Many concurrent transfers from one key, and replacements, on both networks: each is mined exactly once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import pytest

from layer2 import ETH, BobClient, TxState, TxStatus
from layer2.errors import NodeRefused, TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.model.transactions import EvmTxId, Finality
from layer2.protocols.evm.fees.models import OP_STACK
from layer2.protocols.evm.fees.prices import Price
from layer2.signers.software import SoftwareEvmSigner
from networks.parties import Clients
from networks.waiting import until

COUNT = 1000
MINUTE = 60.0
MINED = {TxState.INCLUDED, TxState.FINAL}


def anyone() -> str:
    """An address without earlier transactions."""
    return to_checksum(os.urandom(20))


async def owned(bob: BobClient, address: str) -> int:
    """An address's balance in wei."""
    return await bob._node.balance(bytes.fromhex(address[2:]))


async def until_mined(bob: BobClient, tx_ids: Sequence[EvmTxId]) -> list[TxStatus[EvmTxId]]:
    """Wait until all are mined, and return their statuses."""
    waiting = [bob.wait_for_status_async(tx_id, timeout=2 * MINUTE) for tx_id in tx_ids]
    return await asyncio.gather(*waiting)


async def transfer(bob: BobClient, recipient: str) -> EvmTxId:
    """One of the transfers, of one wei."""
    return await bob.transfer_asset_async(ETH, 1, recipient, timeout=2 * MINUTE)


async def test_a_thousand_transfers_at_once_from_one_key_are_all_mined(taker: Clients) -> None:
    recipient = anyone()
    tx_ids = await asyncio.gather(*[transfer(taker.bob, recipient) for _ in range(COUNT)])
    statuses = await until_mined(taker.bob, tx_ids)
    assert len(set(tx_ids)) == COUNT
    assert {status.state for status in statuses} <= MINED
    assert await owned(taker.bob, recipient) == COUNT


async def test_a_thousand_transfers_at_once_with_every_tenth_cancelled_leave_no_gap(taker: Clients) -> None:
    recipient = anyone()
    tasks = [asyncio.create_task(transfer(taker.bob, recipient)) for _ in range(COUNT)]
    for number in range(0, COUNT, 10):
        # Cancel some before they start, and others at every moment until they end.
        tasks[number].cancel()
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    sent = [result for result in results if isinstance(result, str)]
    others = [result for result in results if not isinstance(result, str)]
    assert all(isinstance(result, asyncio.CancelledError) for result in others), others
    assert len(sent) >= COUNT - COUNT // 10
    statuses = await until_mined(taker.bob, [EvmTxId(tx_id) for tx_id in sent])
    assert {status.state for status in statuses} <= MINED

    async def is_settled() -> bool:
        last = await taker.bob._node.transaction_count(taker.bob._account.address, None)
        return await taker.bob._node.transaction_count(taker.bob._account.address, Finality.LATEST) == last

    await until(is_settled, "transfers cancelled after signing are mined too")
    assert len(sent) <= await owned(taker.bob, recipient) <= COUNT


@pytest.mark.only_on("simnet", reason="real nodes have no switch to drop an answer")
async def test_a_thousand_transfers_at_once_with_answers_lost_are_all_mined(
    taker: Clients, control: LocalNetworkControl
) -> None:
    await control.fault("bob", "drop_reply", method="eth_sendRawTransaction", count=3)
    recipient = anyone()
    tx_ids = await asyncio.gather(*[transfer(taker.bob, recipient) for _ in range(COUNT)])
    statuses = await until_mined(taker.bob, tx_ids)
    assert {status.state for status in statuses} <= MINED
    assert await owned(taker.bob, recipient) == COUNT


async def test_a_replacement_is_mined_in_the_place_of_what_it_replaces(
    taker: Clients, control: LocalNetworkControl
) -> None:
    recipient = anyone()
    await control.set_automatic(False)
    first = await taker.bob.transfer_asset_async(ETH, 7, recipient)
    second = await taker.bob.replace_transaction_async(first)
    third = await taker.bob.replace_transaction_async(first)
    await control.mine()
    (mined,) = await until_mined(taker.bob, [third])
    assert mined.state in MINED
    assert await owned(taker.bob, recipient) == 7
    for status in await taker.bob.get_transaction_statuses_async([first, second]):
        assert (status.state, status.replaced_by) == (TxState.DROPPED, third)
    with pytest.raises(TransactionError) as late:
        await taker.bob.replace_transaction_async(first)
    assert (late.value.code, late.value.tx_id) == ("mined", third)


async def test_a_cancelled_transfer_pays_nothing(taker: Clients, control: LocalNetworkControl) -> None:
    recipient = anyone()
    await control.set_automatic(False)
    first = await taker.bob.transfer_asset_async(ETH, 7, recipient)
    after = await taker.bob.transfer_asset_async(ETH, 8, recipient)
    nothing = await taker.bob.cancel_transaction_async(first)
    await control.mine()
    await until_mined(taker.bob, [nothing, after])
    assert await owned(taker.bob, recipient) == 8
    status = await taker.bob.get_transaction_status_async(first)
    assert (status.state, status.replaced_by) == (TxState.DROPPED, nothing)


@pytest.mark.parametrize(("fee", "tip"), [(3_000_000_015, 1_000_007), (2_000_000_000, 1_000_000), (4_000_000_001, 9)])
async def test_nodes_take_the_smallest_bump_that_is_offered_and_less_than_a_tenth_they_refuse(
    taker: Clients, network: LocalNetwork, control: LocalNetworkControl, fee: int, tip: int
) -> None:
    await control.set_automatic(False)
    signer = SoftwareEvmSigner.from_file(network.taker.evm_key_file)
    recipient = bytes.fromhex(anyone()[2:])
    nonce = await taker.bob._node.transaction_count(signer.address, None)

    async def offer(price: Price) -> None:
        transaction = Eip1559Transaction(
            network.bob.chain_id, nonce, price.max_priority_fee_per_gas, price.max_fee_per_gas, 21_000, recipient, 1
        )
        raw = transaction.signed(await signer.sign_digest(transaction.signing_hash())).raw
        await taker.bob._node.send(raw)

    old = Price(fee, tip)
    await offer(old)
    for too_low in (
        Price(old.max_fee_per_gas * 11 // 10 - 1, OP_STACK.bumped(old).max_priority_fee_per_gas),
        Price(OP_STACK.bumped(old).max_fee_per_gas, max(tip, old.max_priority_fee_per_gas * 11 // 10 - 1)),
    ):
        with pytest.raises(NodeRefused, match="replacement transaction underpriced"):
            await offer(too_low)
    await offer(OP_STACK.bumped(old))
    await control.mine()
