"""Prices: the cap, acts that ignore it, and reserves."""

from __future__ import annotations

import asyncio

import pytest

from layer2.contracts.l1_block import L1Parameters
from layer2.errors import FundsRulesError
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.fees.prices import FeeQuote
from layer2.protocols.evm.fees.quotes import Fees
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode
from protocols.evm.bob_network import BobNetwork

BOB_FACTS = LAYERS[Layer2ProtocolType.BOB]


def test_a_reserve_holds_several_times_todays_data_fee() -> None:
    l1 = L1Parameters(10**9, 0, 1_000_000, 0, 0, 0)
    quote = FeeQuote(max_fee_per_gas=5, max_priority_fee_per_gas=1, l1=l1, base_fee=2)
    assert quote.most(100, 300) == 500 + l1.data_fee_bound(300)
    assert quote.reserve(100, 300) == 500 + 3 * l1.data_fee_bound(300)


async def test_a_cap_refuses_a_send_and_never_a_claim(bob: BobNetwork) -> None:
    rpc = JsonRpc(bob.url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=5)
    fees = Fees(EvmNode(rpc, "BOB"), bob.settings(max_fee_per_gas_wei=1_500_000), BOB_FACTS)
    try:
        with pytest.raises(FundsRulesError, match="more than max_fee_per_gas_wei, which is 1500000") as refused:
            await fees.quote()
        assert refused.value.code == "fee_cap"
        urgent = await fees.urgent_quote()
        base_fee = bob.node.chain.head.header.base_fee_per_gas
        assert base_fee is not None
        assert urgent.max_fee_per_gas == 4 * base_fee + 2_000_000
    finally:
        await fees.aclose()
        await rpc.aclose()


async def test_a_price_is_never_above_the_cap(bob: BobNetwork) -> None:
    rpc = JsonRpc(bob.url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=5)
    fees = Fees(EvmNode(rpc, "BOB"), bob.settings(max_fee_per_gas_wei=2_100_000), BOB_FACTS)
    try:
        assert (await fees.quote()).max_fee_per_gas == 2_100_000
    finally:
        await fees.aclose()
        await rpc.aclose()


async def test_concurrent_calls_share_one_read_of_the_prices(bob: BobNetwork, requests_seen: list[bytes]) -> None:
    rpc = JsonRpc(bob.url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=5)
    fees = Fees(EvmNode(rpc, "BOB"), bob.settings(), BOB_FACTS)
    try:
        await asyncio.gather(*[fees.quote() for _ in range(100)])
        assert len(requests_seen) == 1
    finally:
        await fees.aclose()
        await rpc.aclose()
