"""Lightning nodes, simulated and real: messages, holds, and the limits of sending and receiving."""

from __future__ import annotations

import logging
import os
from base64 import b64encode
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from layer2.errors import IdempotencyConflict, InsufficientFunds, Outcome, ProofRefused, TransactionError
from layer2.formats.signed_message import signer_of, verify_message
from layer2.local.network import LocalNetwork, LocalNetworkControl, Party
from layer2.model.money import BTC
from layer2.model.transactions import LightningPaymentId, Preimage, TxState
from layer2.protocols.lightning import Hold, LightningNetwork, PaymentRequest
from layer2.protocols.lightning.lnd.rest import LndRest
from networks.parties import Clients, lightning_settings
from networks.waiting import until

AMOUNT = 12_345


async def verified_by(party: Party, message: bytes, signature: str) -> tuple[bool, str]:
    """A node's verdict on a signature, and the signer's key, with the admin macaroon."""
    admin = Path(party.lightning.macaroon_file).with_name("admin.macaroon")
    async with aclosing(LndRest(lightning_settings(party, macaroon_file=str(admin)))) as rest:
        body = {"msg": b64encode(message).decode(), "signature": signature}
        fields = (await rest.post("/v1/verifymessage", body)).fields
        return fields.flag("valid"), fields.text("pubkey")


def drawn() -> Preimage:
    return Preimage(os.urandom(32))


async def held(payer: LightningNetwork, payee: LightningNetwork, preimage: Preimage, **invoice: Any) -> Hold:
    """Pay a hold invoice, and wait until the payee holds the money."""
    made = await payee.create_hold_invoice_async(preimage.payment_hash, AMOUNT, **invoice)
    await payer.submit_transaction_async(made.text)

    async def is_held() -> bool:
        return preimage.payment_hash in {hold.payment_hash for hold in await payee.holds_async()}

    await until(is_held, "the payment is held")
    (hold,) = [hold for hold in await payee.holds_async() if hold.payment_hash == preimage.payment_hash]
    return hold


def id_of(preimage: Preimage) -> LightningPaymentId:
    return LightningPaymentId(preimage.payment_hash.hex())


# Messages


@pytest.mark.parametrize("message", ["an order, nº 7", b"\x00\xff", "x" * 5_000], ids=["text", "bytes", "long"])
async def test_a_message_is_signed_as_the_other_node_verifies_it(
    network: LocalNetwork, taker: Clients, message: str | bytes
) -> None:
    signature = await taker.lightning.sign_message_async(message)

    verify_message(message, signature, await taker.lightning.receive_address_async())
    with pytest.raises(ProofRefused):
        verify_message(message, signature, network.provider.lightning.node_key)
    data = message.encode() if isinstance(message, str) else message
    oracle = await verified_by(network.provider, data, signature)
    assert oracle == (True, network.taker.lightning.node_key)


async def test_of_any_signature_the_node_and_this_package_name_the_same_signer(
    network: LocalNetwork, taker: Clients
) -> None:
    signature = await taker.lightning.sign_message_async("one message")
    for message in ("one message", "another message"):
        _, signer = await verified_by(network.taker, message.encode(), signature)
        assert signer == signer_of(message, signature).hex()


# Holds


async def test_what_is_held_is_listed_with_its_parts_and_the_blocks_that_are_left(
    taker: Clients, provider: Clients, network: LocalNetwork
) -> None:
    preimage = drawn()
    hold = await held(taker.lightning, provider.lightning, preimage, final_cltv_delta=80)

    height = (await provider.lightning.legs.read_clock()).height
    (part,) = hold.parts
    assert (hold.amount_msat, part.amount_msat) == (AMOUNT * 1000, AMOUNT * 1000)
    assert hold.expiry_height == part.expiry_height
    assert 80 <= part.expiry_height - height <= 80 + 3
    # By default both lnd and the simulated node cancel a held invoice 18 blocks before the HTLC's expiry.
    assert hold.given_up_height == part.expiry_height - 18
    assert hold.blocks_left == hold.given_up_height - height
    assert not hold.is_near_expiry
    status = await provider.lightning.get_transaction_status_async(id_of(preimage))
    assert (status.state, status.parts, status.expiry_height) == (TxState.PENDING, 1, hold.expiry_height)

    await provider.lightning.settle_invoice_async(preimage)
    assert (await taker.lightning.wait_for_status_async(id_of(preimage), timeout=20)).preimage == preimage
    assert preimage.payment_hash not in {hold.payment_hash for hold in await provider.lightning.holds_async()}


async def test_settling_and_cancelling_can_be_repeated_and_neither_undoes_the_other(
    taker: Clients, provider: Clients
) -> None:
    settled, cancelled = drawn(), drawn()
    for preimage in (settled, cancelled):
        await held(taker.lightning, provider.lightning, preimage)
    for _ in range(2):
        await provider.lightning.settle_invoice_async(settled)
        await provider.lightning.cancel_invoice_async(cancelled.payment_hash)
    for contrary in (
        provider.lightning.cancel_invoice_async(settled.payment_hash),
        provider.lightning.settle_invoice_async(cancelled),
    ):
        with pytest.raises(TransactionError) as caught:
            await contrary
        assert caught.value.outcome is Outcome.REJECTED
    states = [
        (await provider.lightning.get_transaction_status_async(id_of(each))).state for each in (settled, cancelled)
    ]
    assert states == [TxState.FINAL, TxState.FAILED]
    ended = [
        (await taker.lightning.wait_for_status_async(id_of(each), timeout=20)).state for each in (settled, cancelled)
    ]
    assert ended == [TxState.FINAL, TxState.FAILED]


