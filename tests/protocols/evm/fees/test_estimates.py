"""Estimates: the parts of a fee, refusals with amounts and reasons, and data that the node never sees."""

from __future__ import annotations

import asyncio

import pytest

from layer2.contracts.erc20 import transfer_call
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS
from layer2.errors import FormatError, InsufficientFunds, Outcome, TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.local.accounts import START_WEI
from layer2.model.money import ETH
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.signers.software import SoftwareEvmSigner
from protocols.evm.bob_network import BobNetwork

SOMEBODY = to_checksum(b"\x05" * 20)
SECRET = bytes(range(32))
TOKEN = to_checksum(TEST_TOKEN_ADDRESS)


async def test_a_transfers_estimate_is_what_it_then_costs(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    request = EvmTransactionRequest(to=TOKEN, data=transfer_call(b"\x05" * 20, 5))
    estimate = await taker.estimate_fee_async(request)
    assert estimate.gas_limit == estimate.gas + estimate.gas // 5
    assert estimate.total < estimate.most < START_WEI
    status = await taker.submit_transaction_async(request)
    mined = await taker.wait_for_status_async(status.tx_id)
    # The base fee falls by up to an eighth in an empty block, and the estimated gas is the minimum.
    assert mined.fee is not None
    assert mined.fee <= estimate.total <= mined.fee * 3 // 2


async def test_requests_at_once_share_one_look_at_the_balance_and_each_counts(
    bob: BobNetwork, requests_seen: list[bytes]
) -> None:
    taker = await bob.client("taker")
    requests_seen.clear()
    results = await asyncio.gather(
        *[taker.transfer_asset_async(ETH, START_WEI * 2 // 5, SOMEBODY) for _ in range(4)], return_exceptions=True
    )
    assert [type(result) for result in results] == [str, str, InsufficientFunds, InsufficientFunds]
    assert b"".join(requests_seen).count(b"eth_getBalance") == 1
    assert b"".join(requests_seen).count(b"eth_sendRawTransaction") == 2


async def test_a_request_that_would_fail_is_refused_with_the_contracts_reason(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    request = EvmTransactionRequest(to=TOKEN, data=transfer_call(b"\x05" * 20, 2**255))
    with pytest.raises(TransactionError, match="would fail: execution reverted: ") as refused:
        await taker.estimate_fee_async(request)
    assert (refused.value.code, refused.value.outcome) == ("would_fail", Outcome.NOT_SENT)


async def test_signed_bytes_and_requests_with_a_gas_limit_are_not_shown_to_the_node(
    bob: BobNetwork, requests_seen: list[bytes]
) -> None:
    taker = await bob.client("taker")
    transaction = Eip1559Transaction(60808, 0, 10**6, 10**9, 90_000, b"\x05" * 20, 0, SECRET)
    signer = SoftwareEvmSigner(bob.accounts["provider"].key.secret)
    signed = transaction.signed(await signer.sign_digest(transaction.signing_hash()))
    estimate = await taker.estimate_fee_async(signed.raw)
    assert (estimate.gas, estimate.gas_limit) == (90_000, 90_000)
    assert estimate.most >= 90_000 * 10**9
    limited = EvmTransactionRequest(to=SOMEBODY, data=SECRET, gas_limit=90_000)
    assert (await taker.estimate_fee_async(limited)).gas == 90_000
    assert not any(SECRET.hex() in body.decode() for body in requests_seen)
    # This shows that the line above can fail: without a limit the node sees the data.
    await taker.estimate_fee_async(EvmTransactionRequest(to=SOMEBODY, data=SECRET))
    assert any(SECRET.hex() in body.decode() for body in requests_seen)


@pytest.mark.parametrize("gas_limit", [21_000, None])
async def test_what_cannot_be_paid_is_refused_with_the_amounts_and_leaves_no_gap(
    bob: BobNetwork, gas_limit: int | None
) -> None:
    taker = await bob.client("taker")
    request = EvmTransactionRequest(to=SOMEBODY, value=START_WEI + 1, gas_limit=gas_limit)
    with pytest.raises(InsufficientFunds, match=rf"cannot pay {START_WEI + 1} wei .* has {START_WEI} wei"):
        await taker.submit_transaction_async(request)
    tx_id = await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    assert (await taker.wait_for_status_async(tx_id)).depth == 1


async def test_bytes_that_are_not_a_transaction_are_refused(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    with pytest.raises(FormatError):
        await taker.estimate_fee_async(b"\x02\xc0")
