"""L1Block: the fees for L1 data and for the operator. ``tests/networks/test_fees.py`` compares them with op-geth."""

from __future__ import annotations

import pytest

from layer2.contracts.l1_block import L1Parameters


def test_a_chain_without_l1_parameters_has_no_such_fees() -> None:
    nothing = L1Parameters(0, 0, 0, 0, 0, 0)
    assert (nothing.data_fee_bound(400), nothing.operator_fee(100_000)) == (0, 0)


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
def test_a_headers_extra_data_shows_whether_jovian_is_active(extra_data: bytes, jovian: bool) -> None:
    l1 = L1Parameters.from_storage((0, 0, 0, 1 << 64), extra_data)
    assert l1.operator_fee(1_000_000) == (100_000_000 if jovian else 1)
