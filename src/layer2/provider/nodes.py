"""A provider's nodes: when each joins, its offer, and what was last read of it: its health and its balances."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import structlog

from layer2.assembly import Layers
from layer2.errors import Layer2Error
from layer2.legs.leg import LegOffer
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import AssetId, Balance
from layer2.ports.clock import Clock

__all__ = ["Nodes", "Reading"]

_TRUSTED_SECONDS = 5
"""How long a reading is used. Other users of the same accounts can move money meanwhile, and a node can fail."""
_READ_SECONDS = 2.0
"""The pause between two readings of a layer: shorter, so that no quote and no acceptance waits for a reading."""
_LONGEST_READ_SECONDS = 10.0
"""A node that answers later is not ready. Takers wait for an answer at least three times as long."""
_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The balances of one layer, of a node that was synced and whose clock was right."""

    began: float
    """When it began, by ``time.monotonic``. It may show nothing of what happened later."""
    at: float
    """The same in unix seconds, by the provider's clock; the end, if the node was not ready."""
    balances: Mapping[AssetId, Balance] | None
    """None if the node was not ready."""


class Nodes:
    """The layers of a provider. Each takes part once its node was checked, independently of the others."""

    def __init__(
        self,
        layers: Layers,
        clock: Clock,
        log: structlog.stdlib.BoundLogger | None = None,
        *,
        first_retry_seconds: float = _FIRST_RETRY_SECONDS,
    ) -> None:
        self._layers = layers
        self._clock = clock
        self._first_retry_seconds = first_retry_seconds
        self.offers: dict[Layer2ProtocolType, LegOffer] = {}
        """This provider's side of a quote, for every layer that has joined."""
        self.failures: dict[Layer2ProtocolType, Layer2Error] = {}
        """The errors of the layers that have not joined yet."""
        self._tried = {layer: asyncio.Event() for layer in layers.legs}
        self._readings: dict[Layer2ProtocolType, Reading] = {}
        self._reading: dict[Layer2ProtocolType, asyncio.Task[Reading]] = {}
        """The readings under way, at most one for each layer."""
        self._log = log or structlog.get_logger("layer2.provider")

    @property
    def layers(self) -> Set[Layer2ProtocolType]:
        """All configured layers."""
        return self._layers.legs.keys()

    async def join(self) -> None:
        """Check every node, with retries if it is down, and return when all have joined."""
        async with asyncio.TaskGroup() as tasks:
            for layer in self._layers.legs:
                tasks.create_task(self._join(layer), name=f"layer2-join-{layer.value}")

    async def tried(self) -> None:
        """Return when every node was checked once."""
        for tried in self._tried.values():
            await tried.wait()

    async def keep_reading(self) -> None:
        """Read every layer that has joined again and again, each independently of the others, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for layer in self._layers.legs:
                tasks.create_task(self._keep_reading(layer), name=f"layer2-read-{layer.value}")

    def reading(self, layer: Layer2ProtocolType) -> Reading | None:
        """The last reading; None if it is too old. ``problem`` makes a new one if necessary."""
        known = self._readings.get(layer)
        return known if known is not None and self._is_recent(known) else None

    def doubt(self, *layers: Layer2ProtocolType) -> None:
        """Discard the readings of these layers, because a node has just failed or refused."""
        for layer in layers:
            self._readings.pop(layer, None)

    async def problem(self, layers: Iterable[Layer2ProtocolType]) -> str | None:
        """The reason, for strangers, why these layers are not ready now, or None.

        It asks each node at most every few seconds, however often it is called.
        """
        wanted = tuple(layers)
        ready = await asyncio.gather(*(self._is_ready(layer) for layer in wanted))
        away = [layer.value for layer, is_ready in zip(wanted, ready, strict=True) if not is_ready]
        if not away:
            return None
        return f"the provider's {' and '.join(away)} node{'s are' if len(away) > 1 else ' is'} not ready"

    async def _join(self, layer: Layer2ProtocolType) -> None:
        pause = self._first_retry_seconds
        while True:
            try:
                await self._layers.legs[layer].join()
                self.offers[layer] = await self._layers.legs[layer].leg_offer()
                break
            except Layer2Error as error:
                self.failures[layer] = error
                self._log.warning("node_not_ready", layer=layer.value, error=str(error), retry_seconds=pause)
            except Exception:  # noqa: BLE001 - logged, with its traceback
                # An internal error must not exclude a layer permanently.
                self._log.exception("node_not_ready", layer=layer.value, retry_seconds=pause)
            self._tried[layer].set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
        self._tried[layer].set()
        if self.failures.pop(layer, None) is not None:
            self._log.info("node_joined", layer=layer.value)

    async def _is_ready(self, layer: Layer2ProtocolType) -> bool:
        if layer not in self.offers:
            return False
        last = self._readings.get(layer)
        if last is not None and last.balances is None:
            # It stays so until a later reading, for which no stranger's request waits.
            if not self._is_recent(last):
                self._start_reading(layer)
            return False
        known = self.reading(layer) or await self._read_again(layer)
        return known.balances is not None

    def _is_recent(self, reading: Reading) -> bool:
        return 0 <= self._clock.now() - reading.at < _TRUSTED_SECONDS

    async def _keep_reading(self, layer: Layer2ProtocolType) -> None:
        while True:
            if layer in self.offers:
                await self._read_again(layer)
            await asyncio.sleep(_READ_SECONDS)

    async def _read_again(self, layer: Layer2ProtocolType) -> Reading:
        """A new reading, or the one that is under way. A cancelled caller does not end it for the others."""
        return await asyncio.shield(self._start_reading(layer))

    def _start_reading(self, layer: Layer2ProtocolType) -> asyncio.Task[Reading]:
        task = self._reading.get(layer)
        if task is None:
            task = self._reading[layer] = asyncio.get_running_loop().create_task(self._read(layer))
            task.add_done_callback(lambda _: self._reading.pop(layer))
        return task

    async def _read(self, layer: Layer2ProtocolType) -> Reading:
        began, at = time.monotonic(), self._clock.now()
        balances: Mapping[AssetId, Balance] | None = None
        try:
            async with asyncio.timeout(_LONGEST_READ_SECONDS):
                await self._layers.legs[layer].read_clock()
                balances = await self._layers.clients[layer].balances_async()
        except (Layer2Error, TimeoutError) as error:
            # Only the operator may see what is wrong with the node.
            problem = str(error) or f"it did not answer within {_LONGEST_READ_SECONDS:g} s"
            before, at = self._readings.get(layer), self._clock.now()
            if before is None or before.balances is not None:
                self._log.warning("node_not_ready", layer=layer.value, error=problem)
        except Exception:  # noqa: BLE001 - logged, with its traceback
            # An internal error of one layer must not fail the others.
            at = self._clock.now()
            self._log.exception("node_unreadable", layer=layer.value)
        reading = self._readings[layer] = Reading(began, at, balances)
        return reading
