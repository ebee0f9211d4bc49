"""Payer, payee and their nodes are killed during payments: each payment is made once, and none is reported as failed.

On devnet the nodes are real lnd, killed by SIGKILL and restarted with their data.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from layer2 import BTC, LightningNetwork, TransferState, TxState
from layer2.errors import AuthenticationFailed, NodeRefused, NodeUnreachable, Outcome, TransactionError
from layer2.legs.lightning import LightningLeg
from layer2.legs.views import LegState, Side, Verb
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.model.transactions import LightningPaymentId
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning.payments.payments import Payments
from memory_sends import MemorySends
from networks.conftest import running
from networks.forwarder import forwarding
from networks.legs import AMOUNT, FundedLeg, new_leg
from networks.mining import BitcoinMiner
from networks.onlooker import Onlooker
from networks.parties import Clients, ProviderProcess, lightning_settings
from networks.payer import Moment, PayerProcess, Said
from networks.swaps import Swaps, completed, until_state
from networks.waiting import until

SECONDS = 60
PARTIES: tuple[Literal["taker"], Literal["provider"]] = ("taker", "provider")


@pytest.fixture(scope="module")
def network(network_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network for these tests only, because they stop its nodes."""
    with running(network_name, tmp_path_factory.mktemp(f"restarts-{network_name}")) as network:
        yield network


@pytest.fixture(autouse=True)
async def both_run_in_the_end(control: LocalNetworkControl) -> AsyncIterator[None]:
    yield
    for party in PARTIES:
        with suppress(NodeRefused):
            await control.start_lightning(party)


@dataclass
class Held:
    """A hold invoice of the provider, which the taker pays."""

    leg: FundedLeg
    taker: LightningNetwork
    provider: LightningNetwork
    owned_before: list[int]

    @property
    def invoice(self) -> str:
        leg = self.leg.htlc.leg
        assert isinstance(leg, LightningLeg)
        return leg.invoice

    @property
    def tx_id(self) -> LightningPaymentId:
        return LightningPaymentId(self.leg.htlc.payment_hash.hex())

    async def until_accepted(self) -> None:
        await self.leg.until_seen(Side.PAYEE, state=LegState.FUNDED)

    async def until_paid_once(self) -> None:
        """Wait until both nodes show the payment, and check that it was made once."""
        payer, payee = self.owned_before
        await self.leg.until_owned([payer - AMOUNT, payee + AMOUNT])


@pytest.fixture
async def held(control: LocalNetworkControl, taker: Clients, provider: Clients) -> Held:
    """Accepted, and not paid yet."""
    leg = await new_leg("lightning", control, taker, provider)
    return Held(leg, taker.lightning, provider.lightning, [await leg.owned(side) for side in Side])


async def owned(client: LightningNetwork) -> int:
    balance = (await client.balances_async())[BTC]
    return balance.spendable + balance.reserved


@pytest.fixture
async def payer(network: LocalNetwork, tmp_path: Path) -> AsyncIterator[PayerProcess]:
    payer = PayerProcess(network.taker, tmp_path / "journal.sqlite")
    yield payer
    await payer.kill()


@pytest.mark.parametrize("moment", [Moment.BEFORE_THE_SEND, Moment.AFTER_THE_SEND], ids=lambda moment: moment.value)
@pytest.mark.parametrize("how", ["invoice", "keysend"])
async def test_a_payer_that_was_killed_pays_once_when_it_is_started_again(
    network: LocalNetwork, taker: Clients, provider: Clients, payer: PayerProcess, moment: Moment, how: str
) -> None:
    before = [await owned(client.lightning) for client in (taker, provider)]
    if how == "invoice":
        payer.invoice = (await provider.lightning.create_invoice_async(AMOUNT)).text
    else:
        payer.payee, payer.amount_msat = network.provider.lightning.node_key, AMOUNT * 1000
    await payer.start(moment)
    await payer.died()
    said: set[Said] = set()
    for _ in range(2):
        await payer.start()
        await payer.says()
        said.add(await payer.says())
        await payer.ended()
    (end,) = said
    assert (end.state, end.has_preimage) == (TxState.FINAL, True)
    received = await provider.lightning.get_transaction_status_async(LightningPaymentId(end.tx_id))
    assert received.state is TxState.FINAL

    async def has_moved_once() -> bool:
        now = [await owned(client.lightning) for client in (taker, provider)]
        return now == [before[0] - AMOUNT, before[1] + AMOUNT]

    await until(has_moved_once, f"{AMOUNT} sat have moved once")


async def test_a_payer_that_was_killed_while_its_payment_is_held_waits_for_it_when_it_is_started_again(
    held: Held, payer: PayerProcess
) -> None:
    payer.invoice = held.invoice
    await payer.start()
    assert (await payer.says()).state is TxState.PENDING
    await held.until_accepted()
    await payer.kill()
    await payer.start()
    assert (await payer.says()).state is TxState.PENDING
    await held.leg.collect()
    assert await payer.says() == Said(held.tx_id, TxState.FINAL, True)
    await payer.ended()
    await held.until_paid_once()


