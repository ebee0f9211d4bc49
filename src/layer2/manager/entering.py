"""Entering and leaving a manager, and the time limits of its calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self, TypeVar

from layer2.aio.blocking import Portal, twin
from layer2.aio.time_limit import time_limit
from layer2.config import Layer2Config
from layer2.errors import (
    AsyncRuntimeError,
    AsyncTimeout,
    ConfigurationError,
    InvalidRequest,
    Outcome,
)
from layer2.manager.arguments import read_timeout
from layer2.manager.taker import Taker
from layer2.manager.wiring import Wiring
from layer2.ports.clock import Clock, Entropy, SystemClock, SystemEntropy
from layer2.terms.transfers import Transfer

__all__ = ["EnteredParts"]

R = TypeVar("R")

LOG: Final = logging.getLogger("layer2.manager")


class EnteredParts:
    """The parts of a manager while it is entered."""

    def __init__(self, config: Layer2Config, *, clock: Clock | None = None, entropy: Entropy | None = None) -> None:
        if not isinstance(config, Layer2Config):
            raise ConfigurationError(
                f"a manager needs a Layer2Config, not a {type(config).__name__}",
                code="config_type",
                remedy='Layer2Manager(Layer2Config.load("layer2.toml"))',
            )
        self.config = config
        self._clock = SystemClock() if clock is None else clock
        self._entropy = SystemEntropy() if entropy is None else entropy
        self._portal: Portal | None = None
        self._wiring: Wiring | None = None

    # Entering and leaving.

    async def __aenter__(self) -> Self:
        await self._open(Portal.here())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_async()

    def __enter__(self) -> Self:
        portal = Portal.with_own_thread()
        try:
            portal.run("__aenter__", lambda: self._open(portal))
        except BaseException:
            portal.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        portal = self._portal
        if portal is None:
            return
        try:
            portal.run("close_async", self.close_async)
        finally:
            portal.close()

    async def _open(self, portal: Portal) -> None:
        if self._portal is not None:
            raise AsyncRuntimeError("this manager is already entered; create another one")
        self._wiring = await self._open_wiring(portal)
        self._portal = portal

    async def _open_wiring(self, portal: Portal) -> Wiring:
        return await Wiring.open(self.config, portal, self._clock, self._entropy)

    async def close_async(self) -> tuple[Transfer, ...]:
        """Close the manager without waiting for any transfer, and return the open transfers.

        Waits on transfers raise ``TaskCancelled``. Locked money stays locked, and every open transfer resumes at the
        next start: each is logged with its deadline. Temporal workers continue it.
        """
        if self._wiring is None:
            return ()
        wiring, self._wiring, self._portal = self._wiring, None, None
        open_transfers = await wiring.close()
        for transfer in open_transfers:
            if self.config.temporal is not None:
                LOG.info("transfer %s is still open (%s); its workers continue it", *_named(transfer))
                continue
            LOG.warning(
                "transfer %s is still open (%s): %s; %s; start this program again before then",
                *_named(transfer),
                transfer.funds,
                _next_step(transfer),
            )
        return open_transfers

    def blocking_portal(self) -> Portal:
        """The portal that the ``_sync`` twins go through.

        Raises:
            AsyncRuntimeError: the manager is not entered, or is closed.
        """
        if self._portal is None:
            raise AsyncRuntimeError("this manager is not entered, or is closed; use 'async with' or 'with'")
        return self._portal

    def _entered(self) -> Wiring:
        self.blocking_portal().check_loop()
        if self._wiring is None:
            raise AsyncRuntimeError("this manager is closed")
        return self._wiring

    def _taker(self) -> Taker:
        return self._entered().taker()

    async def _limited(self, work: Coroutine[object, None, R], timeout: float | None, operation: str) -> R:
        try:
            seconds = self._seconds(timeout)
        except InvalidRequest:
            work.close()
            raise
        late = AsyncTimeout(
            f"no result within {seconds:g} s; this call started nothing",
            operation=operation,
            outcome=Outcome.NOT_SENT,
            remedy="call again, with a longer timeout if your nodes or providers are slow",
        )
        async with time_limit(asyncio.timeout(seconds), lambda: late):
            return await work

    def _seconds(self, timeout: float | None) -> float:
        seconds = read_timeout(timeout, self.config.default_timeout_ms / 1000)
        assert seconds is not None
        return seconds

    def _ends_at(self, timeout: float | None) -> float:
        return asyncio.get_running_loop().time() + self._seconds(timeout)

    close_sync = twin(close_async)


def _named(transfer: Transfer) -> tuple[str, str]:
    return transfer.transfer_id, transfer.state.value


def _next_step(transfer: Transfer) -> str:
    """``you must act before 2026-11-29 21:58:00 UTC``"""
    if transfer.deadline is None:
        return f"next: {transfer.next_actor.value}"
    deadline = datetime.fromtimestamp(transfer.deadline, UTC)
    return f"{transfer.next_actor.value} must act before {deadline:%Y-%m-%d %H:%M:%S} UTC"
