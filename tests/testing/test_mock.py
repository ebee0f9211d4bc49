"""Mock clients answer as scripted, with the methods of the real clients; their report shows expected and actual."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any
from unittest.mock import ANY

import pytest

from layer2.errors import AsyncTimeout, FundsRulesError, NodeUnreachable, TransactionError
from layer2.legs.evidence import LegEvidence
from layer2.model.money import BTC
from layer2.model.transactions import BitcoinTxId, EvmTxId, Finality, TxState, TxStatus
from layer2.protocols.bitcoin import BitcoinClient, BitcoinOutput, BitcoinPayment
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.rootstock import RootstockClient
from layer2.testing import (
    MockBitcoinClient,
    MockBobClient,
    MockLayer2Protocol,
    MockLightningNetwork,
    MockRootstockClient,
    UnmetExpectations,
)
from proofs import made_bitcoin, made_proofs, made_rootstock

REAL_AND_MOCK = [
    (BobClient, MockBobClient),
    (RootstockClient, MockRootstockClient),
    (LightningNetwork, MockLightningNetwork),
    (BitcoinClient, MockBitcoinClient),
]

TX = BitcoinTxId("ab" * 32)


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
    with pytest.raises(UnmetExpectations, match="unexpected call"):
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


async def test_an_answer_can_be_delayed() -> None:
    async with MockLayer2Protocol() as mock:
        mock.expect("initialize_async").after(0.02)
        answer = asyncio.create_task(mock.initialize_async())
        await asyncio.sleep(0.001)
        assert not answer.done()
        await answer


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


# The layers' own methods.


def async_methods(owner: type[Any]) -> dict[str, Any]:
    return {name: getattr(owner, name) for name in dir(owner) if name.endswith("_async") and not name.startswith("_")}


def public_methods(owner: type[Any]) -> dict[str, Any]:
    return {
        name: getattr(owner, name)
        for name in dir(owner)
        if not name.startswith("_") and inspect.isfunction(getattr(owner, name))
    }


@pytest.mark.parametrize(("real", "mock"), REAL_AND_MOCK)
def test_a_mock_has_every_method_of_its_client_with_the_same_signature(real: type[Any], mock: type[Any]) -> None:
    real_methods, mock_methods = async_methods(real), async_methods(mock)
    assert real_methods.keys() == mock_methods.keys()
    assert real_methods.keys() > async_methods(MockLayer2Protocol).keys()
    for name, method in real_methods.items():
        assert inspect.signature(mock_methods[name]) == inspect.signature(method)
        assert mock_methods[name] != method
    assert issubclass(mock, real)


@pytest.mark.parametrize(("real", "mock"), REAL_AND_MOCK)
def test_a_mock_has_no_other_public_methods_than_its_client_except_those_of_mocks(
    real: type[Any], mock: type[Any]
) -> None:
    of_real, of_mock = public_methods(real), public_methods(mock)
    assert of_mock.keys() - of_real.keys() == {"expect", "verify"}
    assert of_real.keys() <= of_mock.keys()
    for name, method in of_real.items():
        assert inspect.signature(of_mock[name]) == inspect.signature(method), name


async def test_a_bitcoin_client_s_own_methods_can_be_expected() -> None:
    payment = BitcoinPayment((BitcoinOutput("bcrt1qexample", 50_000),), fee_rate=2_000)
    async with MockBitcoinClient(in_order=True) as bitcoin:
        bitcoin.expect("estimate_fee_rate_async", 2).returns(2_000)
        bitcoin.expect("submit_transaction_async", payment, idempotency_key="rent").returns(
            TxStatus(TX, TxState.PENDING)
        )
        bitcoin.expect("replace_transaction_async", TX, fee_rate=4_000).raises(TransactionError("mined", code="mined"))
        bitcoin.expect("cancel_transaction_async", TX).raises(FundsRulesError("over the limit", code="fee_cap"))
        bitcoin.expect("pay_for_parent_async", TX, fee_rate=4_000).returns("child")
        bitcoin.expect("wait_for_status_async", TX, until=TxState.FINAL).returns(TxStatus(TX, TxState.FINAL))
        assert await bitcoin.estimate_fee_rate_async(2) == 2_000
        status = await bitcoin.submit_transaction_async(payment, idempotency_key="rent")
        assert status.state is TxState.PENDING
        with pytest.raises(TransactionError, match="mined"):
            await bitcoin.replace_transaction_async(TX, fee_rate=4_000)
        with pytest.raises(FundsRulesError):
            await bitcoin.cancel_transaction_async(TX)
        child: object = await bitcoin.pay_for_parent_async(TX, fee_rate=4_000)
        assert child == "child"
        assert (await bitcoin.wait_for_status_async(TX, until=TxState.FINAL)).state is TxState.FINAL


async def test_a_payment_under_another_idempotency_key_is_unexpected() -> None:
    bitcoin = MockBitcoinClient()
    bitcoin.expect("transfer_asset_async", BTC, 1_000, ANY, idempotency_key="rent")
    with pytest.raises(UnmetExpectations, match="idempotency_key='other'"):
        await bitcoin.transfer_asset_async(BTC, 1_000, "bcrt1qexample", idempotency_key="other")


def test_the_blocking_twins_of_a_bitcoin_client_answer_too() -> None:
    with MockBitcoinClient() as bitcoin:
        bitcoin.expect("receive_address_async").returns("bcrt1qexample")
        bitcoin.expect("estimate_fee_rate_async").returns(3_000)
        bitcoin.expect("watch_transaction_async", TX).returns([TxStatus(TX, TxState.FINAL)])
        assert bitcoin.receive_address_sync() == "bcrt1qexample"
        assert bitcoin.estimate_fee_rate_sync() == 3_000
        statuses: Any = bitcoin.watch_transaction_sync(TX)
        assert [status.state for status in statuses] == [TxState.FINAL]


@pytest.mark.parametrize(
    ("mock", "evidence"),
    [
        (MockBobClient(), made_proofs.to_lightning().source_leg),
        (MockRootstockClient(), made_rootstock.evidence_of(made_rootstock.leg(), made_rootstock.terms())),
        (MockBitcoinClient(), made_bitcoin.evidence_of(made_bitcoin.spend())),
    ],
)
async def test_a_mock_does_not_confirm_the_evidence_of_another_network(mock: Any, evidence: LegEvidence) -> None:
    assert not await mock.confirm_evidence(evidence, contract=None, finality=Finality.LATEST)


async def test_a_method_of_one_layer_alone_can_be_expected() -> None:
    async with MockLightningNetwork() as lightning:
        lightning.expect("create_invoice_async", 50_000).returns("lnbcrt1...")
        made: object = await lightning.create_invoice_async(50_000, memo="order 7")
        assert made == "lnbcrt1..."


async def test_arguments_that_the_real_method_does_not_take_cannot_be_expected_or_passed() -> None:
    lightning = MockLightningNetwork()
    with pytest.raises(TypeError):
        lightning.expect("create_invoice_async", 50_000, colour="red")
    with pytest.raises(TypeError):
        lightning.expect("permit_async", "0x", 1, 1)
    anything: Any = lightning
    with pytest.raises(TypeError):
        await anything.create_invoice_async(50_000, colour="red")


def test_the_blocking_twins_of_a_layer_s_own_methods_answer_too() -> None:
    with MockBobClient() as bob:
        bob.expect("estimate_fee_async").returns(7)
        answer: object = bob.estimate_fee_sync(b"")
        assert answer == 7


async def test_an_async_iterator_yields_its_items_and_then_raises() -> None:
    async with MockBobClient() as bob:
        bob.expect("watch_transaction_async", "0x1").returns([1, 2]).raises(NodeUnreachable("gone"))
        statuses: Any = bob.watch_transaction_async(EvmTxId("0x1"))
        assert [await anext(statuses), await anext(statuses)] == [1, 2]
        with pytest.raises(NodeUnreachable):
            await anext(statuses)


async def test_an_answer_that_takes_longer_than_the_call_s_timeout_raises() -> None:
    async with MockLightningNetwork() as lightning:
        lightning.expect("create_invoice_async").returns("too late").after(5)
        started = asyncio.get_running_loop().time()
        with pytest.raises(AsyncTimeout) as caught:
            await lightning.create_invoice_async(1, timeout=0.02)
        assert asyncio.get_running_loop().time() - started < 4
        assert (caught.value.operation, caught.value.protocol) == ("create_invoice_async", "LIGHTNING")


async def test_an_answer_within_the_timeout_is_returned() -> None:
    async with MockLayer2Protocol() as mock:
        mock.expect("receive_address_async").returns("here").after(0.001)
        assert await mock.receive_address_async(timeout=30) == "here"
