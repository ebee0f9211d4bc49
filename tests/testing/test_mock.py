"""The mock protocol answers what was said, and its report shows expected against actual."""

from __future__ import annotations

from unittest.mock import ANY

import pytest

from layer2.errors import NodeUnreachable
from layer2.model.money import BTC
from layer2.model.transactions import TxState, TxStatus
from layer2.testing import MockLayer2Protocol, UnmetExpectations


async def test_an_expected_call_gets_its_answer() -> None:
    async with MockLayer2Protocol() as mock:
        mock.expect("transfer_asset_async", BTC, 100, "someone").returns("tx")
        assert await mock.transfer_asset_async(BTC, 100, "someone", timeout=5) == "tx"


def test_the_blocking_twin_counts_as_the_same_call() -> None:
    with MockLayer2Protocol() as mock:
        mock.expect("get_transaction_status_async", "tx").returns(TxStatus("tx", TxState.FINAL))
        assert mock.get_transaction_status_sync("tx").state is TxState.FINAL


async def test_an_expected_error_is_raised() -> None:
    async with MockLayer2Protocol() as mock:
        mock.expect("initialize_async").raises(NodeUnreachable("no answer"))
        with pytest.raises(NodeUnreachable):
            await mock.initialize_async()


async def test_a_call_is_expected_a_number_of_times() -> None:
    mock = MockLayer2Protocol()
    mock.expect("balances_async").returns({}).times(2)
    await mock.balances_async()
    with pytest.raises(UnmetExpectations, match="x 2, called 1 times"):
        mock.verify()
    await mock.balances_async()
    mock.verify()
    with pytest.raises(UnmetExpectations, match="not expected"):
        await mock.balances_async()


async def test_other_arguments_than_expected_are_reported_beside_them() -> None:
    mock = MockLayer2Protocol()
    mock.expect("transfer_asset_async", BTC, 100, ANY)
    with pytest.raises(UnmetExpectations) as caught:
        await mock.transfer_asset_async(BTC, 101, "someone")
    expected, actual = str(caught.value).split("actual:")
    assert "amount=100" in expected
    assert "amount=101" in actual


async def test_an_unexpected_call_fails_the_test_even_where_its_error_was_caught() -> None:
    mock = MockLayer2Protocol()
    with pytest.raises(UnmetExpectations):
        await mock.receive_address_async()
    with pytest.raises(UnmetExpectations):
        mock.verify()


async def test_calls_can_be_expected_in_order() -> None:
    mock = MockLayer2Protocol(in_order=True)
    mock.expect("initialize_async")
    mock.expect("balances_async").returns({})
    with pytest.raises(UnmetExpectations, match="in this order"):
        await mock.balances_async()


async def test_an_answer_can_take_its_time() -> None:
    async with MockLayer2Protocol() as mock:
        mock.expect("initialize_async").after(0.001)
        await mock.initialize_async()


def test_a_method_that_does_not_exist_cannot_be_expected() -> None:
    with pytest.raises(TypeError):
        MockLayer2Protocol().expect("transfer_async")
    with pytest.raises(TypeError):
        MockLayer2Protocol().expect("balances_async", amount=1)


async def test_an_unmet_expectation_does_not_hide_the_test_s_own_error() -> None:
    async def the_test() -> None:
        async with MockLayer2Protocol() as mock:
            mock.expect("balances_async")
            raise KeyError("mine")

    with pytest.raises(KeyError):
        await the_test()
