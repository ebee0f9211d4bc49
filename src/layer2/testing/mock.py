"""Mock clients: each answers with what a test scripted, and reports calls that differ from what the test expected."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, cast

from layer2.aio.blocking import Portal
from layer2.errors import AsyncTimeout
from layer2.formats.bitcoin_transaction import decode_transaction
from layer2.formats.evm_header import decode_header
from layer2.formats.rsk_header import decode_full_header
from layer2.legs.evidence import BitcoinSpendEvidence, EvmEvidence, EvmReceiptEvidence, RootstockReceiptEvidence
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.ports.client import Layer2ProtocolAsync
from layer2.protocols.bitcoin import BitcoinClient
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.rootstock import RootstockClient

__all__ = [
    "MOCK_BLOCK",
    "Expectation",
    "MockBitcoinClient",
    "MockBobClient",
    "MockClient",
    "MockLayer2Protocol",
    "MockLightningNetwork",
    "MockRootstockClient",
    "UnmetExpectations",
]

C = TypeVar("C")
F = TypeVar("F", bound=Callable[..., object])

MOCK_BLOCK = b"layer2.testing"
"""Marks every block that this package makes: the ``extra_data`` of a header, or a part of a coinbase."""


class UnmetExpectations(AssertionError):
    """The calls differ from the expected ones; the message lists both."""


@dataclass(slots=True)
class Expectation:
    """One expected call. ``expect`` makes it; its methods refine it, and can be chained."""

    method: str
    arguments: Mapping[str, object]
    wanted: int = 1
    calls: int = 0
    result: object = None
    error: BaseException | None = None
    delay: float = 0.0

    def returns(self, result: object) -> Self:
        """Return this. A method that returns an async iterator yields the items of it."""
        self.result = result
        return self

    def raises(self, error: BaseException) -> Self:
        """Raise this; a method that returns an async iterator raises it after its items."""
        self.error = error
        return self

    def times(self, count: int) -> Self:
        """Expect exactly this number of calls; the default is 1."""
        self.wanted = count
        return self

    def after(self, seconds: float) -> Self:
        """Answer after this time. If the call has a shorter ``timeout``, it raises ``AsyncTimeout``."""
        self.delay = seconds
        return self

    def matches(self, method: str, arguments: Mapping[str, object]) -> bool:
        """Return whether a call is the expected one. Arguments that are not named here can have any value."""
        missing = object()
        return method == self.method and all(
            arguments.get(name, missing) == value for name, value in self.arguments.items()
        )

    def __str__(self) -> str:
        return f"{_call_text(self.method, self.arguments)} x {self.wanted}"


def _answering(method: F) -> F:
    """An async method, or async iterator, with the signature of ``method``, that answers from the expectations."""
    name, signature = method.__name__, inspect.signature(method)

    def arguments(mock: MockClient, args: tuple[object, ...], keywords: dict[str, object]) -> dict[str, object]:
        return dict(list(signature.bind(mock, *args, **keywords).arguments.items())[1:])

    @wraps(method)
    async def answer(self: MockClient, *args: object, **keywords: object) -> object:
        return await self._answer(name, arguments(self, args, keywords))

    @wraps(method)
    async def items(self: MockClient, *args: object, **keywords: object) -> AsyncIterator[object]:
        expectation = await self._expected(name, arguments(self, args, keywords))
        for item in cast("list[object]", expectation.result or ()):
            yield item
        if expectation.error is not None:
            raise expectation.error

    made = answer if inspect.iscoroutinefunction(method) else items
    made.__dict__.pop("__isabstractmethod__", None)
    return cast("F", made)


class MockClient:
    """What all mock clients have in common. A subclass also inherits from the client that it replaces.

    Args:
        in_order: the calls must come in the order of their expectations.
    """

    protocol_type: ClassVar[Layer2ProtocolType]

    def __init__(self, *, in_order: bool = False) -> None:
        self._in_order = in_order
        self._expectations: list[Expectation] = []
        self._calls: list[str] = []
        self._unexpected = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def expect(self, method: str, /, *arguments: object, **keywords: object) -> Expectation:
        """Expect a call.

        Args:
            method: the async name; a call of the twin ``_sync`` counts as the same.
            arguments: as the method takes them; arguments that are left out can have any value, as can
                ``unittest.mock.ANY``.

        Raises:
            TypeError: the client has no such method, or the method does not take these arguments.
        """
        found = getattr(type(self), method, None)
        if not method.endswith("_async") or found is None:
            raise TypeError(f"{type(self).__name__} has no method {method}")
        bound = inspect.signature(found).bind_partial(self, *arguments, **keywords)
        expectation = Expectation(method, dict(list(bound.arguments.items())[1:]))
        self._expectations.append(expectation)
        return expectation

    def verify(self) -> None:
        """Compare the calls with the expectations.

        Raises:
            UnmetExpectations: they differ; the message lists both.
        """
        if self._unexpected or any(each.calls != each.wanted for each in self._expectations):
            raise UnmetExpectations(self._report())

    def bind(self, portal: Portal, limit: asyncio.Semaphore | None = None) -> None:
        """See ``Layer2ProtocolAsync``. A mock opens no connections."""
        Layer2ProtocolAsync.bind(cast("Layer2ProtocolAsync[object, object, object, object]", self), portal, limit)

    async def aclose(self) -> None:
        """Do nothing: a mock has no connections."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await cast("AbstractAsyncContextManager[object]", super()).__aexit__(kind, error, trace)
        if error is None:
            self.verify()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cast("AbstractContextManager[object]", super()).__exit__(kind, error, trace)
        if error is None:
            self.verify()

    async def _answer(self, method: str, arguments: Mapping[str, object]) -> object:
        expectation = await self._expected(method, arguments)
        if expectation.error is not None:
            raise expectation.error
        return expectation.result

    async def _expected(self, method: str, arguments: Mapping[str, object]) -> Expectation:
        """The expectation that a call meets, after its delay."""
        self._calls.append(_call_text(method, {name: value for name, value in arguments.items() if value is not None}))
        expectation = self._next(method, arguments)
        if expectation is None:
            self._unexpected = True
            raise UnmetExpectations(f"unexpected call: {self._calls[-1]}\n{self._report()}")
        expectation.calls += 1
        seconds = cast("float | None", arguments.get("timeout"))
        try:
            async with asyncio.timeout(seconds if expectation.delay else None):
                await asyncio.sleep(expectation.delay)
        except TimeoutError:
            raise AsyncTimeout(
                f"{method} took longer than {seconds:g} s", protocol=self.protocol_type.value, operation=method
            ) from None
        return expectation

    def _next(self, method: str, arguments: Mapping[str, object]) -> Expectation | None:
        for expectation in self._expectations:
            if expectation.calls < expectation.wanted:
                if expectation.matches(method, arguments):
                    return expectation
                if self._in_order:
                    return None
        return None

    def _report(self) -> str:
        expected = [f"  {each}, called {each.calls} times" for each in self._expectations] or ["  nothing"]
        actual = [f"  {number}. {call}" for number, call in enumerate(self._calls, 1)] or ["  nothing"]
        order = " in this order" if self._in_order else ""
        return "\n".join([f"expected{order}:", *expected, "actual:", *actual])


