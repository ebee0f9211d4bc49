"""Several workers send with one key: the journal gives each nonce to one transaction, and every one is mined."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from eth_typing import Address

from journal.test_journal import a_record
from layer2.errors import NodeRefused, NodeUnreachable, NonceTaken, Outcome, TransactionError, WrongNetwork
from layer2.formats.evm_address import to_checksum
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, Verb
from layer2.local.accounts import START_WEI
from layer2.model.money import ETH
from layer2.model.transactions import EvmTxId, Preimage, TxState
from layer2.ports.journal import Delivery, Intent, Json, SwapRecord
from layer2.ports.nonces import NonceUse
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.sending import repair
from layer2.signers.software import SoftwareEvmSigner
from networks.waiting import until
from postgres_server import Server, server
from protocols.evm.bob_network import BobNetwork

__all__ = ["server"]

SOMEBODY = to_checksum(b"\x05" * 20)


class Worker:
    """One process with the taker's key: its client, and its own connection to the common journal."""

    def __init__(self, client: BobClient, journal: SqlJournal) -> None:
        self.client = client
        self.journal = journal

    async def pay(self, amount: int = 1) -> EvmTxId:
        return await self.client.transfer_asset_async(ETH, amount, SOMEBODY)

    async def journal_lock(self, htlc: Htlc, number: int) -> tuple[SwapRecord, Json]:
        """Prepare and journal a lock as the engine does; prepare it again if its nonce was taken meanwhile."""
        record = await self.journal.create(a_record(number, payment_hash=htlc.payment_hash))
        while True:
            act = await self.client.legs.prepare(Verb.FUND, htlc)
            try:
                advanced = await self.journal.advance(
                    record,
                    state={"state": "funding"},
                    is_final=False,
                    event="fund",
                    now=20,
                    intents=[Intent(1, "fund", "source", act)],
                    nonces=self.client.legs.nonces(act, is_journaled=False),
                )
            except NonceTaken:
                self.client.legs.discard(act)
            else:
                return advanced, act

    async def perform(self, record: SwapRecord, act: Json) -> None:
        """Perform a journaled act as the engine does."""
        nonces = self.client.legs.nonces(act, is_journaled=True)
        [intent] = await self.journal.intents(record.swap_id)
        await self.journal.begin_delivery(record, intent, "one", nonces=nonces)
        await self.client.legs.perform(act)

    async def lock(self, htlc: Htlc, number: int) -> Json:
        record, act = await self.journal_lock(htlc, number)
        await self.perform(record, act)
        return act

    async def die(self) -> None:
        await self.client.aclose()
        await self.journal.aclose()


class Workers:
    """Workers on one node and one journal."""

    def __init__(self, bob: BobNetwork, place: str) -> None:
        self.bob = bob
        self.place = place
        self.journals: list[SqlJournal] = []

    async def start(self) -> Worker:
        journal = await SqlJournal.open(self.place)
        self.journals.append(journal)
        signer = SoftwareEvmSigner(self.bob.accounts["taker"].key.secret)
        # A slow machine needs long for hundreds of sends at once.
        settings = self.bob.settings(default_timeout_ms=120_000)
        client = BobClient(settings, signer, journal, self.bob.clock, journal)
        self.bob.clients.append(client)
        await client.initialize_async()
        return Worker(client, journal)

    def mined(self) -> int:
        """The taker's nonces that are in blocks."""
        chain = self.bob.node.chain
        return chain.state_at(chain.head).get_nonce(Address(self.bob.address("taker")))

    def received(self) -> int:
        chain = self.bob.node.chain
        return chain.state_at(chain.head).get_balance(Address(b"\x05" * 20))

    async def all_mined(self, count: int) -> None:
        async def are_mined() -> bool:
            return self.mined() >= count

        await until(are_mined, f"{count} nonces are mined", seconds=60)
        assert self.mined() == count


