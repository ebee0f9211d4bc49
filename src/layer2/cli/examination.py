"""Checks everything that a configuration names: its keys, its journal, its layers and its providers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from layer2.assembly import open_provider, owner_conflicts
from layer2.cli.diagnosis import Diagnosis, Finding, Level, diagnose_layer, failed
from layer2.cli.guard_state import guard_holder
from layer2.cli.journal_commands import configured_owners, existing_journal
from layer2.cli.secret_files import key_files, named_files, open_to_others
from layer2.cli.wording import duration, sat
from layer2.config import Layer2Config, LayerSettings, ProviderSection
from layer2.errors import Layer2Error, SignerError
from layer2.ports.clock import Clock, SystemClock
from layer2.signers.software import read_secret_file

__all__ = ["examine"]


async def examine(config: LayerSettings, clock: Clock | None = None) -> list[Finding]:
    """Check everything concurrently. A part that cannot be reached does not hide the others."""
    clock = SystemClock() if clock is None else clock
    findings = [*_keys(config), *await _journal(config)]
    layers, others = await asyncio.gather(
        asyncio.gather(*(diagnose_layer(layer, config, clock) for layer in config.layers)),
        _providers(config),
    )
    for diagnosis in layers:
        findings += diagnosis.findings
    for group in others:
        findings += group
    if not isinstance(config, Layer2Config):
        findings += _bounds(config, layers)
    return [*findings, *_absent(config)]


def _keys(config: LayerSettings) -> list[Finding]:
    """Whether the key files hold keys and only their owner can read them, and whether others can read a macaroon."""
    findings: list[Finding] = []
    keys = key_files(config)
    for name, path in keys:
        try:
            read_secret_file(path)
        except SignerError as error:
            findings.append(failed(name, error, "restore it from your backup"))
        else:
            findings.append(Finding(Level.OK, name, f"{path}, readable only by you"))
    for name, field, path in named_files(config):
        if field == "macaroon_file" and path.is_file() and open_to_others(path):
            findings.append(Finding(Level.WARN, name, f"other users can read {path}", f"run: chmod 600 {path}"))
    return findings


async def _journal(config: LayerSettings) -> list[Finding]:
    path, findings = config.journal.path, list[Finding]()
    try:
        async with existing_journal(path) as journal:
            known = await journal.owners()
        findings.append(Finding(Level.OK, "journal", str(path)))
        conflicts = owner_conflicts(known, configured_owners(config))
    except Layer2Error as error:
        if error.code == "no_journal":
            return [Finding(Level.OK, "journal", f"{path} does not exist yet; the first transfer creates it")]
        return [*findings, failed("journal", error, "the disk must be writable, and the key files readable")]
    findings += [failed("journal owner", each, "correct the configuration") for each in conflicts]
    holder = guard_holder(path)
    if holder is not None:
        findings.append(Finding(Level.OK, "journal guard", f"process {holder} drives the transfers"))
    return findings


def _absent(config: LayerSettings) -> list[Finding]:
    absent = [("layers", len(config.layers) < 2, "add the tables of two layers")]
    if isinstance(config, Layer2Config):
        absent += [
            ("swap seed", config.swap_seed_file is None, "layer2 config init creates one"),
            ("provider", not config.providers, "add a [[providers]] table"),
        ]
    return [
        Finding(Level.WARN, subject, "not configured; transfers need it", remedy)
        for subject, is_absent, remedy in absent
        if is_absent
    ]


async def _providers(config: LayerSettings) -> list[list[Finding]]:
    if not isinstance(config, Layer2Config):
        return []
    return await asyncio.gather(*(_provider(each, config) for each in config.providers))


async def _provider(section: ProviderSection, config: Layer2Config) -> list[Finding]:
    subject = f"provider {section.name}"
    try:
        client = open_provider(section, config.connection_pool.settings(), config.default_timeout_ms)
        async with aclosing(client):
            info = await client.info()
    except Layer2Error as error:
        return [failed(subject, error, "check that it runs, and its url and identity_key in [[providers]]")]
    if info.network != config.network:
        problem = Layer2Error(f"it serves {info.network}, and your network is {config.network}", code="wrong_network")
        return [failed(subject, problem, "remove it from the configuration")]
    if not info.is_ready:
        return [Finding(Level.WARN, subject, f"accepts no swaps now: {info.reason}", "try again later")]
    mine = [pair for pair in info.pairs if {pair.source, pair.destination} <= config.layers.keys()]
    if not mine:
        return [Finding(Level.WARN, subject, "serves no pair of your layers", "configure another provider or layer")]
    return [
        Finding(
            Level.OK,
            subject,
            f"{pair.source.value} -> {pair.destination.value}: {pair.fee_ppm / 10_000:g} % + "
            f"{sat(pair.base_fee + pair.network_fee)}, {pair.min_amount:,} to {sat(pair.max_amount)}",
        )
        for pair in mine
    ]


def _bounds(config: LayerSettings, layers: Sequence[Diagnosis]) -> list[Finding]:
    """What strangers can reserve on a provider without paying."""
    from layer2.provider.bounds import bounds
    from layer2.provider.settings import ProviderSettings

    assert isinstance(config, ProviderSettings)
    offers = {each.layer: each.offer for each in layers if each.offer is not None}
    return [
        Finding(
            Level.OK,
            "strangers",
            f"{each.source.value} -> {each.destination.value}: swaps that are never funded reserve at most "
            f"{each.places} places ({each.places_per_taker} for one account) for {duration(60 * each.minutes)}",
        )
        for each in bounds(config.limits, offers, config.timelocks)
    ]