async def test_an_unpaid_invoice_can_be_cancelled_and_not_settled(provider: Clients) -> None:
    preimage = drawn()
    await provider.lightning.create_hold_invoice_async(preimage.payment_hash, AMOUNT)
    with pytest.raises(TransactionError) as caught:
        await provider.lightning.settle_invoice_async(preimage)
    assert caught.value.outcome is Outcome.REJECTED
    await provider.lightning.cancel_invoice_async(preimage.payment_hash)
    assert (await provider.lightning.get_transaction_status_async(id_of(preimage))).state is TxState.FAILED


async def test_an_invoice_that_is_not_there_can_be_neither_settled_nor_cancelled(provider: Clients) -> None:
    preimage = drawn()
    for act in (
        provider.lightning.settle_invoice_async(preimage),
        provider.lightning.cancel_invoice_async(preimage.payment_hash),
    ):
        with pytest.raises(TransactionError) as caught:
            await act
        assert (caught.value.outcome, caught.value.tx_id) == (Outcome.REJECTED, id_of(preimage))


async def test_a_hold_that_is_near_its_expiry_is_reported_and_then_returns_and_is_never_settled(
    taker: Clients, provider: Clients, control: LocalNetworkControl, caplog: pytest.LogCaptureFixture
) -> None:
    preimage = drawn()
    hold = await held(taker.lightning, provider.lightning, preimage, final_cltv_delta=40)

    async def now() -> list[Hold]:
        return [each for each in await provider.lightning.holds_async() if each.payment_hash == preimage.payment_hash]

    caplog.set_level(logging.WARNING, logger="layer2.lightning")
    await control.mine_bitcoin(hold.blocks_left - 18 - 1)
    (far,) = await now()
    assert (far.blocks_left, far.is_near_expiry) == (19, False)
    await control.mine_bitcoin(1)
    (near,) = await now()
    assert (near.blocks_left, near.is_near_expiry) == (18, True)
    await control.mine_bitcoin(17)
    (last,) = await now()
    assert (last.blocks_left, last.is_near_expiry) == (1, True)
    assert [preimage.payment_hash.hex() in record.getMessage() for record in caplog.records] == [True]

    await control.mine_bitcoin(1)

    async def is_gone() -> bool:
        return not await now()

    await until(is_gone, "the node has cancelled the hold")
    with pytest.raises(TransactionError) as caught:
        await provider.lightning.settle_invoice_async(preimage)
    assert caught.value.outcome is Outcome.REJECTED
    payment = await taker.lightning.wait_for_status_async(id_of(preimage), timeout=20)
    assert (payment.state, payment.preimage) == (TxState.FAILED, None)


async def test_a_hold_invoice_that_is_asked_for_again_is_the_same_and_another_under_its_hash_is_refused(
    provider: Clients,
) -> None:
    payment_hash = drawn().payment_hash
    first = await provider.lightning.create_hold_invoice_async(payment_hash, AMOUNT, memo="one")
    again = await provider.lightning.create_hold_invoice_async(payment_hash, AMOUNT, memo="one")
    assert again.text == first.text
    with pytest.raises(IdempotencyConflict) as caught:
        await provider.lightning.create_hold_invoice_async(payment_hash, AMOUNT + 1, memo="one")
    assert caught.value.code == "payment_hash_used"
    await provider.lightning.cancel_invoice_async(payment_hash)
    with pytest.raises(IdempotencyConflict):
        await provider.lightning.create_hold_invoice_async(payment_hash, AMOUNT, memo="one")


async def test_an_invoice_may_leave_the_amount_to_the_payer(taker: Clients, provider: Clients) -> None:
    preimage = drawn()
    plain = await provider.lightning.create_invoice_async(None, memo="what you like")
    to_hold = await provider.lightning.create_hold_invoice_async(preimage.payment_hash, None)
    assert (plain.amount_msat, to_hold.amount_msat) == (None, None)
    for invoice in (plain, to_hold):
        await taker.lightning.submit_transaction_async(PaymentRequest(invoice.text, AMOUNT * 1000))

    async def is_held() -> bool:
        return preimage.payment_hash in {hold.payment_hash for hold in await provider.lightning.holds_async()}

    await until(is_held, "the payment is held")
    (hold,) = [hold for hold in await provider.lightning.holds_async() if hold.payment_hash == preimage.payment_hash]
    assert hold.amount_msat == AMOUNT * 1000
    await provider.lightning.cancel_invoice_async(preimage.payment_hash)


# Liquidity


async def test_what_the_channels_cannot_carry_is_refused_before_anything_is_sent_or_made(
    taker: Clients, provider: Clients
) -> None:
    balance = (await taker.lightning.balances_async())[BTC]
    # Invoices above the payable amount can be created, but they cannot be paid.
    invoice = await provider.lightning.create_invoice_async(balance.spendable + 1)
    with pytest.raises(InsufficientFunds) as caught:
        await taker.lightning.submit_transaction_async(invoice.text)
    assert (caught.value.code, caught.value.outcome) == ("outbound", Outcome.NOT_SENT)
    assert f"{balance.spendable + 1} sat cannot be sent" in caught.value.message
    tx_id = LightningPaymentId(invoice.payment_hash.hex())
    assert (await taker.lightning.get_transaction_status_async(tx_id)).state is TxState.UNKNOWN
