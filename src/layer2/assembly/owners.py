"""The owners of a journal: the network, the accounts and the swap seed that its swaps belong to."""

from __future__ import annotations

from collections.abc import Sequence

from layer2.config import BitcoinSection, EvmSection, LayerSettings
from layer2.errors import ConfigurationError
from layer2.formats.evm_address import to_checksum
from layer2.ports.journal import JournalOwner, SwapJournal

__all__ = ["check_owners", "owner_conflicts", "owners_of"]


def owners_of(config: LayerSettings, seed_fingerprint: str | None = None) -> tuple[JournalOwner, ...]:
    """The network, the accounts and the swap seed of a configuration.

    Args:
        seed_fingerprint: ``SeedPreimages.fingerprint``; None if there is no swap seed.

    Raises:
        SignerError: an account's key, or a wallet's seed, cannot be read.
    """
    accounts = []
    for layer, section in config.layers.items():
        if isinstance(section, EvmSection):
            accounts.append(JournalOwner("account", f"{layer.value} {to_checksum(section.signer().address)}"))
        elif isinstance(section, BitcoinSection):
            # The wallet is named by its key of quotes, which takers see anyway.
            key, _ = section.seed().swap_keys().public_keys(None)
            accounts.append(JournalOwner("account", f"{layer.value} {key.hex()}"))
    seeds = [] if seed_fingerprint is None else [JournalOwner("seed", seed_fingerprint)]
    return JournalOwner("network", config.network), *accounts, *seeds


async def check_owners(journal: SwapJournal, owners: Sequence[JournalOwner]) -> None:
    """Check that the swaps of a journal belong to these owners.

    A journal without any swap or send adopts them. A journal without an owner in an owner's group adopts that owner
    too: a first account on another layer, or a first seed, cannot have swaps yet.

    Raises:
        ConfigurationError: code ``journal_owner``: the journal belongs to other owners. Acting on it with another
            seed, account or network could lose money.
        JournalError: the journal cannot be read or written.
    """
    while True:
        known = await journal.owners()
        conflicts = owner_conflicts(known, owners)
        if conflicts and await journal.release_owners():
            # No swap depends on these owners: a first start with a wrong configuration binds nothing.
            known, conflicts = (), []
        if conflicts:
            raise conflicts[0]
        fresh = [owner for owner in owners if owner not in known]
        # Another worker may add its owners at the same time.
        if not fresh or await journal.add_owners(fresh, known=known):
            return


def owner_conflicts(known: Sequence[JournalOwner], owners: Sequence[JournalOwner]) -> list[ConfigurationError]:
    """An error for each owner that the journal does not know although it knows others in the same group.

    Args:
        known: the journal's owners.
        owners: those of the configuration.
    """
    conflicts = []
    for owner in owners:
        others = [each.value for each in known if _group(each) == _group(owner)]
        if others and owner.value not in others:
            conflicts.append(
                ConfigurationError(
                    f"the journal holds transfers of the {owner.kind} {', '.join(others)}, "
                    f"and the configuration has {owner.value}",
                    code="journal_owner",
                    remedy=f"correct the configuration or journal.path; or, if both are yours: "
                    f"layer2 journal add {owner.kind} '{owner.value}'",
                )
            )
    return conflicts


def _group(owner: JournalOwner) -> tuple[str, str]:
    """The group in which a journal accepts no unknown owner: all seeds, all networks, or the accounts of one layer."""
    return owner.kind, owner.value.partition(" ")[0] if owner.kind == "account" else ""
