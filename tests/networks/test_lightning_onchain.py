"""Held payments whose channel is force-closed: their status before and after the chain has decided.

In lnd 0.21, the payer's node closes the channel at the HTLC's expiry. The payee's node, if it has the preimage, closes
it 16 blocks before. The closing transaction is final three to six blocks deep, depending on the channel's size; the
HTLC's transaction needs one block more. So a payment can be in flight for some blocks beyond its expiry.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from layer2 import BTC, LightningNetwork, PaymentRequest, Preimage, TxState
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.model.transactions import LightningPaymentId
from networks.conftest import steering
from networks.onlooker import Onlooker
from networks.parties import clients_of
from networks.waiting import until

pytestmark = pytest.mark.only_on("devnet", reason="simnet has no Bitcoin chain on which a channel could be closed")

AMOUNT = 2_000_000
MOST_FEES = 200_000
"""More than the fees of the closing transactions, and far less than AMOUNT."""
FINAL_CLTV_DELTA = 24
BROADCAST_DELTA = 16
"""Blocks before the expiry of a claimable HTLC at which lnd closes the channel."""
REMOTE_DELAY = 144
"""Blocks that a devnet's node must wait for its own balance after it force-closes a channel."""


@dataclass
class HeldPayment:
    """The taker has paid, the provider holds the payment, and both nodes run."""

    network: LocalNetwork
    control: LocalNetworkControl
    taker: LightningNetwork
    provider: LightningNetwork
    preimage: Preimage
    tx_id: LightningPaymentId
    expiry_height: int
    owned_before: dict[str, int]
    """Each party's total, on chain and in the channel, before the payment."""

    async def height(self) -> int:
        height: int = (await self.control.status())["bitcoin"]["height"]
        return height

    async def mine_up_to(self, height: int) -> None:
        """Mine block by block, so that both nodes can act in each."""
        while await self.height() < height:
            await self.control.mine_bitcoin(1)

    async def mine_until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Mine blocks until the condition holds. They include the transactions that nodes publish meanwhile."""

        async def holds_after_a_block() -> bool:
            await self.control.mine_bitcoin(1)
            return await holds()

        await until(holds_after_a_block, what)

    async def has_channel(self, client: LightningNetwork) -> bool:
        return bool(await client._parts.node.channels())

    async def owned(self, party: str) -> int:
        """On-chain balance in satoshi, without channel balances."""
        satoshi: int = (await self.control.status())[party]["bitcoin_sat"]
        return satoshi


@pytest.fixture
async def held(own_network: LocalNetwork) -> AsyncIterator[HeldPayment]:
    preimage = Preimage(os.urandom(32))
    async with (
        steering(own_network) as control,
        clients_of(own_network, own_network.taker) as taker,
        clients_of(own_network, own_network.provider) as provider,
    ):
        status = await control.status()
        owned_before = {
            party: status[party]["bitcoin_sat"] + status[party]["lightning_outbound_sat"]
            for party in ("taker", "provider")
        }
        invoice = await provider.lightning.create_hold_invoice_async(
            preimage.payment_hash, AMOUNT, final_cltv_delta=FINAL_CLTV_DELTA
        )
        sent = await taker.lightning.submit_transaction_async(PaymentRequest(invoice.text))
        expiry_height: list[int] = []

        async def is_held() -> bool:
            found = await provider.lightning.get_transaction_status_async(sent.tx_id)
            expiry_height.extend([] if found.expiry_height is None else [found.expiry_height])
            return bool(expiry_height)

        await until(is_held, "the payment is held")
        yield HeldPayment(
            own_network,
            control,
            taker.lightning,
            provider.lightning,
            preimage,
            sent.tx_id,
            expiry_height[0],
            owned_before,
        )


async def test_a_payment_that_times_out_on_the_chain_is_under_way_until_the_chain_has_decided(
    held: HeldPayment,
) -> None:
    onlooker = Onlooker(held.taker, held.tx_id)
    waiting = asyncio.create_task(held.taker.wait_for_status_async(held.tx_id, timeout=300))
    await held.control.stop_lightning("provider")

    await held.mine_up_to(held.expiry_height - 1)
    assert await held.has_channel(held.taker)
    await held.control.mine_bitcoin(1)

    async def is_closing() -> bool:
        return not await held.has_channel(held.taker)

    # At the expiry the node publishes the channel's last state, which includes the payment.
    await until(is_closing, "the payer's node closes the channel")
    status = await held.taker.get_transaction_status_async(held.tx_id)
    assert (status.state, status.preimage) == (TxState.PENDING, None)
    assert not waiting.done()

    async def is_decided() -> bool:
        return (await held.taker.get_transaction_status_async(held.tx_id)).state is not TxState.PENDING

    await held.mine_until(is_decided, "the payment has been returned on the chain")
    ended = await waiting
    assert (ended.state, ended.preimage) == (TxState.FAILED, None)
    assert ended.reason
    await onlooker.stop()
    assert onlooker.states == {TxState.PENDING, TxState.FAILED}
    # Before this, the money is in an output that only the node can spend, after a delay.
    assert await held.owned("taker") < held.owned_before["taker"] - AMOUNT
    await held.control.mine_bitcoin(REMOTE_DELAY)

    async def is_back() -> bool:
        return await held.owned("taker") >= held.owned_before["taker"] - MOST_FEES

    await held.mine_until(is_back, "the payer has its money back, less fees")
    assert (await held.taker.balances_async())[BTC].reserved == 0


async def test_a_payee_that_settled_while_the_payer_was_away_claims_on_the_chain_and_the_payer_learns_of_it(
    held: HeldPayment,
) -> None:
    await held.control.stop_lightning("taker")
    await held.provider.settle_invoice_async(held.preimage)
    await held.mine_up_to(held.expiry_height - BROADCAST_DELTA - 1)
    assert await held.has_channel(held.provider)
    await held.mine_up_to(held.expiry_height + 1)
    assert not await held.has_channel(held.provider)
    received = await held.provider.get_transaction_status_async(held.tx_id)
    assert (received.state, received.preimage) == (TxState.FINAL, held.preimage)

    await held.control.mine_bitcoin(REMOTE_DELAY)

    async def is_paid() -> bool:
        return await held.owned("provider") >= held.owned_before["provider"] + AMOUNT - MOST_FEES

    await held.mine_until(is_paid, "the payee has its money on the chain, less fees")

    await held.control.start_lightning("taker")
    onlooker = Onlooker(held.taker, held.tx_id)

    async def is_decided() -> bool:
        return (await held.taker.get_transaction_status_async(held.tx_id)).state is not TxState.PENDING

    await held.mine_until(is_decided, "the payer's node has found the preimage on the chain")
    ended = await held.taker.wait_for_status_async(held.tx_id, timeout=60)
    assert (ended.state, ended.preimage) == (TxState.FINAL, held.preimage)
    await onlooker.stop()
    assert onlooker.states <= {TxState.PENDING, TxState.FINAL}
    assert await held.owned("taker") <= held.owned_before["taker"] - AMOUNT
