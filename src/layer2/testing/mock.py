"""A protocol client without a layer: it answers what the test said, and reports what was not as expected."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Self

from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import AssetId, Balance
from layer2.model.transactions import TxState, TxStatus
from layer2.ports.client import Layer2ProtocolAsync

__all__ = ["Expectation", "MockLayer2Protocol", "UnmetExpectations"]


class UnmetExpectations(AssertionError):
    """What was called is not what was expected; the message lists both."""


@dataclass(slots=True)
class Expectation:
    """One expected call; made by ``MockLayer2Protocol.expect`` and refined by its methods, which can be chained."""

    method: str
    arguments: Mapping[str, object]
    wanted: int = 1
    calls: int = 0
    result: object = None
    error: BaseException | None = None
    delay: float = 0.0

    def returns(self, result: object) -> Self:
        """Answer with this."""
        self.result = result
        return self

    def raises(self, error: BaseException) -> Self:
        """Answer by raising this."""
        self.error = error
        return self

    def times(self, count: int) -> Self:
        """Expect exactly so many calls (1 where nothing is said)."""
        self.wanted = count
        return self

    def after(self, seconds: float) -> Self:
        """Answer only after so many seconds."""
        self.delay = seconds
        return self

    def matches(self, method: str, arguments: Mapping[str, object]) -> bool:
        """Whether a call is this one. Arguments that the expectation does not name may be anything."""
        missing = object()
        return method == self.method and all(
            arguments.get(name, missing) == value for name, value in self.arguments.items()
        )

    def __str__(self) -> str:
        return f"{_call_text(self.method, self.arguments)} x {self.wanted}"


class MockLayer2Protocol(Layer2ProtocolAsync[Any, Any, Any, Any]):
    """Stands for any layer's client in a test.

    Example::

        async with MockLayer2Protocol() as mock:
            mock.expect("transfer_asset_async", BTC, 100, "bc1q...").returns("tx")
            assert await mock.transfer_asset_async(BTC, 100, "bc1q...") == "tx"

    Leaving the block (or ``verify()``) raises ``UnmetExpectations`` unless every expectation was met.

    Args:
        in_order: the calls must come in the order of their expectations.
    """

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.BOB

    def __init__(self, *, in_order: bool = False) -> None:
        self._in_order = in_order
        self._expectations: list[Expectation] = []
        self._calls: list[str] = []
        self._unexpected = False

    def expect(self, method: str, /, *arguments: object, **keywords: object) -> Expectation:
        """Say that a method will be called.

        Args:
            method: the async name; the twin ``_sync`` counts as the same.
            arguments: as the method takes them; ``unittest.mock.ANY`` matches everything.

        Raises:
            TypeError: the protocol has no such method, or it does not take such arguments.
        """
        if not method.endswith("_async") or not hasattr(Layer2ProtocolAsync, method):
            raise TypeError(f"Layer2ProtocolAsync has no method {method}")
        bound = inspect.signature(getattr(Layer2ProtocolAsync, method)).bind_partial(self, *arguments, **keywords)
        named = {name: value for name, value in bound.arguments.items() if name != "self"}
        expectation = Expectation(method, named)
        self._expectations.append(expectation)
        return expectation

    def verify(self) -> None:
        """Compare what was called with what was expected.

        Raises:
            UnmetExpectations: with both lists.
        """
        if self._unexpected or any(each.calls != each.wanted for each in self._expectations):
            raise UnmetExpectations(self._report())

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

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def _answer(self, method: str, **arguments: object) -> Any:
        self._calls.append(_call_text(method, {name: value for name, value in arguments.items() if value is not None}))
        expectation = self._next(method, arguments)
        if expectation is None:
            self._unexpected = True
            raise UnmetExpectations(f"this call was not expected: {self._calls[-1]}\n{self._report()}")
        expectation.calls += 1
        if expectation.delay:
            await asyncio.sleep(expectation.delay)
        if expectation.error is not None:
            raise expectation.error
        return expectation.result

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

    async def initialize_async(self, *, timeout: float | None = None) -> None:
        await self._answer("initialize_async", timeout=timeout)

    async def submit_transaction_async(
        self, transaction: Any, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> TxStatus[Any]:
        status: TxStatus[Any] = await self._answer(
            "submit_transaction_async", transaction=transaction, idempotency_key=idempotency_key, timeout=timeout
        )
        return status

    async def get_transaction_status_async(self, tx_id: Any, *, timeout: float | None = None) -> TxStatus[Any]:
        status: TxStatus[Any] = await self._answer("get_transaction_status_async", tx_id=tx_id, timeout=timeout)
        return status

    async def transfer_asset_async(
        self,
        asset_id: AssetId,
        amount: int,
        recipient: Any,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        return await self._answer(
            "transfer_asset_async",
            asset_id=asset_id,
            amount=amount,
            recipient=recipient,
            idempotency_key=idempotency_key,
            timeout=timeout,
        )

    async def verify_proof_async(self, proof: Any, *, timeout: float | None = None) -> bool:
        holds: bool = await self._answer("verify_proof_async", proof=proof, timeout=timeout)
        return holds

    async def balances_async(self, *, timeout: float | None = None) -> Mapping[AssetId, Balance]:
        balances: Mapping[AssetId, Balance] = await self._answer("balances_async", timeout=timeout)
        return balances

    async def receive_address_async(self, *, timeout: float | None = None) -> Any:
        return await self._answer("receive_address_async", timeout=timeout)

    async def wait_for_status_async(
        self, tx_id: Any, *, until: TxState = TxState.INCLUDED, timeout: float | None = None
    ) -> TxStatus[Any]:
        status: TxStatus[Any] = await self._answer("wait_for_status_async", tx_id=tx_id, until=until, timeout=timeout)
        return status


def _call_text(method: str, arguments: Mapping[str, object]) -> str:
    return f"{method}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
