"""The pool of the simnet's Rootstock node accepts, refuses, queues and drops what rskj's does, with its messages."""

from __future__ import annotations

import pytest

from layer2.local.accounts import START_WEI
from simnet.bob_client import NodeError, signed
from simnet.rootstock_node import MINIMUM, RunningRootstock, legacy


async def refusal(rootstock: RunningRootstock, raw: bytes) -> tuple[int, str]:
    with pytest.raises(NodeError) as refused:
        await rootstock.client.send(raw)
    return refused.value.code, str(refused.value)


async def pending_nonce(rootstock: RunningRootstock) -> int:
    return int(
        await rootstock.client.call("eth_getTransactionCount", "0x" + rootstock.taker.address.hex(), "pending"), 16
    )


async def test_a_legacy_transaction_is_mined_at_its_own_price(rootstock: RunningRootstock) -> None:
    name = await rootstock.client.send(legacy(rootstock.taker, 0, price=3 * MINIMUM))
    assert (await rootstock.client.call("eth_getTransactionByHash", name))["blockHash"] is None
    rootstock.node.mine()
    receipt = await rootstock.client.call("eth_getTransactionReceipt", name)
    assert (receipt["status"], receipt["effectiveGasPrice"]) == ("0x1", hex(3 * MINIMUM))
    left = await rootstock.client.call("eth_getBalance", "0x" + rootstock.taker.address.hex(), "latest")
    assert int(left, 16) == START_WEI - 21_000 * 3 * MINIMUM - 1


async def test_a_typed_transaction_is_an_internal_error(rootstock: RunningRootstock) -> None:
    """rskj reads it as several RLP items, and its handler does not expect that."""
    assert await refusal(rootstock, signed(rootstock.taker, 0, chain_id=33)) == (-32603, "Internal server error")


async def test_another_chains_transaction_is_refused_with_its_chain_id(rootstock: RunningRootstock) -> None:
    assert await refusal(rootstock, legacy(rootstock.taker, 0, chain_id=30)) == (-32602, "Invalid chainId: 30")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"price": MINIMUM - 1}, "transaction's gas price lower than block's minimum"),
        ({"price": 80 * MINIMUM + 1}, "transaction's gas price exceeds cap"),
        ({"gas": 20_999}, "transaction's basic cost is above the gas limit"),
        (
            {"gas": 6_800_001},
            "transaction's gas limit of 6800001 is higher than the block's gas limit of 6800000",
        ),
        ({"nonce": 16}, "transaction nonce too high"),
        ({"value": START_WEI}, "insufficient funds to pay for pending and new transactions"),
        ({"price": 75 * MINIMUM, "gas": 6_800_000, "value": START_WEI}, "insufficient funds to pay for"),
    ],
)
async def test_a_transaction_that_breaks_a_rule_is_refused_with_rskjs_reason(
    rootstock: RunningRootstock, changes: dict[str, int], message: str
) -> None:
    raw = legacy(rootstock.taker, **{"nonce": 0, **changes})  # type: ignore[arg-type]  # numbers only
    code, given = await refusal(rootstock, raw)
    assert code == -32010
    assert given.startswith(message)


async def test_a_price_of_eighty_times_the_minimum_is_accepted(rootstock: RunningRootstock) -> None:
    await rootstock.client.send(legacy(rootstock.taker, 0, price=80 * MINIMUM))


async def test_a_transaction_that_the_pool_has_is_refused_by_its_hash(rootstock: RunningRootstock) -> None:
    for nonce, kind in ((0, "pending"), (5, "queued")):
        raw = legacy(rootstock.taker, nonce)
        await rootstock.client.send(raw)
        assert await refusal(rootstock, raw) == (-32010, f"{kind} transaction with same hash already exists")


async def test_a_used_nonce_is_refused(rootstock: RunningRootstock) -> None:
    await rootstock.client.send(legacy(rootstock.taker, 0))
    rootstock.node.mine()
    assert await refusal(rootstock, legacy(rootstock.taker, 0, value=2)) == (-32010, "transaction nonce too low")


async def test_a_replacement_costs_two_fifths_more(rootstock: RunningRootstock) -> None:
    await rootstock.client.send(legacy(rootstock.taker, 0))
    too_low = legacy(rootstock.taker, 0, price=MINIMUM * 140 // 100 - 1)
    assert await refusal(rootstock, too_low) == (-32010, "gas price not enough to bump transaction")
    name = await rootstock.client.send(legacy(rootstock.taker, 0, price=MINIMUM * 140 // 100))
    rootstock.node.mine()
    assert (await rootstock.block())["transactions"][0] == name


async def test_a_queued_transaction_is_invisible_until_the_gap_is_filled(rootstock: RunningRootstock) -> None:
    name = await rootstock.client.send(legacy(rootstock.taker, 1))
    assert await rootstock.client.call("eth_getTransactionByHash", name) is None
    assert await pending_nonce(rootstock) == 0
    await rootstock.client.send(legacy(rootstock.taker, 0))
    assert (await rootstock.client.call("eth_getTransactionByHash", name))["hash"] == name
    assert await pending_nonce(rootstock) == 2


async def test_an_account_has_sixteen_slots_above_its_nonce(rootstock: RunningRootstock) -> None:
    for nonce in range(16):
        await rootstock.client.send(legacy(rootstock.taker, nonce))
    assert await refusal(rootstock, legacy(rootstock.taker, 16)) == (-32010, "transaction nonce too high")
    rootstock.node.mine()
    await rootstock.client.send(legacy(rootstock.taker, 16))


async def test_a_transaction_leaves_the_pool_after_ten_blocks(rootstock: RunningRootstock) -> None:
    name = await rootstock.client.send(legacy(rootstock.taker, 1))
    await rootstock.client.send(legacy(rootstock.other, 1))
    rootstock.node.mine(10)
    assert len(rootstock.node.pool) == 2
    rootstock.node.mine()
    assert len(rootstock.node.pool) == 0
    await rootstock.client.send(legacy(rootstock.taker, 0))
    assert await pending_nonce(rootstock) == 1
    assert await rootstock.client.call("eth_getTransactionByHash", name) is None


async def test_a_transaction_leaves_the_pool_after_650_seconds(rootstock: RunningRootstock) -> None:
    name = await rootstock.client.send(legacy(rootstock.taker, 0))
    rootstock.clock.advance(649)
    assert (await rootstock.client.call("eth_getTransactionByHash", name))["hash"] == name
    rootstock.clock.advance(1)
    assert await rootstock.client.call("eth_getTransactionByHash", name) is None
    assert await pending_nonce(rootstock) == 0


async def test_the_minimum_price_moves_by_one_percent_and_leaves_cheap_transactions_behind(
    rootstock: RunningRootstock,
) -> None:
    name = await rootstock.client.send(legacy(rootstock.taker, 0))
    rootstock.rules.wanted_price = 2 * MINIMUM
    rootstock.node.mine(2)
    block = await rootstock.block()
    assert int(block["minimumGasPrice"], 16) == MINIMUM * 101 // 100 * 101 // 100
    assert await rootstock.client.call("eth_getTransactionReceipt", name) is None
    assert await rootstock.client.call("eth_gasPrice") == block["minimumGasPrice"]
    await rootstock.client.send(legacy(rootstock.taker, 0, price=2 * MINIMUM))
    rootstock.node.mine()
    assert len((await rootstock.block())["transactions"]) == 2