@pytest.mark.parametrize("when", ["while it is down", "when it is back"])
async def test_a_wait_for_a_payment_continues_while_the_payers_node_is_killed_and_restarted(
    held: Held, control: LocalNetworkControl, when: str
) -> None:
    request = held.invoice
    status = await held.taker.submit_transaction_async(request, idempotency_key=f"held {when}")
    await held.until_accepted()
    waiting = asyncio.create_task(held.taker.wait_for_status_async(status.tx_id, timeout=SECONDS))
    onlooker = Onlooker(held.taker, status.tx_id)
    await control.stop_lightning("taker")
    with pytest.raises(NodeUnreachable):
        await held.taker.get_transaction_status_async(status.tx_id)
    if when == "while it is down":
        await held.leg.collect()
    await control.start_lightning("taker")
    if when == "when it is back":
        assert (await held.taker.get_transaction_status_async(status.tx_id)).state is TxState.PENDING
        assert (await held.taker.submit_transaction_async(request)).state is TxState.PENDING
        await held.leg.collect()
    ended = await waiting
    assert (ended.state, ended.preimage) == (TxState.FINAL, held.leg.preimage)
    await onlooker.stop()
    assert onlooker.states
    assert onlooker.states <= {TxState.PENDING, TxState.FINAL}
    for key in (f"held {when}", None):
        assert await held.taker.submit_transaction_async(request, idempotency_key=key) == ended
    await held.until_paid_once()


async def test_what_is_held_is_still_held_when_the_payees_node_was_killed_and_started_again(
    held: Held, control: LocalNetworkControl
) -> None:
    await held.taker.submit_transaction_async(held.invoice)
    await held.until_accepted()
    before = await held.leg.see(Side.PAYEE)
    await control.stop_lightning("provider")
    assert (await held.taker.get_transaction_status_async(held.tx_id)).state is TxState.PENDING
    await control.start_lightning("provider")
    after = await held.leg.see(Side.PAYEE)
    assert (after.state, after.held) == (LegState.FUNDED, before.held)
    for _ in range(2):
        await held.leg.collect()
    with pytest.raises(TransactionError, match="already settled"):
        await held.leg.act(Side.PAYEE, Verb.RELEASE)
    ended = await held.taker.wait_for_status_async(held.tx_id, timeout=SECONDS)
    assert (ended.state, ended.preimage) == (TxState.FINAL, held.leg.preimage)
    await held.until_paid_once()


async def test_what_was_settled_while_the_payers_node_was_down_stays_settled_when_the_payees_is_killed_too(
    held: Held, control: LocalNetworkControl
) -> None:
    await held.taker.submit_transaction_async(held.invoice)
    await held.until_accepted()
    await control.stop_lightning("taker")
    await held.leg.collect()
    await control.stop_lightning("provider")
    await control.start_lightning("provider")
    await held.leg.collect()
    await control.start_lightning("taker")
    ended = await held.taker.wait_for_status_async(held.tx_id, timeout=SECONDS)
    assert (ended.state, ended.preimage) == (TxState.FINAL, held.leg.preimage)
    await held.until_paid_once()


