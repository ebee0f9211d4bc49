"""The composition root: clients from the tables of a configuration, for managers, providers and the command line.

The only module, apart from the typed overloads of ``get_protocol_async``, that knows the layers by name.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from layer2.aio.shared_call import SharedCall
from layer2.config import (
    BobSection,
    EvmSection,
    LayerSection,
    LayerSettings,
    LightningSection,
    ProviderSection,
    RootstockSection,
)
from layer2.errors import BadAnswer, ConfigurationError, Layer2Error, NodeUnreachable, Outcome
from layer2.formats.evm_address import to_checksum
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Htlc, LegOffer
from layer2.legs.views import ActStatus, ClockReading, LegView, OfferRequest, Side, Verb
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Preimage
from layer2.net.pool import ConnectionPoolConfig
from layer2.ports.client import Layer2ProtocolAsync
from layer2.ports.clock import Clock
from layer2.ports.journal import JournalOwner, Json, SendRecords
from layer2.ports.legs import HtlcLayer
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.rootstock import RootstockClient
from layer2.provider_client import ProviderClient, ProviderEndpoint

__all__ = [
    "Client",
    "JoiningLegs",
    "check_owners",
    "open_client",
    "open_clients",
    "open_provider",
    "owner_group",
    "owners_of",
]

Client: TypeAlias = Layer2ProtocolAsync[Any, Any, Any, Any]
"""The client of any layer."""

log = logging.getLogger("layer2.assembly")

_FIRST_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 30.0
_CHECKED_AGAIN: Final = frozenset({"clock", "not_synced"})
"""Codes of checks that come last, and that every call which depends on them repeats. Held payments are settled
without them."""


def open_client(config: LayerSettings, layer: Layer2ProtocolType, sends: SendRecords, clock: Clock) -> Client:
    """The client of one layer that is configured; nothing is asked of its node.

    Raises:
        ConfigurationError, SignerError: a setting or a key cannot be used.
    """
    return _client(config, config.layers[layer], sends, clock)


def open_clients(config: LayerSettings, sends: SendRecords, clock: Clock) -> Mapping[Layer2ProtocolType, Client]:
    """The clients of all layers that are configured. Close each with ``aclose``.

    Args:
        sends: the durable record of single sends.

    Raises:
        ConfigurationError, SignerError: as ``open_client``; none is left open.
    """
    return {layer: _client(config, section, sends, clock) for layer, section in config.layers.items()}


def _client(config: LayerSettings, section: LayerSection, sends: SendRecords, clock: Clock) -> Client:
    network, timeout, pool = config.network, config.default_timeout_ms, config.connection_pool
    match section:
        case BobSection():
            return BobClient(section.settings(network, timeout, pool), section.signer(), sends, clock)
        case RootstockSection():
            return RootstockClient(section.settings(network, timeout, pool), section.signer(), sends, clock)
        case LightningSection():
            return LightningNetwork(section.settings(network, timeout, pool), sends, clock)
        case _:
            raise AssertionError(f"no client is made from {type(section).__name__}")


def open_provider(section: ProviderSection, pool: ConnectionPoolConfig, timeout_ms: int) -> ProviderClient:
    """The client of one provider.

    Raises:
        ConfigurationError: its address or key cannot be used.
    """
    endpoint = ProviderEndpoint(section.name, section.url, bytes.fromhex(section.identity_key))
    return ProviderClient(endpoint, pool, timeout_ms)


# Whose swaps a journal holds.


class OwnedJournal(Protocol):
    """The part of ``interfaces.SwapJournal`` that holds owners."""

    async def owners(self) -> Sequence[JournalOwner]: ...

    async def add_owners(self, owners: Sequence[JournalOwner]) -> None: ...


def owners_of(config: LayerSettings, seed_fingerprint: str | None = None) -> tuple[JournalOwner, ...]:
    """The network, the accounts and the swap seed of a configuration.

    Args:
        seed_fingerprint: ``SeedPreimages.fingerprint``; None where there is no swap seed.

    Raises:
        SignerError: an account's key cannot be read.
    """
    accounts = [
        JournalOwner("account", f"{layer.value} {to_checksum(section.signer().address)}")
        for layer, section in config.layers.items()
        if isinstance(section, EvmSection)
    ]
    seeds = [] if seed_fingerprint is None else [JournalOwner("seed", seed_fingerprint)]
    return JournalOwner("network", config.network), *accounts, *seeds


async def check_owners(journal: OwnedJournal, owners: Sequence[JournalOwner]) -> None:
    """Check that the swaps of a journal belong to these owners.

    A new journal adopts them. So does one without any swap of a kind of owner: a first account on another layer, or a
    first seed, can have no swaps yet.

    Raises:
        ConfigurationError: code ``journal_owner``: the journal belongs to others. Acting on it with another seed,
            account or network could lose money.
        JournalError: the journal cannot be read or written.
    """
    known = await journal.owners()
    known_groups = {owner_group(owner) for owner in known}
    for owner in owners:
        if owner not in known and owner_group(owner) in known_groups:
            others = ", ".join(each.value for each in known if owner_group(each) == owner_group(owner))
            raise ConfigurationError(
                f"the journal holds transfers of the {owner.kind} {others}, and the configuration has {owner.value}",
                code="journal_owner",
                remedy=f"correct the configuration or journal.path; or, if both are yours: "
                f"layer2 journal add {owner.kind} '{owner.value}'",
            )
    fresh = [owner for owner in owners if owner not in known]
    if fresh:
        await journal.add_owners(fresh)


def owner_group(owner: JournalOwner) -> tuple[str, str]:
    """Owners among which a journal is strict: all seeds, all networks, the accounts of one layer."""
    return owner.kind, owner.value.partition(" ")[0] if owner.kind == "account" else ""


# Layers that are away at the start.


class JoiningLegs(HtlcLayer):
    """A layer's part in swaps that is connected and checked before it is used, whenever its node is first up.

    Nothing is read from a node that was never checked: it could be on another chain.

    Raises, all methods: besides those of the layer, NodeUnreachable with outcome NOT_SENT while it has not joined.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._name = client.protocol_type.value
        self._joining = SharedCall(self._initialize, life=math.inf)
        self.has_joined = False

    async def join(self) -> None:
        """Initialize the client, unless it is.

        Raises:
            Layer2Error: as ``initialize_async`` of the client.
        """
        if not self.has_joined:
            await self._joining.get()

    async def keep_joining(self) -> None:
        """Try until the layer has joined, with growing pauses."""
        pause = _FIRST_RETRY_SECONDS
        while not self.has_joined:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
            try:
                await self.join()
            except Layer2Error as error:
                log.debug("%s is still away: %s", self._name, error)
            else:
                log.info("%s is back, and its transfers go on", self._name)

    async def aclose(self) -> None:
        """End an attempt that is under way."""
        await self._joining.aclose()

    async def _initialize(self) -> None:
        await self._client.initialize_async()
        self.has_joined = True

    async def _joined(self) -> HtlcLayer:
        try:
            await self.join()
        except Layer2Error as error:
            if isinstance(error, BadAnswer) and error.code in _CHECKED_AGAIN:
                return self._client.legs
            raise NodeUnreachable(
                f"{self._name} cannot be used yet: {error.message}",
                protocol=self._name,
                outcome=Outcome.NOT_SENT,
                remedy=error.remedy,
            ) from error
        return self._client.legs

    async def leg_offer(self) -> LegOffer:
        return await (await self._joined()).leg_offer()

    async def offer(self, request: OfferRequest) -> str:
        return await (await self._joined()).offer(request)

    async def network_cost(self, amount: int) -> int | None:
        return await (await self._joined()).network_cost(amount)

    async def check_can_finish(self, htlc: Htlc, side: Side) -> None:
        await (await self._joined()).check_can_finish(htlc, side)

    async def reserve(self, htlc: Htlc, side: Side) -> None:
        await (await self._joined()).reserve(htlc, side)

    def free(self, htlc: Htlc) -> None:
        self._client.legs.free(htlc)

    async def prepare(self, verb: Verb, htlc: Htlc, preimage: Preimage | None = None) -> Json:
        return await (await self._joined()).prepare(verb, htlc, preimage)

    def discard(self, act: Json) -> None:
        self._client.legs.discard(act)

    async def perform(self, act: Json) -> None:
        await (await self._joined()).perform(act)

    async def act_status(self, act: Json) -> ActStatus:
        return await (await self._joined()).act_status(act)

    async def repriced(self, act: Json, htlc: Htlc) -> Json | None:
        return await (await self._joined()).repriced(act, htlc)

    async def observe(self, htlc: Htlc, side: Side) -> LegView:
        return await (await self._joined()).observe(htlc, side)

    async def wait_for_change(self, htlc: Htlc, view: LegView) -> None:
        await (await self._joined()).wait_for_change(htlc, view)

    async def read_clock(self) -> ClockReading:
        return await (await self._joined()).read_clock()

    async def evidence(self, htlc: Htlc, side: Side) -> LegEvidence | None:
        return await (await self._joined()).evidence(htlc, side)

    async def late_fundings(self, since: int) -> tuple[frozenset[bytes], int]:
        return await (await self._joined()).late_fundings(since)

    async def courtesy(self, htlc: Htlc, preimage: Preimage) -> None:
        await (await self._joined()).courtesy(htlc, preimage)