class MockLayer2Protocol(MockClient, Layer2ProtocolAsync[Any, Any, Any, Any]):
    """A mock of the calls that the clients of all layers share.

    Example::

        async with MockLayer2Protocol() as mock:
            mock.expect("transfer_asset_async", BTC, 100, "bc1q...").returns("tx")
            assert await mock.transfer_asset_async(BTC, 100, "bc1q...") == "tx"

    At the end of the block ``verify`` is called, unless the block raises.

    Args:
        in_order: the calls must come in the order of their expectations.
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.BOB

    initialize_async = _answering(Layer2ProtocolAsync.initialize_async)
    submit_transaction_async = _answering(Layer2ProtocolAsync.submit_transaction_async)
    get_transaction_status_async = _answering(Layer2ProtocolAsync.get_transaction_status_async)
    transfer_asset_async = _answering(Layer2ProtocolAsync.transfer_asset_async)
    verify_proof_async = _answering(Layer2ProtocolAsync.verify_proof_async)
    balances_async = _answering(Layer2ProtocolAsync.balances_async)
    receive_address_async = _answering(Layer2ProtocolAsync.receive_address_async)
    wait_for_status_async = _answering(Layer2ProtocolAsync.wait_for_status_async)


def _answering_all(mock: type[C]) -> type[C]:
    """Let every method of a class that is named ``..._async`` answer from the expectations."""
    for name in [name for name in dir(mock) if name.endswith("_async")]:
        setattr(mock, name, _answering(getattr(mock, name)))
    return mock


@_answering_all
class MockBobClient(MockClient, BobClient):
    """A mock of ``BobClient``, with its methods and their signatures. As ``MockLayer2Protocol``."""

    async def confirm_evidence(self, evidence: EvmEvidence, *, contract: bytes, finality: Finality) -> bool:
        """Return whether a mock network made the evidence."""
        return isinstance(evidence, EvmReceiptEvidence) and decode_header(evidence.header).extra_data == MOCK_BLOCK


@_answering_all
class MockRootstockClient(MockClient, RootstockClient):
    """A mock of ``RootstockClient``, with its methods and their signatures. As ``MockLayer2Protocol``."""

    async def confirm_evidence(self, evidence: EvmEvidence, *, contract: bytes, finality: Finality) -> bool:
        """Return whether a mock network made the evidence."""
        if not isinstance(evidence, RootstockReceiptEvidence):
            return False
        return MOCK_BLOCK in decode_full_header(evidence.headers[0])[1].coinbase


@_answering_all
class MockBitcoinClient(MockClient, BitcoinClient):
    """A mock of ``BitcoinClient``, with its methods and their signatures. As ``MockLayer2Protocol``.

    Example::

        async with MockBitcoinClient() as bitcoin:
            bitcoin.expect("estimate_fee_rate_async", 2).returns(4_000)
    """

    async def confirm_evidence(
        self, evidence: BitcoinSpendEvidence, *, contract: bytes | None, finality: Finality
    ) -> bool:
        """Return whether a mock network made the evidence."""
        return decode_transaction(evidence.coinbase).inputs[0].script_sig.endswith(MOCK_BLOCK)


@_answering_all
class MockLightningNetwork(MockClient, LightningNetwork):
    """A mock of ``LightningNetwork``, with its methods and their signatures. As ``MockLayer2Protocol``.

    Example::

        async with MockLightningNetwork() as lightning:
            lightning.expect("create_invoice_async", 50_000).returns(invoice)
    """


def _call_text(method: str, arguments: Mapping[str, object]) -> str:
    return f"{method}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
