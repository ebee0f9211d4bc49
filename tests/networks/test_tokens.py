"""Misbehaving tokens: the client detects their behaviour and refuses before it signs anything."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from contracts.odd_token import Answer, OddToken, Reverts
from layer2 import BTC, ETH, BobClient, Preimage, TxState
from layer2.contracts.erc20 import allowance_call, approve_call, balance_of_call, decode_uint256
from layer2.contracts.factory import DETERMINISTIC_FACTORY
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.contracts.test_token import mint_call
from layer2.errors import (
    FundsRulesError,
    InsufficientFunds,
    InvalidAmount,
    InvalidRequest,
    Layer2Error,
    Outcome,
    TransactionError,
)
from layer2.formats.evm_address import parse_address, to_checksum
from layer2.legs.evm import EvmLeg
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.local.network import LocalNetwork
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.protocols.evm.requests import EvmTransactionRequest
from layer2.signers.software import SoftwareEvmSigner
from memory_sends import MemorySends
from networks.parties import Clients, bob_settings

SATOSHIS = 100_000_000
RECIPIENT = "0x" + "5a" * 20

Paying = Callable[[OddToken], Awaitable[BobClient]]


@pytest.fixture
def sends() -> MemorySends:
    """The paying client's records."""
    return MemorySends()


@pytest.fixture
async def paying(network: LocalNetwork, taker: Clients, provider: Clients, sends: MemorySends) -> AsyncIterator[Paying]:
    """Returns the taker's client for a token. The provider's client creates the token, with one coin for the taker."""

    async def send(to: bytes, data: bytes) -> None:
        request = EvmTransactionRequest(to=to_checksum(to), data=data, gas_limit=3_000_000)
        status = await provider.bob.submit_transaction_async(request)
        status = await provider.bob.wait_for_status_async(status.tx_id, timeout=60)
        assert status.state in (TxState.INCLUDED, TxState.FINAL)

    async def paying(token: OddToken) -> BobClient:
        if not await taker.bob._node.code(token.address):
            await send(DETERMINISTIC_FACTORY, token.deployment())
        await send(token.address, mint_call(parse_address(await taker.bob.receive_address_async()), 10**token.decimals))
        settings = bob_settings(network, token_address=to_checksum(token.address), token_decimals=token.decimals)
        client = BobClient(settings, SoftwareEvmSigner.from_file(network.taker.evm_key_file), sends)
        await closing.enter_async_context(client)
        await client.initialize_async()
        return client

    async with AsyncExitStack() as closing:
        yield paying


async def balance(client: BobClient, owner: str) -> int:
    answer = await client._node.call(
        parse_address(client.settings.token_address), balance_of_call(parse_address(owner))
    )
    return decode_uint256(answer)


async def allowance(client: BobClient) -> int:
    owner = parse_address(await client.receive_address_async())
    call = allowance_call(owner, HTLC_ADDRESS)
    return decode_uint256(await client._node.call(parse_address(client.settings.token_address), call))


async def used_nonces(client: BobClient) -> int:
    return await client._node.transaction_count(parse_address(await client.receive_address_async()), None)


@pytest.mark.parametrize("decimals", [0, 6, 8, 18])
@pytest.mark.parametrize("answer", [Answer.TRUE, Answer.NOTHING], ids=lambda answer: answer.name)
async def test_a_plain_token_arrives_whole(paying: Paying, decimals: int, answer: Answer) -> None:
    client = await paying(OddToken(decimals, answer))
    before = await balance(client, RECIPIENT)
    tx_id = await client.transfer_asset_async(BTC, SATOSHIS, RECIPIENT)
    assert (await client.wait_for_status_async(tx_id, timeout=60)).state in (TxState.INCLUDED, TxState.FINAL)
    assert await balance(client, RECIPIENT) == before + 10**decimals


REFUSED: dict[str, tuple[OddToken, str, str]] = {
    "false": (OddToken(answer=Answer.FALSE), "token_refused", "returns false"),
    "two_words": (OddToken(answer=Answer.TWO_WORDS), "token_refused", "64 bytes that are not a bool"),
    "no_bool": (OddToken(answer=Answer.NO_BOOL), "token_refused", "32 bytes that are not a bool"),
    "text": (OddToken(reverts=Reverts.WITH_TEXT), "token_refused", "transfers are paused"),
    "custom_error": (OddToken(reverts=Reverts.WITH_CUSTOM_ERROR), "token_refused", "custom error 0x"),
    "no_reason": (OddToken(reverts=Reverts.WITH_NOTHING), "token_refused", "reverted"),
    "fee": (OddToken(fee=1), "token_short", "take 1000000 from the sender and give 999900 to the recipient"),
}


@pytest.mark.parametrize("case", list(REFUSED))
async def test_a_token_that_would_not_deliver_is_refused_and_nothing_is_sent(
    paying: Paying, sends: MemorySends, case: str
) -> None:
    token, code, words = REFUSED[case]
    client = await paying(token)
    nonces = await used_nonces(client)
    with pytest.raises(TransactionError, match=words) as refused:
        await client.transfer_asset_async(BTC, 1_000_000, RECIPIENT)
    assert (refused.value.code, refused.value.outcome) == (code, Outcome.NOT_SENT)
    assert await used_nonces(client) == nonces
    assert sends.records == {}


