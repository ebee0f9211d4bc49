"""What swaps need of a configuration: its layers, and its journal."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from layer2.assembly.clients import open_clients
from layer2.assembly.joining import JoiningLegs
from layer2.assembly.owners import check_owners, owners_of
from layer2.config import Layer2Config, LayerSettings
from layer2.errors import ConfigurationError
from layer2.journal.place import JournalPlace
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.client import Client
from layer2.ports.clock import Clock
from layer2.ports.journal import Journal, LayerRecords
from layer2.signers.software import SeedPreimages

__all__ = ["Layers", "journal_place", "open_journal", "open_layers", "register_place", "swap_seed"]


@dataclass(frozen=True, slots=True)
class Layers:
    """The configured layers: the client of each, and its part in swaps, which joins when its node is up."""

    clients: Mapping[Layer2ProtocolType, Client]
    legs: Mapping[Layer2ProtocolType, JoiningLegs]


def open_layers(config: LayerSettings, records: LayerRecords, clock: Clock, closing: AsyncExitStack) -> Layers:
    """Create the clients of all configured layers and their parts in swaps. No node is asked.

    Args:
        records: the durable record of single sends and held coins.
        closing: closes them, the parts in swaps before the clients.

    Raises:
        ConfigurationError, SignerError: as ``open_clients``.
    """
    clients = open_clients(config, records, clock)
    for client in clients.values():
        closing.push_async_callback(client.aclose)
    legs = {layer: JoiningLegs(client) for layer, client in clients.items()}
    for each in legs.values():
        closing.push_async_callback(each.aclose)
    return Layers(clients, legs)


def journal_place(config: LayerSettings) -> JournalPlace:
    """Where a configuration's journal is."""
    section = config.journal
    return JournalPlace(path=section.path) if section.url is None else JournalPlace(url=section.url.get_secret_value())


def register_place(config: LayerSettings) -> JournalPlace | None:
    """Where the register of a configuration's journal is; None if it has none."""
    section = config.journal
    if section.register_url is not None:
        return JournalPlace(url=section.register_url.get_secret_value())
    if section.register_file is not None:
        return JournalPlace(path=section.register_file)
    if section.url is not None:
        # A file of this machine would be missing on the one that takes over.
        return None
    return JournalPlace(path=section.path.with_name(f"{section.path.name}.register"))


async def open_journal(
    config: LayerSettings,
    closing: AsyncExitStack,
    *,
    seed_fingerprint: str | None = None,
    act: bool = False,
    shared: bool = False,
) -> Journal:
    """Open the journal of a configuration and check that its swaps belong to the configuration.

    Args:
        closing: closes the journal.
        seed_fingerprint: ``SeedPreimages.fingerprint``; None if there is no swap seed.
        act: take the guard that lets only one process act on the journal.
        shared: share the guard with the workers and front ends of the journal.

    Raises:
        ConfigurationError: code ``journal_owner``, as ``check_owners``.
        SignerError: an account's key cannot be read.
        JournalBusy: ``act`` is set, and another process acts on the journal.
        JournalError: ``act`` is set, and the journal cannot be compared with its register (``SqlJournal.act``); or the
            journal cannot be read or written.
    """
    # The database library is loaded when a journal is opened, not when this module is imported.
    from layer2.journal.sql_journal import SqlJournal

    owners = owners_of(config, seed_fingerprint)
    journal = await SqlJournal.open(journal_place(config), register_place(config))
    closing.push_async_callback(journal.aclose)
    if act:
        await journal.act(shared=shared)
    await check_owners(journal, owners)
    return journal


def swap_seed(config: LayerSettings) -> SeedPreimages | None:
    """The seed of a taker's swaps; None for a provider, which has none.

    Raises:
        ConfigurationError: code ``no_transfers``: a taker's configuration does not name it.
        SignerError: it cannot be read.
    """
    if not isinstance(config, Layer2Config):
        return None
    if config.swap_seed_file is None:
        raise ConfigurationError(
            "open transfers need the swap_seed_file with which they were started",
            code="no_transfers",
            remedy="restore it in the configuration",
        )
    return SeedPreimages.from_file(config.swap_seed_file)
