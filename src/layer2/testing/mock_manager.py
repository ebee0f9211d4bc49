"""A ``Layer2Manager`` without nodes: transfers end as a test scripted them."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from pydantic import SecretStr

from layer2.aio.blocking import Portal, twin
from layer2.config import BitcoinSection, BobSection, JournalSection, Layer2Config, ProviderSection, RootstockSection
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import InitializationError, Layer2Error
from layer2.formats.evm_address import to_checksum
from layer2.journal.sql_journal import SqlJournal
from layer2.manager import Layer2Manager
from layer2.manager.taker import Taker
from layer2.manager.wiring import Wiring
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, SwapId
from layer2.ports.client import Client
from layer2.ports.clock import Clock, Entropy
from layer2.protocols.rootstock import ROOTSTOCK_REGTEST
from layer2.signers.software import SeedPreimages
from layer2.terms.transfers import TransferState
from layer2.testing.mock import (
    MockBitcoinClient,
    MockBobClient,
    MockClient,
    MockLightningNetwork,
    MockRootstockClient,
    UnmetExpectations,
)
from layer2.testing.mock_network import IDENTITY_KEY, PROVIDER_NAME, TAKER, TOKEN, MockLegs, MockProvider
from layer2.testing.mock_runner import ScriptedRunner, Scripts, script

__all__ = ["MockLayer2Manager"]

Section = TypeVar("Section", BobSection, RootstockSection)


class MockLayer2Manager(Layer2Manager):
    """A manager for tests, in place of ``Layer2Manager``: same calls, same errors, no node and no provider.

    Example::

        async with MockLayer2Manager() as layers:
            layers.next_transfer(TransferState.REFUNDED)
            with pytest.raises(TransferRefunded):
                await pay_rent(layers)

    Transfers complete at once unless ``next_transfer`` scripts another end. Those with ``funded_by_others`` wait for
    ``pay_funding_request_async`` first. Everything else is the real code: requests
    and quotes are checked, idempotency keys are in a journal, terms are signed, and ``timeout`` ends waits. Proofs
    pass ``verify_cross_layer_proof_async`` of a mock manager, and of no other.

    At the end of the block ``verify`` is called, unless the block raises.

    Args:
        clients: mocks of the layers' clients, for ``get_protocol_async``; a layer that is left out gets an empty mock.
        directory: where journal and swap seed are, to test a restart with a second manager; omitted, a temporary one.
        base_fee: satoshi that a quote for any amount asks for.
        fee_ppm: millionths of the amount, on top of it.
        clock: this machine's, unless a test gives another.
    """

    def __init__(
        self,
        *clients: MockClient,
        directory: Path | None = None,
        base_fee: int = 120,
        fee_ppm: int = 3_000,
        clock: Clock | None = None,
    ) -> None:
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="layer2-mock-"))
            weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        super().__init__(_config(directory), clock=clock)
        mocks: tuple[MockClient, ...] = (
            MockBobClient(),
            MockRootstockClient(),
            MockLightningNetwork(),
            MockBitcoinClient(),
            *clients,
        )
        self._mocks = {mock.protocol_type: mock for mock in mocks}
        self._provider = MockProvider(base_fee, fee_ppm, self._clock)
        self._scripts = Scripts()
        self._initialization_errors: list[InitializationError] = []

    def next_transfer(
        self, ends: TransferState = TransferState.COMPLETED, *, after: float = 0.0, reason: str | None = None
    ) -> None:
        """Script the next transfer that has no script yet; scripts are used in the order of their calls.

        Args:
            ends: the state to which it goes. A state that is not final is kept until ``continue_transfer``.
            after: seconds that it stays FUNDED, or AGREED if it is to be abandoned.
            reason: why it is refunded, abandoned or lost.

        Raises:
            ValueError: ``ends`` is PLANNED.
        """
        self._scripts.coming.append(script(ends, after, reason))

    def continue_transfer(
        self, transfer_id: str, ends: TransferState, *, after: float = 0.0, reason: str | None = None
    ) -> None:
        """Let an open transfer reach another state. Can be called from any thread.

        Args:
            ends, after, reason: as in ``next_transfer``.

        Raises:
            ValueError: no such transfer was started, or it cannot go to that state from the end of its script.
        """
        self._scripts.go_on(SwapId(transfer_id), script(ends, after, reason), self.blocking_portal().loop)

    def next_quote_fails(self, error: Layer2Error) -> None:
        """Let the provider answer the next request for a quote with an error, such as ``QuoteRefused``.

        A call with a ``timeout`` that quotes and starts repeats what is ``retryable``, as the real manager does.
        """
        self._provider.quote_errors.append(error)

    def next_start_fails(self, error: Layer2Error) -> None:
        """Let the provider answer the next start of a transfer with an error, such as ``TermsRefused``.

        Nothing is locked, and the idempotency key stays free. An error that is ``retryable`` is repeated.
        """
        self._provider.start_errors.append(error)

    def next_initialization_fails(self, failures: Mapping[Layer2ProtocolType, Layer2Error]) -> None:
        """Let the next ``initialize_all_async`` raise ``InitializationError`` for these layers."""
        self._initialization_errors.append(InitializationError({each.value: failures[each] for each in failures}))

    def make_invoice(self, amount: int, *, expiry_seconds: int = 3600) -> str:
        """Make the BOLT 11 invoice of a stranger, for ``recipient``; a mock manager pays no other.

        Args:
            amount: satoshi.
        """
        return self._provider.make_invoice(amount, expiry_seconds)

    async def pay_funding_request_async(self, transfer_id: str, amount: int | None = None) -> str:
        """Pay to the address of a transfer with ``funded_by_others``, as an exchange would.

        The first payment of exactly the requested amount, until ``fund_by``, funds the transfer, which then follows its
        script. Each other payment is refunded at once, where the real manager waits for the deadline or the provider:

        - of another amount: the transfer ends as REFUNDED, without a proof;
        - after ``fund_by``, or after the transfer was ABANDONED: it is reopened, and ends as REFUNDED;
        - a second one before the transfer is COLLECTING: it ends as REFUNDED. A later one has no effect here.

        A payment below 1,000 sat has no effect, as with the real manager.

        Args:
            amount: satoshi in one output; None is the amount of the ``funding_request``.

        Returns:
            The id of the transaction.

        Raises:
            UnknownTransfer: there is no such transfer.
            ValueError: the transfer has no address that others pay.
        """
        wiring = self._entered()
        assert isinstance(wiring, _MockWiring)
        return await wiring.engine.pay(SwapId(transfer_id), amount)

    def verify(self) -> None:
        """Check that everything that was scripted was used, on the mocks of the clients too.

        Raises:
            UnmetExpectations: lists what was not.
        """
        left = {
            "next_transfer": len(self._scripts.coming),
            "next_quote_fails": len(self._provider.quote_errors),
            "next_start_fails": len(self._provider.start_errors),
            "next_initialization_fails": len(self._initialization_errors),
        }
        if any(left.values()):
            unused = ", ".join(f"{count} x {name}" for name, count in left.items() if count)
            raise UnmetExpectations(f"not used: {unused}")
        for mock in self._mocks.values():
            mock.verify()

    async def initialize_all_async(self, *, timeout: float | None = None) -> None:
        """Resume open transfers, as the real method does; the mocks of the clients are not called."""
        await super().initialize_all_async(timeout=timeout)
        if self._initialization_errors:
            raise self._initialization_errors.pop(0)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        if error is None:
            self.verify()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if error is None:
            self.verify()

    pay_funding_request_sync = twin(pay_funding_request_async)

    async def _open_wiring(self, portal: Portal) -> Wiring:
        return await _MockWiring.open_mock(
            self.config, portal, self._clock, self._entropy, self._mocks, self._provider, self._scripts
        )


def _config(directory: Path) -> Layer2Config:
    seed = directory / "swap-seed"
    if not seed.exists():
        seed.touch(mode=0o600)
        seed.write_text(secrets.token_hex(32))
    return Layer2Config(
        network="regtest",
        bob=_section(BobSection, token_address=to_checksum(TOKEN), token_decimals=8),
        rootstock=_section(
            RootstockSection,
            chain_id=ROOTSTOCK_REGTEST,
            contract_address=to_checksum(HTLC_ADDRESS, ROOTSTOCK_REGTEST),
        ),
        bitcoin=BitcoinSection(network="regtest", esplora_url="https://mock.invalid", seed_file=directory / "not-used"),
        swap_seed_file=seed,
        journal=JournalSection(path=directory / Layer2Config.default_journal),
        providers=(ProviderSection(name=PROVIDER_NAME, url="https://mock.invalid", identity_key=IDENTITY_KEY.hex()),),
    )


def _section(kind: Callable[..., Section], **values: object) -> Section:
    return kind(network="regtest", rpc_url="https://mock.invalid", key=SecretStr(TAKER.to_hex()), **values)


class _MockWiring(Wiring):
    """The parts of a manager, with mocks in place of clients, legs, provider and engine."""

    engine: ScriptedRunner

    @classmethod
    async def open_mock(
        cls,
        config: Layer2Config,
        portal: Portal,
        clock: Clock,
        entropy: Entropy,
        mocks: Mapping[Layer2ProtocolType, MockClient],
        provider: MockProvider,
        scripts: Scripts,
    ) -> Self:
        assert config.swap_seed_file is not None
        seed = SeedPreimages.from_file(config.swap_seed_file)
        journal = await SqlJournal.open(config.journal.path)
        self = cls(config, journal, clock, entropy)
        self._closing.push_async_callback(journal.aclose)
        self.clients = {layer: cast("Client", mock) for layer, mock in mocks.items()}
        for client in self.clients.values():
            client.bind(portal)
        legs = {layer: MockLegs(layer, clock) for layer in self.clients}
        self.engine = engine = ScriptedRunner(journal, legs, seed, self._rules, clock)
        engine.scripts, engine.provider = scripts, provider
        self._taker = Taker(
            journal=journal,
            records=self.records,
            engine=engine,
            legs=legs,
            providers=[provider],
            secrets=seed,
            rules=self._rules,
            clock=clock,
            entropy=entropy,
            least_finality=Finality.LATEST,
        )
        return self