async def test_more_of_a_token_than_there_is_is_refused_with_both_numbers(paying: Paying) -> None:
    client = await paying(OddToken())
    owned = (await client.balances_async())[BTC].spendable
    with pytest.raises(InsufficientFunds, match=f"{owned + 1} .* has {owned}"):
        await client.transfer_asset_async(BTC, owned + 1, RECIPIENT)


async def test_an_amount_that_the_token_cannot_express_is_refused(paying: Paying) -> None:
    client = await paying(OddToken(decimals=6))
    with pytest.raises(InvalidAmount, match="exactly"):
        await client.transfer_asset_async(BTC, 150, RECIPIENT)


async def test_addresses_at_which_money_is_lost_are_not_recipients(taker: Clients) -> None:
    for trap in (bytes(20), HTLC_ADDRESS, parse_address(taker.bob.settings.token_address)):
        for asset in (BTC, ETH):
            with pytest.raises(InvalidRequest, match="would be lost"):
                await taker.bob.transfer_asset_async(asset, 1_000, to_checksum(trap))


async def test_a_payment_to_oneself_is_not_a_fee(paying: Paying) -> None:
    client = await paying(OddToken())
    tx_id = await client.transfer_asset_async(BTC, 1_000, await client.receive_address_async())
    assert (await client.wait_for_status_async(tx_id, timeout=60)).state in (TxState.INCLUDED, TxState.FINAL)


async def htlc_of(client: BobClient, provider: Clients, token: OddToken) -> Htlc:
    leg = EvmLeg(
        protocol=Layer2ProtocolType.BOB,
        chain_id=client.settings.chain_id,
        contract=HTLC_ADDRESS,
        token=token.address,
        token_decimals=token.decimals,
        amount=1_000,
        payer=parse_address(await client.receive_address_async()),
        payee=parse_address(await provider.bob.receive_address_async()),
        deadline=(await client.legs.read_clock()).chain_time + 7_200,
        finality=Finality.LATEST,
    )
    return Htlc(leg, Preimage(os.urandom(32)).payment_hash, os.urandom(32))


UNLOCKABLE: dict[str, tuple[OddToken, type[Layer2Error], str]] = {
    "false": (OddToken(answer=Answer.FALSE), TransactionError, "refuse to approve: it returns false"),
    "no_bool": (OddToken(answer=Answer.NO_BOOL), TransactionError, "refuse to approve: it returns 32 bytes"),
    "text": (OddToken(reverts=Reverts.WITH_TEXT), FundsRulesError, "the lock would fail: transfers are paused"),
    "fee": (OddToken(fee=100), FundsRulesError, "the lock would fail: wrong amount received"),
}


@pytest.mark.parametrize("case", list(UNLOCKABLE))
async def test_a_token_that_cannot_be_locked_is_refused_before_anything_is_signed(
    paying: Paying, provider: Clients, case: str
) -> None:
    token, error, words = UNLOCKABLE[case]
    client = await paying(token)
    nonces = await used_nonces(client)
    with pytest.raises(error, match=words) as refused:
        await client.legs.prepare(Verb.FUND, await htlc_of(client, provider, token))
    assert refused.value.code == "token_refused"
    assert await used_nonces(client) == nonces


@pytest.mark.parametrize("token", [OddToken(answer=Answer.NOTHING), OddToken(strict=True)], ids=["nothing", "strict"])
async def test_a_lock_of_an_old_token_is_funded_and_approved_once(
    paying: Paying, provider: Clients, token: OddToken
) -> None:
    client = await paying(token)
    if token.strict and await allowance(client) == 0:
        approve = approve_call(HTLC_ADDRESS, 1)
        status = await client.submit_transaction_async(
            EvmTransactionRequest(to=client.settings.token_address, data=approve)
        )
        await client.wait_for_status_async(status.tx_id, timeout=60)
        assert await allowance(client) == 1
    htlc = await htlc_of(client, provider, token)
    act = await client.legs.prepare(Verb.FUND, htlc)
    await client.legs.perform(act)
    view = await client.legs.observe(htlc, Side.PAYER)
    while view.state is not LegState.FUNDED:
        await client.legs.wait_for_change(htlc, view)
        view = await client.legs.observe(htlc, Side.PAYER)
    assert await client.legs.act_status(act) is ActStatus.DONE
    assert await allowance(client) > 2**255


async def test_a_permit_is_submitted_by_another_account(paying: Paying, provider: Clients) -> None:
    client = await paying(OddToken())
    spender = await provider.bob.receive_address_async()
    deadline = (await client.legs.read_clock()).chain_time + 3_600
    signed = await client.permit_async(spender, 1_234, deadline)
    owner, nonce = signed.permit.owner, signed.permit.nonce
    request = EvmTransactionRequest(to=client.settings.token_address, data=signed.call())
    status = await provider.bob.submit_transaction_async(request)
    await provider.bob.wait_for_status_async(status.tx_id, timeout=60)
    token = parse_address(client.settings.token_address)
    answer = await client._node.call(token, allowance_call(owner, parse_address(spender)))
    assert decode_uint256(answer) == 1_234
    assert (await client.permit_async(spender, 1, deadline)).permit.nonce == nonce + 1
    with pytest.raises(TransactionError, match="invalid signature"):
        await provider.bob.submit_transaction_async(request)


async def test_a_token_without_permit_is_an_error(taker: Clients) -> None:
    deadline = (await taker.bob.legs.read_clock()).chain_time + 3_600
    with pytest.raises(TransactionError) as refused:
        await taker.bob.permit_async(RECIPIENT, 1, deadline)
    assert refused.value.code == "no_permit"