async def test_a_payment_whose_answer_is_lost_because_the_node_is_killed_is_unknown_and_then_joined(
    network: LocalNetwork, held: Held, control: LocalNetworkControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sends = MemorySends()
    async with forwarding(network.taker.lightning.rest_url) as forwarder:
        settings = lightning_settings(network.taker, rest_url=forwarder.url)
        async with LightningNetwork(settings, sends, SystemClock()) as taker:
            await taker.initialize_async()
            send = Payments.send

            async def unanswered_send(self: Payments, *arguments: Any) -> Any:
                forwarder.withhold()
                return await send(self, *arguments)

            monkeypatch.setattr(Payments, "send", unanswered_send)
            sending = asyncio.create_task(taker.submit_transaction_async(held.invoice, idempotency_key="lost"))
            await held.until_accepted()
            await control.stop_lightning("taker")
            with pytest.raises(NodeUnreachable) as lost:
                await sending
            assert (lost.value.outcome, lost.value.tx_id) == (Outcome.UNKNOWN, held.tx_id)
            monkeypatch.setattr(Payments, "send", send)
            forwarder.pass_on()
            await control.start_lightning("taker")
            for key in ("lost", None):
                joined = await taker.submit_transaction_async(held.invoice, idempotency_key=key)
                assert joined.state is TxState.PENDING
            await held.leg.collect()
            ended = await taker.wait_for_status_async(held.tx_id, timeout=SECONDS)
            assert (ended.state, ended.preimage) == (TxState.FINAL, held.leg.preimage)
    await held.until_paid_once()


@pytest.mark.only_on("devnet", reason="a simulated node never has a half-written payment on the disk")
@pytest.mark.parametrize("attempt", range(3))
async def test_a_node_that_is_killed_as_soon_as_it_has_taken_a_payment_still_knows_it_and_makes_it_once_or_not_at_all(
    held: Held, control: LocalNetworkControl, attempt: int
) -> None:
    key = f"at once {attempt}"
    await held.taker.submit_transaction_async(held.invoice, idempotency_key=key)
    await control.stop_lightning("taker")
    await control.start_lightning("taker")
    status = await held.taker.get_transaction_status_async(held.tx_id)
    assert await held.taker.submit_transaction_async(held.invoice, idempotency_key=key) == status
    channels = await held.taker._parts.node.channels()
    is_carried = any(held.leg.htlc.payment_hash in channel.hashes for channel in channels)
    # If lnd is killed after recording the payment and before sending its HTLC, it may report IN_FLIGHT forever.
    # A missing HTLC does not mean that it failed; only the node's FAILED status does.
    assert status.state is TxState.PENDING or (status.state is TxState.FAILED and not is_carried)
    if is_carried:
        await held.until_accepted()
        await held.leg.collect()
        assert (await held.taker.wait_for_status_async(held.tx_id, timeout=SECONDS)).state is TxState.FINAL
        await held.until_paid_once()
    else:
        assert (await held.leg.see(Side.PAYEE)).state is LegState.NONE
        assert [await held.leg.owned(side) for side in Side] == held.owned_before


async def test_a_node_that_returns_with_another_certificate_is_trusted_when_that_was_copied(
    network: LocalNetwork, control: LocalNetworkControl, tmp_path: Path
) -> None:
    copy = tmp_path / "tls.cert"
    shutil.copy(network.taker.lightning.certificate_file, copy)
    settings = lightning_settings(network.taker, certificate_file=str(copy))
    async with LightningNetwork(settings, MemorySends(), SystemClock()) as taker:
        await taker.initialize_async()
        await control.stop_lightning("taker")
        await control.start_lightning("taker", new_certificate=True)
        for _ in range(2):
            with pytest.raises(AuthenticationFailed, match="certificate") as refused:
                await taker.balances_async()
            assert "copy its tls.cert" in str(refused.value.remedy)
        shutil.copy(network.taker.lightning.certificate_file, copy)
        await taker.balances_async()
        await taker.initialize_async()


async def test_a_client_that_reads_the_nodes_own_certificate_continues_after_it_changed(
    network: LocalNetwork, control: LocalNetworkControl, taker: Clients
) -> None:
    await control.stop_lightning("taker")
    await control.start_lightning("taker", new_certificate=True)

    async def answers() -> bool:
        try:
            await taker.lightning.balances_async()
        except AuthenticationFailed:
            return False
        return True

    await until(answers, "the client has read the certificate again", seconds=5)


async def test_a_payment_is_not_sent_while_the_payees_node_is_down_and_can_be_sent_again_when_it_is_back(
    taker: Clients, provider: Clients, control: LocalNetworkControl
) -> None:
    invoice = await provider.lightning.create_invoice_async(AMOUNT)
    await control.stop_lightning("provider")
    balance = (await taker.lightning.balances_async())[BTC]
    assert (balance.spendable, balance.receivable) == (0, 0)
    with pytest.raises(TransactionError) as refused:
        await taker.lightning.transfer_asset_async(BTC, AMOUNT, invoice.text)
    assert refused.value.outcome in (Outcome.NOT_SENT, Outcome.REJECTED)
    await control.start_lightning("provider")
    tx_id = await taker.lightning.transfer_asset_async(BTC, AMOUNT, invoice.text)
    assert (await taker.lightning.wait_for_status_async(tx_id, timeout=SECONDS)).state is TxState.FINAL


@pytest.fixture
async def swaps(network: LocalNetwork, control: LocalNetworkControl, tmp_path: Path) -> AsyncIterator[Swaps]:
    """A taker with a new journal, and its own provider."""
    process = ProviderProcess(network, tmp_path / "provider")
    process.start()
    yield Swaps(network, control, process, tmp_path, BitcoinMiner(control))
    process.kill()


@pytest.mark.parametrize("direction", ["bob_to_lightning", "lightning_to_bob"])
async def test_a_swap_completes_though_both_nodes_are_killed_in_the_middle_of_it(
    swaps: Swaps, taker: Clients, direction: str
) -> None:
    before = await swaps.money()
    async with swaps.manager() as layers:
        # The lock on BOB waits for a block, and so does the swap.
        await swaps.control.set_automatic(False)
        transfer_id = await swaps.begin(layers, direction)
        if direction == "lightning_to_bob":

            async def is_carried() -> bool:
                return any(channel.hashes for channel in await taker.lightning._parts.node.channels())

            await until(is_carried, "the taker's payment is held")
        else:
            await until_state(layers, transfer_id, TransferState.FUNDING)
        for party in PARTIES:
            await swaps.control.stop_lightning(party)
        await swaps.control.set_automatic(True)
        await swaps.control.mine(6)
        for party in PARTIES:
            await swaps.control.start_lightning(party)
        async with swaps.quick_finality():
            proof = await layers.wait_for_transfer_async(transfer_id, timeout=SECONDS)
            assert await layers.verify_cross_layer_proof_async(proof)
            await swaps.until_provider_has(transfer_id, "completed")
    await swaps.until_moved(before, completed(direction))