@pytest_asyncio.fixture(params=["sqlite", "postgres"])
async def workers(request: pytest.FixtureRequest, bob: BobNetwork, tmp_path: Path) -> AsyncIterator[Workers]:
    place = str(tmp_path / "journal.db")
    if request.param == "postgres":
        server: Server = request.getfixturevalue("server")
        place = await server.journal()
    made = Workers(bob, place)
    yield made
    for client in bob.clients:
        await client.aclose()
    for journal in made.journals:
        await journal.aclose()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "_PATIENCE", 0.3)
    monkeypatch.setattr(repair, "_BLOCKING_PATIENCE", 0.2)
    monkeypatch.setattr(repair, "_GAP_PATIENCE", 0.05)


async def test_the_sends_of_two_workers_with_one_key_are_all_mined(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    # The same payments: the same nonce would be the same bytes, for two requests.
    paid = await asyncio.gather(*[worker.pay() for _ in range(200) for worker in (one, two)])
    assert len(set(paid)) == 400
    await workers.all_mined(400)
    assert workers.received() == 400


async def test_sends_and_acts_of_swaps_of_two_workers_are_all_mined(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    htlcs = [workers.bob.htlc(Preimage(bytes([number]) * 32)) for number in range(40)]
    locks = [(one, two)[number % 2].lock(htlc, number) for number, htlc in enumerate(htlcs)]
    sends = [worker.pay() for _ in range(40) for worker in (one, two)]
    acts, paid = await asyncio.gather(asyncio.gather(*locks), asyncio.gather(*sends))
    assert len(set(paid)) == 80

    async def are_done() -> bool:
        statuses = await asyncio.gather(*[one.client.legs.act_status(act) for act in acts])
        return all(status is ActStatus.DONE for status in statuses)

    await until(are_done, "all locks are in blocks", seconds=60)
    assert workers.received() == 80


async def test_a_worker_continues_where_the_other_one_is_without_a_failed_try(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    for _ in range(3):
        await one.pay()
        await two.pay()
    await workers.all_mined(6)


@pytest.mark.usefixtures("impatient")
async def test_a_send_whose_worker_died_after_journaling_it_is_sent_by_another_worker(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    workers.bob.maker.set_enabled(False)

    async def never(_: object) -> None:
        await asyncio.Event().wait()

    one.client._account._sender._node.send = never  # type: ignore[method-assign, assignment]  # the injected fault
    dying = asyncio.ensure_future(one.pay(7))
    journaled = await SqlJournal.open(workers.place)
    workers.journals.append(journaled)

    async def is_journaled() -> bool:
        return bool((await journaled.nonces("BOB", "0x" + workers.bob.address("taker").hex())).uses)

    await until(is_journaled, "the send is journaled", seconds=10)
    await one.die()
    await asyncio.gather(dying, return_exceptions=True)
    workers.bob.maker.set_enabled(True)
    later = await two.pay(100)
    await workers.all_mined(2)
    assert (await two.client.get_transaction_status_async(later)).state is TxState.INCLUDED
    assert workers.received() == 107


@pytest.mark.usefixtures("impatient")
async def test_the_nonce_of_a_refused_transaction_is_used_although_its_release_was_cancelled(workers: Workers) -> None:
    one = await workers.start()
    # The next lock needs no approval.
    await one.lock(workers.bob.htlc(Preimage(b"\x03" * 32)), 3)
    record, act = await one.journal_lock(workers.bob.htlc(Preimage(b"\x01" * 32)), 1)
    node, begun = one.client._account._sender._node, asyncio.Event()
    send, release = node.send, one.journal.release_nonce

    async def slow(_: NonceUse) -> bool:
        begun.set()
        await asyncio.Event().wait()
        return False

    node.send, one.journal.release_nonce = refuse, slow  # type: ignore[method-assign, assignment]  # the faults
    performing = asyncio.ensure_future(one.perform(record, act))
    await begun.wait()
    performing.cancel()
    await asyncio.gather(performing, return_exceptions=True)
    node.send, one.journal.release_nonce = send, release  # type: ignore[method-assign]  # the end of the faults
    await one.pay()

    async def is_mined() -> bool:
        return workers.mined() == 3

    await until(is_mined, "the later transaction is mined", seconds=10)


@pytest.mark.usefixtures("impatient")
async def test_a_send_of_a_dead_worker_that_the_account_cannot_pay_any_more_holds_nothing_up(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    most = START_WEI * 6 // 10

    async def never(_: object) -> None:
        await asyncio.Event().wait()

    one.client._account._sender._node.send = never  # type: ignore[method-assign, assignment]  # the injected fault
    dying = asyncio.ensure_future(one.pay(most))

    async def is_journaled() -> bool:
        return bool((await two.journal.nonces("BOB", "0x" + workers.bob.address("taker").hex())).uses)

    await until(is_journaled, "the send is journaled", seconds=10)
    await one.die()
    await asyncio.gather(dying, return_exceptions=True)
    # Each worker counts the balance for itself, so this one pays with the same money.
    await two.client._account._journaled.catch_up(0.0)
    await two.pay(most)
    await workers.all_mined(2)
    assert workers.received() == most


@pytest.mark.usefixtures("impatient")
async def test_an_act_whose_worker_died_before_it_was_marked_as_leaving_loses_its_nonce_and_is_never_sent(
    workers: Workers,
) -> None:
    one, two = await workers.start(), await workers.start()
    record, act = await one.journal_lock(workers.bob.htlc(Preimage(b"\x01" * 32)), 1)
    await one.die()
    await two.pay()
    # The approval and the lock of the act had the two nonces before.
    await workers.all_mined(3)
    nonces = two.client.legs.nonces(act, is_journaled=True)
    [intent] = await two.journal.intents(record.swap_id)
    with pytest.raises(NonceTaken):
        await two.journal.begin_delivery(record, intent, "two", nonces=nonces)
    assert await two.client.legs.act_status(act) is not ActStatus.DONE
    assert [each.delivery for each in await two.journal.intents(record.swap_id)] == [Delivery.INTENDED]


@pytest.mark.usefixtures("impatient")
async def test_an_act_that_another_worker_performs_in_time_keeps_its_nonce(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "_PATIENCE", 30.0)
    one, two, three = [await workers.start() for _ in range(3)]
    record, act = await one.journal_lock(workers.bob.htlc(Preimage(b"\x01" * 32)), 1)
    await one.die()
    await two.pay()
    await three.perform(record, act)
    await workers.all_mined(3)
    assert await two.client.legs.act_status(act) is ActStatus.DONE


@pytest.mark.usefixtures("impatient")
async def test_a_lock_that_a_worker_gave_up_and_another_one_sends_has_not_failed(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    # It needs no approval any more.
    await one.lock(workers.bob.htlc(Preimage(b"\x03" * 32)), 3)
    record, act = await one.journal_lock(workers.bob.htlc(Preimage(b"\x01" * 32)), 1)
    node = two.client._account._sender._node
    send, leaves, arrives = node.send, asyncio.Event(), asyncio.Event()

    async def slow(raw: bytes) -> bytes:
        leaves.set()
        await arrives.wait()
        return await send(raw)

    node.send = slow  # type: ignore[method-assign]  # the injected fault
    performing = asyncio.ensure_future(two.perform(record, act))
    await leaves.wait()
    ledger = one.client._account._ledger

    async def is_given_up() -> bool:
        return not ledger.unsent

    await until(is_given_up, "the first worker has given the act up", seconds=10)
    # Its nonces are another act's for a moment, until the journal refuses that one.
    other = await one.client.legs.prepare(Verb.FUND, workers.bob.htlc(Preimage(b"\x02" * 32)))
    statuses = [await one.client.legs.act_status(act)]
    one.client.legs.discard(other)
    statuses.append(await one.client.legs.act_status(act))
    arrives.set()
    await performing
    assert statuses == [ActStatus.UNSEEN] * 2
    assert await one.client.legs.act_status(act) is ActStatus.DONE


@pytest.mark.usefixtures("impatient")
async def test_a_lock_that_was_given_up_and_has_its_nonce_again_in_the_journal_is_sent(workers: Workers) -> None:
    one = await workers.start()
    record, act = await one.journal_lock(workers.bob.htlc(Preimage(b"\x01" * 32)), 1)
    one.client.legs.discard(act)
    await one.client._account.prepare()
    await one.perform(record, act)
    assert await one.client.legs.act_status(act) is ActStatus.DONE


@pytest.mark.usefixtures("impatient")
async def test_an_act_whose_attempt_was_certainly_not_sent_is_sent_by_no_other_worker(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    record, act = await one.journal_lock(workers.bob.htlc(Preimage(b"\x01" * 32)), 1)
    claims = one.client.legs.nonces(act, is_journaled=True)
    [intent] = await one.journal.intents(record.swap_id)
    await one.journal.begin_delivery(record, intent, "one", nonces=claims)
    # It finds an act that may have been sent, and would send it in a moment.
    await two.client._account._journaled.catch_up(0.0)
    # The first worker had no connection.
    unsent = await one.journal.record_delivery(record, 1, Delivery.UNSENT, nonces=claims[-1:])
    assert unsent is Delivery.UNSENT
    await one.die()
    await two.pay()
    # The approval is harmless. A transfer of nothing has the lock's nonce.
    await workers.all_mined(3)
    assert await two.client.legs.act_status(act) is not ActStatus.DONE


async def test_an_act_that_a_worker_repeats_for_another_one_counts_as_sent_if_its_node_is_down(
    workers: Workers,
) -> None:
    one, two = await workers.start(), await workers.start()
    record, act = await one.journal_lock(workers.bob.htlc(Preimage(b"\x01" * 32)), 1)
    [intent] = await one.journal.intents(record.swap_id)
    await one.journal.begin_delivery(record, intent, "one", nonces=one.client.legs.nonces(act, is_journaled=True))
    await two.client._account._journaled.catch_up(0.0)

    async def unreachable(_: bytes) -> bytes:
        raise NodeUnreachable("the node is down", outcome=Outcome.NOT_SENT)

    two.client._account._sender._node.send = unreachable  # type: ignore[method-assign, assignment]  # the injected fault
    with pytest.raises(NodeUnreachable) as down:
        await two.client.legs.perform(act)
    # Its repair sends the act again.
    assert down.value.outcome is Outcome.UNKNOWN


async def test_an_act_whose_worker_died_before_it_was_journaled_holds_nothing_up(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    await one.client.legs.prepare(Verb.FUND, workers.bob.htlc(Preimage(b"\x01" * 32)))
    await one.die()
    await asyncio.gather(*[two.pay() for _ in range(5)])
    await workers.all_mined(5)


async def test_a_node_that_serves_another_chain_makes_no_nonce_final(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await workers.start(), await workers.start()
    await one.pay()
    with monkeypatch.context() as patched:
        node = one.client._account._sender._node
        ask = node.ask

        async def elsewhere(method: str, *given: Any, **more: Any) -> Any:
            return 1 if method == "eth_chainId" else await ask(method, *given, **more)

        async def high(*_: object) -> int:
            return 1_000

        patched.setattr(node, "ask", elsewhere)
        patched.setattr(node, "transaction_count", high)
        with pytest.raises(WrongNetwork):
            await one.client._account._repair._resend_lost()
    await two.pay()
    await workers.all_mined(2)


async def refuse(_: bytes) -> bytes:
    raise NodeRefused("refused", node_message="transaction underpriced")


@pytest.mark.usefixtures("impatient")
async def test_the_nonce_of_a_refused_transaction_is_used_by_another_worker_and_the_refused_one_is_not_sent(
    workers: Workers,
) -> None:
    one, two = await workers.start(), await workers.start()
    node = one.client._account._sender._node
    send = node.send
    node.send = refuse  # type: ignore[method-assign, assignment]  # the injected fault
    with pytest.raises(TransactionError) as refused:
        await one.client.transfer_asset_async(ETH, 7, SOMEBODY, idempotency_key="rent")
    assert refused.value.outcome is Outcome.REJECTED
    node.send = send  # type: ignore[method-assign]  # the end of the fault
    await asyncio.gather(*[two.pay() for _ in range(3)])
    await workers.all_mined(3)
    # Its key does not send it either: another transaction has its nonce.
    with pytest.raises(TransactionError) as used:
        await one.client.transfer_asset_async(ETH, 7, SOMEBODY, idempotency_key="rent")
    assert used.value.code == "nonce_used"
    assert workers.received() == 3
    await one.pay()
    await workers.all_mined(4)
