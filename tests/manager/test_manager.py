"""The manager as a whole: entering, initializing, waiting, leaving, and what each error says of the money."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType
from layer2.assembly import clients
from layer2.config import JournalSection, ProviderSection
from layer2.errors import (
    AsyncRuntimeError,
    AsyncTimeout,
    ConfigurationError,
    InitializationError,
    InvalidRequest,
    JournalBusy,
    JournalError,
    NodeUnreachable,
    Outcome,
    ProofUndecided,
    ProtocolNotConfigured,
    ProtocolNotImplemented,
    TaskCancelled,
    TransferAbandoned,
    TransferLost,
    TransferRefunded,
    UnknownTransfer,
    WrongNetwork,
)
from layer2.journal.sql_journal import SqlJournal
from layer2.local.parties import write_secret
from layer2.manager import wiring
from layer2.manager.records import TransferRecords
from layer2.proofs import ProofPolicy, Requirement
from layer2.swap_rules.states import (
    TakerAbandoned,
    TakerCollecting,
    TakerCompleted,
    TakerFunded,
    TakerLost,
    TakerRefunded,
)
from layer2.terms.transfers import Transfer, TransferState
from layer2.testing.mock_network import IDENTITY_KEY
from manager.fakes import (
    BOB,
    ROOTSTOCK,
    FakeClient,
    FakeClock,
    FakeEngine,
    FakeProvider,
    eventually,
    move,
)
from proofs import made_proofs as made


class Parts:
    """The fakes behind one manager or several on the same journal."""

    def __init__(self, directory: Path) -> None:
        self.clients = {layer: FakeClient(layer) for layer in (BOB, ROOTSTOCK)}
        self.clock = FakeClock()
        self.provider = FakeProvider(self.clock)
        self.engines: list[FakeEngine] = []
        self.journals: list[SqlJournal] = []
        write_secret(directory / "seed")
        section = ProviderSection(name="one", url="https://provider.example", identity_key=IDENTITY_KEY.hex())
        self.config = Layer2Config(
            network="regtest",
            swap_seed_file=directory / "seed",
            journal=JournalSection(path=directory / "journal.sqlite"),
            providers=(section,),
        )

    def manager(self, config: Layer2Config | None = None) -> Layer2Manager:
        return Layer2Manager(config or self.config, clock=self.clock)

    def engine(self, journal: SqlJournal, *_: object, **__: object) -> FakeEngine:
        self.engines.append(FakeEngine(journal))
        self.journals.append(journal)
        return self.engines[-1]

    async def move(self, transfer: Transfer, state: Any, **changes: Any) -> None:
        await move(self.journals[0], transfer.transfer_id, state, **changes)


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    made = Parts(tmp_path)
    monkeypatch.setattr("layer2.assembly.swaps.open_clients", lambda *_: made.clients)
    monkeypatch.setattr(clients, "open_provider", lambda *_: made.provider)
    monkeypatch.setattr(wiring, "SwapRunner", made.engine)
    return made


@pytest.fixture
async def layers(parts: Parts) -> AsyncIterator[Layer2Manager]:
    async with parts.manager() as manager:
        yield manager


async def started(layers: Layer2Manager, key: str | None = None) -> Transfer:
    quote = await layers.quote_transfer_async(BTC, 100_000, BOB, ROOTSTOCK, max_fee=1_000)
    return await layers.start_transfer_async(quote, idempotency_key=key)


COLLECTING = TakerCollecting("0xsource", "0xdestination", has_arrived=False, final_at=None)
ARRIVED = TakerCollecting("0xsource", "0xdestination", has_arrived=True, final_at=1_790_000_099)


# Verifying.


async def test_a_local_node_with_mainnet_s_chain_id_confirms_no_proof_of_mainnet(
    parts: Parts, layers: Layer2Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def confirm_evidence(*_: object, **__: object) -> bool:
        return True

    monkeypatch.setattr(FakeClient, "confirm_evidence", confirm_evidence, raising=False)
    public = made.lightning_leg(made.invoice(prefix="bc"), prefix="bc")
    policy = ProofPolicy(
        Requirement.AS_AGREED,
        providers=frozenset({made.PROVIDER_KEY}),
        networks=frozenset({"mainnet", "regtest"}),
        tokens={60808: {made.TOKEN: 8}},
    )
    assert await layers.verify_cross_layer_proof_async(made.to_lightning(), policy=policy)
    proof = made.to_lightning(made.terms(destination=public, network="mainnet"))
    with pytest.raises(ProofUndecided, match="your nodes are of regtest"):
        await layers.verify_cross_layer_proof_async(proof, policy=policy)
    with pytest.raises(ProofUndecided, match="your nodes are of regtest"):
        await layers.check_transfer_proof_async(proof, policy=policy)


# Initializing.


async def test_open_transfers_continue_although_the_other_layer_is_no_longer_configured(parts: Parts) -> None:
    async with parts.manager() as layers:
        transfer = await started(layers)
        await parts.move(transfer, TakerFunded("0xsource"))
    del parts.clients[ROOTSTOCK]
    async with parts.manager() as layers:
        await layers.initialize_all_async()
        assert parts.engines[-1].driven == [transfer.transfer_id]
        with pytest.raises(ProtocolNotConfigured):
            await started(layers)


async def test_open_transfers_that_nothing_continues_are_an_error_at_the_start(parts: Parts) -> None:
    async with parts.manager() as layers:
        await started(layers)
    async with parts.manager(parts.config.model_copy(update={"swap_seed_file": None})) as layers:
        with pytest.raises(ConfigurationError, match="1 open transfers, and nothing claims or refunds them"):
            await layers.initialize_all_async()


async def test_open_transfers_continue_before_a_layer_that_is_away_is_reported(parts: Parts) -> None:
    async with parts.manager() as layers:
        transfer = await started(layers)
        await parts.move(transfer, TakerFunded("0xsource"))
    parts.clients[ROOTSTOCK].down = NodeUnreachable("connection refused")
    async with parts.manager() as layers:
        with pytest.raises(InitializationError) as failed:
            await layers.initialize_all_async()
        error = failed.value
        assert list(error.failures) == ["ROOTSTOCK"]
        assert parts.engines[-1].driven == [transfer.transfer_id]
        assert [each.transfer_id for each in error.open_transfers] == [transfer.transfer_id]
        now = await layers.get_transfer_async(transfer.transfer_id)
        assert (error.outcome, error.transfer_id) == (Outcome.UNKNOWN, transfer.transfer_id)
        assert (error.funds, error.deadline) == (now.funds, now.deadline)
        assert now.deadline is not None


async def test_without_open_transfers_a_layer_that_is_away_has_sent_nothing(parts: Parts) -> None:
    parts.clients[ROOTSTOCK].down = NodeUnreachable("connection refused")
    async with parts.manager() as layers:
        with pytest.raises(InitializationError) as failed:
            await layers.initialize_all_async()
    assert (failed.value.outcome, failed.value.transfer_id, failed.value.retryable) == (Outcome.NOT_SENT, None, True)


async def test_a_layer_that_is_away_joins_when_it_is_back(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layer2.assembly.joining._FIRST_RETRY_SECONDS", 0.01)
    client = parts.clients[ROOTSTOCK]
    client.down = NodeUnreachable("connection refused")
    async with parts.manager() as layers:
        with pytest.raises(InitializationError):
            await layers.initialize_all_async()
        await eventually(lambda: client.initialized >= 3)
        client.down = None
        before = client.initialized
        await eventually(lambda: client.initialized > before)
        assert (await started(layers)).state is TransferState.AGREED
        assert client.initialized == before + 1


async def test_nothing_is_read_from_a_node_that_was_never_checked(parts: Parts) -> None:
    parts.clients[ROOTSTOCK].down = WrongNetwork("another chain")
    async with parts.manager() as layers:
        with pytest.raises(NodeUnreachable, match="ROOTSTOCK cannot be used yet: another chain") as refused:
            await layers.quote_transfer_async(BTC, 100_000, BOB, ROOTSTOCK, max_fee=1_000)
    assert refused.value.outcome is Outcome.NOT_SENT


async def test_a_second_process_reads_and_waits_and_does_not_act(parts: Parts) -> None:
    async with parts.manager() as acting, parts.manager() as reading:
        transfer = await started(acting, "rent")
        with pytest.raises(JournalBusy):
            await reading.initialize_all_async()
        with pytest.raises(JournalBusy):
            await reading.resume_transfers_async()
        quote = await reading.quote_transfer_async(BTC, 50_000, BOB, ROOTSTOCK, max_fee=1_000)
        with pytest.raises(JournalBusy):
            await reading.start_transfer_async(quote)
        assert [each.transfer_id for each in await reading.list_transfers_async()] == [transfer.transfer_id]
        found = await reading.get_transfer_by_key_async("rent")
        assert found is not None
        assert found.transfer_id == transfer.transfer_id
        waiting = asyncio.create_task(reading.wait_for_transfer_async(transfer.transfer_id))
        await asyncio.sleep(0.02)
        await parts.move(transfer, TakerAbandoned("the provider did not answer"), holds_key=False)
        with pytest.raises(TransferAbandoned):
            await waiting
        assert parts.engines[1].driven == []


# Journals.


async def test_a_journal_of_another_seed_is_refused_with_the_command_that_adds_it(parts: Parts, tmp_path: Path) -> None:
    async with parts.manager() as layers:
        await started(layers)
    write_secret(tmp_path / "other-seed")
    other = parts.config.model_copy(update={"swap_seed_file": tmp_path / "other-seed"})
    with pytest.raises(ConfigurationError) as refused:
        async with parts.manager(other):
            pass
    assert refused.value.code == "journal_owner"
    assert "layer2 journal add seed" in str(refused.value)


async def test_without_a_swap_seed_transfers_can_be_read_and_not_begun(parts: Parts) -> None:
    async with parts.manager() as layers:
        transfer = await started(layers, "rent")
    async with parts.manager(parts.config.model_copy(update={"swap_seed_file": None})) as layers:
        assert (await layers.get_transfer_async(transfer.transfer_id)).idempotency_key == "rent"
        with pytest.raises(ConfigurationError, match="transfers need swap_seed_file"):
            await started(layers)


# Waiting.


async def test_with_arrived_the_wait_ends_at_arrival_and_otherwise_at_the_end(
    parts: Parts, layers: Layer2Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    proofs = {1: "proof at arrival"}

    async def proof(*_: object) -> object:
        return proofs[max(proofs)]

    monkeypatch.setattr("layer2.manager.records.TransferRecords.proof", proof)
    transfer = await started(layers)
    await parts.move(transfer, COLLECTING)
    early = asyncio.create_task(
        layers.wait_for_transfer_async(transfer.transfer_id, until=TransferState.ARRIVED, timeout=5)
    )
    late = asyncio.create_task(layers.wait_for_transfer_async(transfer.transfer_id, timeout=5))
    await parts.move(transfer, ARRIVED)
    assert await early == "proof at arrival"  # type: ignore[comparison-overlap]  # a text in place of a proof
    assert not late.done()
    proofs[2] = "final proof"
    await parts.move(transfer, TakerCompleted("0xsource", "0xdestination"))
    assert await late == "final proof"  # type: ignore[comparison-overlap]  # a text in place of a proof
    assert await layers.wait_for_transfer_async(transfer.transfer_id, until=TransferState.ARRIVED)


async def test_a_loss_is_raised_with_its_evidence(parts: Parts, layers: Layer2Manager) -> None:
    transfer = await started(layers)
    await parts.move(transfer, TakerLost("0xsource", "0xdestination", "the provider collected the source"))
    with pytest.raises(TransferLost) as lost:
        await layers.wait_for_transfer_async(transfer.transfer_id)
    error = lost.value
    assert (error.code, error.transfer_id) == ("transfer_lost", transfer.transfer_id)
    assert (error.source_tx_id, error.destination_tx_id) == ("0xsource", "0xdestination")
    assert (error.send_amount, error.receive_amount) == (100_420, 100_000)
    assert "keep the journal" in str(error)


async def test_a_refund_and_an_abandoned_transfer_are_distinguished(parts: Parts, layers: Layer2Manager) -> None:
    refunded, abandoned = await started(layers), await started(layers)
    await parts.move(refunded, TakerRefunded("0xsource", "the provider did not fund"))
    await parts.move(abandoned, TakerAbandoned("too late"), holds_key=False)
    with pytest.raises(TransferRefunded, match="the provider did not fund"):
        await layers.wait_for_transfer_async(refunded.transfer_id)
    with pytest.raises(TransferAbandoned, match="too late"):
        await layers.wait_for_transfer_async(abandoned.transfer_id)


async def test_a_time_out_of_a_wait_names_where_the_money_is(parts: Parts, layers: Layer2Manager) -> None:
    transfer = await started(layers)
    await parts.move(transfer, TakerFunded("0xsource"))
    with pytest.raises(AsyncTimeout) as ended:
        await layers.wait_for_transfer_async(transfer.transfer_id, timeout=0.05)
    now = await layers.get_transfer_async(transfer.transfer_id)
    assert (ended.value.outcome, ended.value.transfer_id) == (Outcome.UNKNOWN, transfer.transfer_id)
    assert (ended.value.funds, ended.value.deadline, ended.value.tx_id) == (now.funds, now.deadline, "0xsource")


async def test_one_call_moves_an_asset_and_a_repeated_one_finds_it(parts: Parts, layers: Layer2Manager) -> None:
    async def call() -> object:
        return await layers.cross_layer_transfer_async(
            BTC, None, BOB, ROOTSTOCK, send_amount=100_000, max_fee=1_000, idempotency_key="rent", timeout=2.0
        )

    with pytest.raises(AsyncTimeout) as ended:
        await call()
    found = await layers.get_transfer_by_key_async("rent")
    assert found is not None
    assert (ended.value.code, ended.value.transfer_id) == ("transfer_timeout", found.transfer_id)
    await parts.move(found, TakerRefunded("0xsource", "late"))
    with pytest.raises(TransferRefunded):
        await call()
    assert len(parts.provider.requests) == 1


async def test_closing_ends_waits_and_agreements_and_locks_nothing(parts: Parts) -> None:
    async with parts.manager() as layers:
        transfer = await started(layers)
        waiting = asyncio.create_task(layers.wait_for_transfer_async(transfer.transfer_id))
        parts.provider.held = asyncio.Event()
        agreeing = asyncio.create_task(started(layers, "rent"))
        await eventually(lambda: len(parts.provider.requests) == 2)
        open_transfers = await layers.close_async()
    assert [each.transfer_id for each in open_transfers] == [transfer.transfer_id]
    for task in (waiting, agreeing):
        with pytest.raises(TaskCancelled):
            await task
    async with parts.manager() as layers:
        found = await layers.get_transfer_by_key_async("rent")
        assert found is not None
        assert found.reason == "the manager was closed before terms were agreed"


async def test_a_journal_that_cannot_be_read_at_the_end_hides_no_open_transfer(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def unreadable(*_: object) -> None:
        raise JournalError("the disk is gone")

    async with parts.manager() as layers:
        transfers = [await started(layers, key) for key in ("rent", "food")]
        monkeypatch.setattr(TransferRecords, "load", unreadable)
        assert await layers.close_async() == ()
    assert all(each.transfer_id in caplog.text for each in transfers)


# Wrong use.


async def test_a_closed_manager_answers_nothing(parts: Parts) -> None:
    async with parts.manager() as layers:
        pass
    with pytest.raises(AsyncRuntimeError):
        await layers.list_transfers_async()


async def test_a_layer_without_a_client_here_is_not_implemented_and_one_without_a_section_not_configured(
    layers: Layer2Manager,
) -> None:
    with pytest.raises(ProtocolNotImplemented):
        await layers.get_protocol_async(Layer2ProtocolType.LIQUID)
    with pytest.raises(ProtocolNotImplemented):
        await layers.quote_transfer_async(BTC, 100_000, BOB, Layer2ProtocolType.LIQUID, max_fee=1)
    for layer in (Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BITCOIN):
        with pytest.raises(ProtocolNotConfigured, match=rf"\[{layer.value.lower()}\]"):
            await layers.get_protocol_async(layer)
    assert (await layers.get_protocol_async(ROOTSTOCK)).protocol_type is ROOTSTOCK


async def test_rootstock_has_a_client_on_mainnet(parts: Parts, tmp_path: Path) -> None:
    config = Layer2Config(network="mainnet", journal=JournalSection(path=tmp_path / "mainnet.sqlite"))
    async with parts.manager(config) as layers:
        assert (await layers.get_protocol_async(ROOTSTOCK)).protocol_type is ROOTSTOCK


async def test_an_invalid_layer_quote_or_state_to_wait_for_is_named(layers: Layer2Manager) -> None:
    wrong: Any = "BOB"
    for call, code in (
        (layers.get_protocol_async(wrong), "protocol"),
        (layers.quote_transfer_async(BTC, 1, wrong, ROOTSTOCK), "protocol"),
        (layers.start_transfer_async(wrong), "quote"),
        (layers.wait_for_transfer_async("ab" * 16, until=TransferState.FUNDED), "until"),
        (layers.get_transfer_by_key_async(""), "idempotency_key"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await call
        assert refused.value.code == code


async def test_an_unknown_id_names_the_remedy(layers: Layer2Manager) -> None:
    for call in (layers.get_transfer_async("ab" * 16), layers.wait_for_transfer_async("ab" * 16)):
        with pytest.raises(UnknownTransfer, match=r"\[journal\]"):
            await call


def test_the_blocking_twins_do_the_same(parts: Parts) -> None:
    with parts.manager() as layers:
        assert layers.pairs_sync()[0].provider_name == "one"
        assert layers.get_transfer_by_key_sync("rent") is None
        with pytest.raises(AsyncTimeout):
            layers.cross_layer_transfer_sync(
                BTC, 100_000, BOB, ROOTSTOCK, max_fee=1_000, idempotency_key="rent", timeout=2.0
            )
        found = layers.get_transfer_by_key_sync("rent")
    assert found is not None
    assert parts.engines[0].driven == [found.transfer_id]
