"""A provider's nodes: when each joins, its offer, and whether it is ready now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Set

import structlog

from layer2.assembly import JoiningLegs
from layer2.errors import Layer2Error
from layer2.legs.leg import LegOffer
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.clock import Clock

__all__ = ["Nodes"]

_HEALTH_SECONDS = 5
_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 60.0


class Nodes:
    """The layers of a provider. Each takes part once its node was checked, independently of the others."""

    def __init__(
        self,
        layers: Mapping[Layer2ProtocolType, JoiningLegs],
        clock: Clock,
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
        self._tried = {layer: asyncio.Event() for layer in layers}
        self._health: dict[Layer2ProtocolType, tuple[float, bool]] = {}
        self._log = structlog.get_logger("layer2.provider")

    @property
    def layers(self) -> Set[Layer2ProtocolType]:
        """All configured layers."""
        return self._layers.keys()

    async def join(self) -> None:
        """Check every node, with retries if it is down, and return when all have joined."""
        async with asyncio.TaskGroup() as tasks:
            for layer in self._layers:
                tasks.create_task(self._join(layer), name=f"layer2-join-{layer.value}")

    async def tried(self) -> None:
        """Return when every node was checked once."""
        for tried in self._tried.values():
            await tried.wait()

    async def problem(self, layers: Iterable[Layer2ProtocolType]) -> str | None:
        """The reason, for strangers, why these layers are not ready now, or None.

        It asks each node at most every few seconds, however often it is called.
        """
        away = [layer.value for layer in layers if not await self._is_ready(layer)]
        if not away:
            return None
        return f"the provider's {' and '.join(away)} node{'s are' if len(away) > 1 else ' is'} not ready"

    async def _join(self, layer: Layer2ProtocolType) -> None:
        pause = self._first_retry_seconds
        while True:
            try:
                await self._layers[layer].join()
                self.offers[layer] = await self._layers[layer].leg_offer()
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
        now = self._clock.now()
        known = self._health.get(layer)
        if known is not None and now - known[0] < _HEALTH_SECONDS:
            return known[1]
        try:
            await self._layers[layer].read_clock()
            is_ready = True
        except Layer2Error as error:
            # Only the operator may see what is wrong with the node.
            self._log.warning("node_not_ready", layer=layer.value, error=str(error))
            is_ready = False
        self._health[layer] = (now, is_ready)
        return is_ready
