"""A claim or refund with too low a price is replaced at a higher price, in the engine alone and on real nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2 import BTC, BobClient, TransferState
from layer2.formats.evm_hex import parse_data
from layer2.formats.evm_transaction import decode_signed
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.local.network import LocalNetworkControl
from layer2.ports.journal import Json
from layer2.protocols.evm.fees.quotes import FeeQuote, Fees
from networks.legs import AMOUNT, new_leg
from networks.parties import Clients
from networks.swaps import AMOUNT as SWAPPED
from networks.swaps import DIRECTIONS, Swaps, completed


class LowPrices:
    """The first few urgent prices are half the base fee, as if the base fee had risen after the offer."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.real = Fees.urgent_quote

    async def __call__(self, fees: Fees) -> FeeQuote:
        quote = await self.real(fees)
        if self.left == 0:
            return quote
        self.left -= 1
        return replace(quote, max_fee_per_gas=quote.base_fee // 2, max_priority_fee_per_gas=1_000)


def use(low: LowPrices, monkeypatch: pytest.MonkeyPatch) -> None:
    async def urgent_quote(fees: Fees) -> FeeQuote:
        return await low(fees)

    monkeypatch.setattr(Fees, "urgent_quote", urgent_quote)


def nonce_of(act: Json) -> int:
    return decode_signed(parse_data(act["transactions"][-1], "transaction")).transaction.nonce


@pytest.mark.parametrize("verb", [Verb.COLLECT, Verb.RELEASE])
async def test_an_act_below_the_base_fee_is_replaced_and_takes_effect_once(
    control: LocalNetworkControl,
    taker: Clients,
    provider: Clients,
    monkeypatch: pytest.MonkeyPatch,
    verb: Verb,
) -> None:
    leg = await new_leg("bob", control, taker, provider, lasting=20_000)
    await leg.fund()
    await leg.until_seen(Side.PAYEE, state=LegState.FUNDED)
    payee = provider.bob
    assert isinstance(payee, BobClient)
    before = await leg.owned(Side.PAYEE)
    use(LowPrices(1), monkeypatch)
    act = await payee.legs.prepare(verb, leg.htlc, leg.preimage if verb is Verb.COLLECT else None)
    await payee.legs.perform(act)
    await control.mine(3)
    assert await payee.legs.act_status(act) is ActStatus.UNDER_WAY

    again = await payee.legs.repriced(act, leg.htlc)
    assert again is not None
    assert nonce_of(again) == nonce_of(act)
    await payee.legs.perform(again)
    await payee.legs.perform(again)
    ended = LegState.COLLECTED if verb is Verb.COLLECT else LegState.RETURNED
    await leg.until_seen(Side.PAYEE, state=ended)
    assert await payee.legs.act_status(again) is ActStatus.DONE
    assert await leg.owned(Side.PAYEE) == before + (AMOUNT if verb is Verb.COLLECT else 0)


async def test_a_transfer_ends_well_though_the_base_fee_passed_its_claim(
    swaps: Swaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = DIRECTIONS["lightning_to_bob"]
    before = await swaps.money()
    # This process is only the taker, so the provider's prices are unchanged.
    low = LowPrices(100)
    use(low, monkeypatch)
    async with swaps.manager() as layers:
        quote = await layers.quote_transfer_async(BTC, SWAPPED, source, destination)
        transfer_id = (await layers.start_transfer_async(quote)).transfer_id
        async for event in layers.transfer_events(transfer_id):
            if event.transfer.state is TransferState.COLLECTING:
                break
        low.left = 0
        proof = await layers.wait_for_transfer_async(transfer_id, timeout=60)
        assert await layers.verify_cross_layer_proof_async(proof)
    await swaps.until_moved(before, completed("lightning_to_bob"))
