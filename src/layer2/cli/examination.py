"""Looking at everything that a configuration names: its keys, its journal, its layers, and the other parties."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from layer2.assembly import open_client, open_provider, owner_group
from layer2.cli.diagnosis import Finding, Level, NothingSent, diagnose_layer, failed
from layer2.cli.guard_state import guard_holder
from layer2.cli.journal_commands import configured_owners, existing_journal
from layer2.cli.secret_files import key_files, named_files, open_to_others
from layer2.cli.wording import duration, sat
from layer2.config import Layer2Config, LayerSettings, ProviderSection
from layer2.errors import ConfigurationError, Layer2Error, SignerError
from layer2.legs.leg import LegOffer
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.clock import Clock, SystemClock
from layer2.signers.software import read_secret_file

if TYPE_CHECKING:
    from layer2.provider.settings import ProviderSettings

__all__ = ["examine"]


async def examine(
    config: LayerSettings, clock: Clock | None = None, *, add_owners: str = "layer2 journal add"
) -> list[Finding]:
    """Look at everything at once; what cannot be reached does not keep the rest from being looked at.

    Args:
        add_owners: the command line that lets the journal hold this configuration's transfers too.
    """
    clock = SystemClock() if clock is None else clock
    parts = [diagnose_layer(layer, config, clock) for layer in config.layers]
    if isinstance(config, Layer2Config):
        parts += [_provider(provider, config) for provider in config.providers]
    else:
        parts.append(_bounds_of(config, clock))
    findings = [*_keys(config), *await _journal(config, add_owners)]
    for group in await asyncio.gather(*parts):
        findings += group
    return [*findings, *_absent(config)]


def _keys(config: LayerSettings) -> list[Finding]:
    """Whether the keys' files are their owner's alone and hold keys, and who else may read the others."""
    findings: list[Finding] = []
    keys = key_files(config)
    for name, path in keys:
        try:
            read_secret_file(path)
        except SignerError as error:
            findings.append(failed(name, error, "restore it from your backup"))
        else:
            findings.append(Finding(Level.OK, name, f"{path}, readable by you alone"))
    for name, field, path in named_files(config):
        if field == "macaroon_file" and path.is_file() and open_to_others(path):
            findings.append(Finding(Level.WARN, name, f"{path} is open to others", f"run: chmod 600 {path}"))
    return findings


async def _journal(config: LayerSettings, add_owners: str) -> list[Finding]:
    path, findings = config.journal.path, list[Finding]()
    try:
        async with existing_journal(path) as journal:
            known = await journal.owners()
        findings.append(Finding(Level.OK, "journal", str(path)))
        fresh = [each for each in configured_owners(config) if each not in known]
    except Layer2Error as error:
        if error.code == "no_journal":
            return [Finding(Level.OK, "journal", f"{path} does not exist yet; the first transfer makes it")]
        return [*findings, failed("journal", error, "its disk must be writable, and its keys readable")]
    groups = {owner_group(each) for each in known}
    for each in fresh:
        if owner_group(each) in groups:
            others = ", ".join(one.value for one in known if owner_group(one) == owner_group(each))
            problem = ConfigurationError(
                f"the journal holds transfers of the {each.kind} {others}, and the configuration has {each.value}",
                code="journal_owner",
            )
            remedy = f"correct the configuration; or, if both are yours: {add_owners}"
            findings.append(failed("journal owner", problem, remedy))
    holder = guard_holder(path)
    if holder is not None:
        findings.append(Finding(Level.OK, "journal guard", f"process {holder} goes on with the transfers"))
    return findings


def _absent(config: LayerSettings) -> list[Finding]:
    absent = [("layers", len(config.layers) < 2, "add tables until there are two layers")]
    if isinstance(config, Layer2Config):
        absent += [
            ("swap seed", config.swap_seed_file is None, "layer2 config init makes one"),
            ("provider", not config.providers, "add a [[providers]] table"),
        ]
    return [
        Finding(Level.WARN, subject, "not configured: no transfers", remedy)
        for subject, is_absent, remedy in absent
        if is_absent
    ]


async def _provider(section: ProviderSection, config: Layer2Config) -> list[Finding]:
    subject = f"provider {section.name}"
    try:
        client = open_provider(section, config.connection_pool.settings(), config.default_timeout_ms)
        async with aclosing(client):
            info = await client.info()
    except Layer2Error as error:
        return [failed(subject, error, "is it running, and are url and identity_key of [[providers]] right?")]
    if info.network != config.network:
        problem = Layer2Error(f"it serves {info.network}, and you are on {config.network}", code="wrong_network")
        return [failed(subject, problem, "remove it from the configuration")]
    if not info.is_ready:
        return [Finding(Level.WARN, subject, f"takes no swaps now: {info.reason}", "ask again later")]
    mine = [pair for pair in info.pairs if {pair.source, pair.destination} <= config.layers.keys()]
    if not mine:
        return [Finding(Level.WARN, subject, "serves no pair of your layers", "configure another one, or a layer more")]
    return [
        Finding(
            Level.OK,
            subject,
            f"{pair.source.value} -> {pair.destination.value}: {pair.fee_ppm / 10_000:g} % + "
            f"{sat(pair.base_fee + pair.network_fee)}, {pair.min_amount:,} to {sat(pair.max_amount)}",
        )
        for pair in mine
    ]


# What strangers can bind on a provider.


async def _bounds_of(config: LayerSettings, clock: Clock) -> list[Finding]:
    from layer2.provider.settings import ProviderSettings

    assert isinstance(config, ProviderSettings)
    offers: dict[Layer2ProtocolType, LegOffer] = {}
    for layer in config.layers:
        try:
            client = open_client(config, layer, NothingSent(), clock)
        except Layer2Error:
            # Its own line names what is wrong.
            continue
        try:
            await client.initialize_async()
            offers[layer] = await client.legs.leg_offer()
        except Layer2Error:
            continue
        finally:
            await client.aclose()
    return _bounds(config, offers)


def _bounds(config: ProviderSettings, offers: Mapping[Layer2ProtocolType, LegOffer]) -> list[Finding]:
    from layer2.provider.bounds import bounds

    return [
        Finding(
            Level.OK,
            "strangers",
            f"{each.source.value} -> {each.destination.value}: by asking and never funding they bind at most "
            f"{each.places} places ({each.places_per_taker} for one account) for {duration(60 * each.minutes)}",
        )
        for each in bounds(config.limits, offers, config.timelocks)
    ]
