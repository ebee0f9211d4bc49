"""Fees: the parts of BOB's cost, the cap, and what it does not hold back."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import FundsRulesError
from layer2.protocols.evm.fees import FeeQuote, Fees
from layer2.protocols.evm.json_rpc import JsonRpc
from layer2.protocols.evm.l1_parameters import L1Parameters
from layer2.protocols.evm.node import EvmNode
from layer2.settings import ConnectionPoolConfig
from protocols.evm.bob_network import BobNetwork

NOTHING = L1Parameters(0, 0, 0, 0, 0, 0)


def test_a_chain_without_l1_parameters_has_no_such_fees() -> None:
    assert (NOTHING.data_fee_bound(400), NOTHING.operator_fee(100_000)) == (0, 0)


def test_the_data_fee_follows_fjords_formula_for_the_largest_compressed_size() -> None:
    # Fjord: max(100e6, -42,585,600 + 836,500 * size) * (16 * scalar * base + blob scalar * blob base) / 1e12.
    l1 = L1Parameters(
        base_fee=20_000_000_000,
        blob_base_fee=3,
        base_fee_scalar=5_227,
        blob_base_fee_scalar=1_014_213,
        operator_fee_scalar=0,
        operator_fee_constant=0,
    )
    price = 16 * 5_227 * 20_000_000_000 + 1_014_213 * 3
    assert l1.data_fee_bound(100) == 100_000_000 * price // 10**12
    assert l1.data_fee_bound(400) == (836_500 * (400 + 13) - 42_585_600) * price // 10**12


def test_the_operators_part_is_a_scaled_share_of_the_gas_and_a_constant() -> None:
    l1 = L1Parameters(0, 0, 0, 0, operator_fee_scalar=2_000, operator_fee_constant=17)
    assert l1.operator_fee(500_000) == 1_017


def test_jovians_operators_part_counts_a_hundred_wei_for_each_unit_of_the_scalar() -> None:
    l1 = L1Parameters(0, 0, 0, 0, operator_fee_scalar=2_000, operator_fee_constant=17, jovian=True)
    assert l1.operator_fee(500_000) == 500_000 * 2_000 * 100 + 17


@pytest.mark.parametrize(
    ("extra_data", "jovian"),
    [
        (bytes.fromhex("00000000fa00000006"), False),
        (bytes.fromhex("01000000fa00000006") + bytes(8), True),
        (b"", False),
        (b"\x01", False),
    ],
    ids=["Holocene", "Jovian", "none", "short"],
)
def test_a_headers_extra_data_tells_whether_jovian_holds(extra_data: bytes, jovian: bool) -> None:
    l1 = L1Parameters.from_storage((0, 0, 0, 1 << 64), extra_data)
    assert l1.operator_fee(1_000_000) == (100_000_000 if jovian else 1)


def test_a_reserve_holds_several_times_todays_data_fee() -> None:
    l1 = L1Parameters(10**9, 0, 1_000_000, 0, 0, 0)
    quote = FeeQuote(max_fee_per_gas=5, max_priority_fee_per_gas=1, l1=l1, base_fee=2)
    assert quote.most(100, 300) == 500 + l1.data_fee_bound(300)
    assert quote.reserve(100, 300) == 500 + 3 * l1.data_fee_bound(300)


async def test_a_cap_refuses_a_send_and_never_a_claim(bob: BobNetwork) -> None:
    rpc = JsonRpc(bob.url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=5)
    fees = Fees(EvmNode(rpc, "BOB"), bob.settings(max_fee_per_gas=1_500_000))
    try:
        with pytest.raises(FundsRulesError, match="the limit max_fee_per_gas is 1500000") as refused:
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
    fees = Fees(EvmNode(rpc, "BOB"), bob.settings(max_fee_per_gas=2_100_000))
    try:
        assert (await fees.quote()).max_fee_per_gas == 2_100_000
    finally:
        await fees.aclose()
        await rpc.aclose()


async def test_many_who_ask_at_once_share_one_look_at_the_prices(bob: BobNetwork, requests_seen: list[bytes]) -> None:
    rpc = JsonRpc(bob.url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=5)
    fees = Fees(EvmNode(rpc, "BOB"), bob.settings())
    try:
        await asyncio.gather(*[fees.quote() for _ in range(100)])
        assert len(requests_seen) == 1
    finally:
        await fees.aclose()
        await rpc.aclose()
