"""Looking at everything that a configuration names. Every finding says what to do, where something is to be done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum

from layer2.cli.wording import sat, wei
from layer2.config import BobSection, Layer2Config, LightningSection, ProviderSection
from layer2.errors import InsufficientFunds, Layer2Error, SignerError
from layer2.formats.evm_address import to_checksum
from layer2.interfaces import SystemClock
from layer2.money import BTC, ETH, AssetId, Balance
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.locks.deployment import check_htlc
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.lightning import Hold, LightningNetwork
from layer2.provider_client import ProviderClient, ProviderEndpoint
from layer2.signers.software import SeedPreimages
from layer2.swap_engine.journal import SqliteJournal

__all__ = ["Finding", "Level", "diagnose"]

_LITTLE_GAS = 10**14
"""Wei: about what a lock and a refund cost when BOB is busy; below it a transfer may not be finished."""
_CLOCK_REMEDY = "wait until the node is synced, and set its clock and this machine's by NTP"


class Level(Enum):
    """How a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    subject: str
    text: str
    remedy: str | None = None
    error: Layer2Error | None = None
    """Why it is FAIL."""


async def diagnose(config: Layer2Config) -> list[Finding]:
    """Look at everything at once; what cannot be reached does not keep the rest from being looked at."""
    findings = await _seed(config)
    parts = [_provider(provider, config) for provider in config.providers]
    journal: SqliteJournal | None = None
    try:
        journal = await SqliteJournal.open(config.journal.path)
    except Layer2Error as error:
        findings.append(_failed("journal", error, "no other layer2 may hold it, and its disk must be writable"))
    if journal is None:
        groups = await asyncio.gather(*parts)
        return [*findings, *(finding for group in groups for finding in group)]
    try:
        findings.append(Finding(Level.OK, "journal", str(config.journal.path)))
        layers = []
        if config.bob is not None:
            layers.append(_bob(config.bob, config, journal))
        if config.lightning is not None:
            layers.append(_lightning(config.lightning, config, journal))
        groups = await asyncio.gather(*layers, *parts)
    finally:
        await journal.aclose()
    return [*findings, *(finding for group in groups for finding in group), *_absent(config)]


async def _seed(config: Layer2Config) -> list[Finding]:
    file = config.swap_seed_file
    if file is None:
        return [Finding(Level.WARN, "swap seed", "not configured: no transfers", "layer2 config init makes one")]
    try:
        SeedPreimages.from_file(file)
    except SignerError as error:
        return [_failed("swap seed", error, "restore it from your backup")]
    return [Finding(Level.OK, "swap seed", f"{file}, readable by you alone")]


def _absent(config: Layer2Config) -> list[Finding]:
    absent = [
        ("BOB", config.bob is None, "[bob]"),
        ("Lightning", config.lightning is None, "[lightning]"),
        ("provider", not config.providers, "[[providers]]"),
    ]
    return [
        Finding(Level.WARN, subject, "not configured: no transfers", f"add a {table} table")
        for subject, is_absent, table in absent
        if is_absent
    ]


async def _bob(section: BobSection, config: Layer2Config, journal: SqliteJournal) -> list[Finding]:
    settings = section.settings(config.network, config.default_timeout_ms, config.connection_pool)
    try:
        signer = section.signer()
    except Layer2Error as error:
        return [_failed("BOB key", error, "name a file with the account's key, mode 0600")]
    findings = [Finding(Level.OK, "BOB key", to_checksum(signer.address))]
    bob = BobClient(settings, signer, journal, SystemClock())
    try:
        await bob.initialize_async()
        findings.append(Finding(Level.OK, "BOB node", f"chain {settings.chain_id}, token {settings.token}"))
        findings.append(
            await _looked("BOB clock", _clock(bob), "wait until the node is synced; set both clocks by NTP")
        )
        findings.append(
            await _looked("BOB contract", _contract(config, section), "is this really BOB? the contract is not there")
        )
        balances = await bob.balances_async()
        findings += [_bitcoin("BOB balance", balances), _gas(balances)]
    except Layer2Error as error:
        findings.append(_failed("BOB node", error, "is the node running, and are [bob] rpc_url and chain_id right?"))
    finally:
        await bob.aclose()
    return findings


async def _lightning(section: LightningSection, config: Layer2Config, journal: SqliteJournal) -> list[Finding]:
    findings: list[Finding] = []
    try:
        settings = section.settings(config.network, config.default_timeout_ms, config.connection_pool)
        lightning = LightningNetwork(settings, journal, SystemClock())
    except Layer2Error as error:
        return [_failed("Lightning node", error, "see [lightning]")]
    try:
        await lightning.initialize_async()
        key = await lightning.receive_address_async()
        findings.append(Finding(Level.OK, "Lightning node", f"{key}, {settings.network}"))
        findings.append(await _looked("Lightning clock", _clock(lightning), _CLOCK_REMEDY))
        findings += _liquidity(await lightning.balances_async())
        findings += _holds(await lightning.holds_async())
    except Layer2Error as error:
        findings.append(_failed("Lightning node", error, "is lnd running, and are [lightning] and its files right?"))
    finally:
        await lightning.aclose()
    return findings


async def _provider(section: ProviderSection, config: Layer2Config) -> list[Finding]:
    subject = f"provider {section.name}"
    try:
        endpoint = ProviderEndpoint(section.name, section.url, bytes.fromhex(section.identity_key))
        client = ProviderClient(endpoint, config.connection_pool.settings(), config.default_timeout_ms)
        async with aclosing(client):
            info = await client.info()
    except Layer2Error as error:
        return [_failed(subject, error, "is it running, and are url and identity_key of [[providers]] right?")]
    if info.network != config.network:
        problem = Layer2Error(f"it serves {info.network}, and you are on {config.network}", code="wrong_network")
        return [_failed(subject, problem, "remove it from the configuration")]
    if not info.is_ready:
        return [Finding(Level.WARN, subject, f"takes no swaps now: {info.reason}", "ask again later")]
    offer = (
        f"{info.fee_ppm / 10_000:g} % + {sat(info.base_fee + info.network_fee)}, "
        f"{info.min_amount:,} to {sat(info.max_amount)}"
    )
    return [Finding(Level.OK, subject, offer)]


async def _clock(client: BobClient | LightningNetwork) -> str:
    reading = await client.read_clock()
    return f"agrees with this machine's; height {reading.height}"


async def _contract(config: Layer2Config, section: BobSection) -> str:
    pool, seconds = config.connection_pool.settings(), config.default_timeout_ms / 1000
    rpc = JsonRpc(section.rpc_url, protocol="BOB", pool=pool, timeout=seconds)
    async with aclosing(rpc):
        await check_htlc(EvmNode(rpc, "BOB"))
    return "the contract is deployed, and the chain computes what it needs"


async def _looked(subject: str, look: Awaitable[str], remedy: str) -> Finding:
    try:
        return Finding(Level.OK, subject, await look)
    except Layer2Error as error:
        return _failed(subject, error, remedy)


def _bitcoin(subject: str, balances: Mapping[AssetId, Balance]) -> Finding:
    spendable = balances[BTC].spendable
    if spendable:
        return Finding(Level.OK, subject, sat(spendable))
    return Finding(Level.WARN, subject, "nothing to send from here", "send bitcoin to the account first")


def _gas(balances: Mapping[AssetId, Balance]) -> Finding:
    owned = balances[ETH].spendable
    if owned >= _LITTLE_GAS:
        return Finding(Level.OK, "BOB gas", wei(owned))
    text = f"{wei(owned)}; a lock and a refund may cost {wei(_LITTLE_GAS)}"
    return Finding(Level.FAIL, "BOB gas", text, "send ETH on BOB to the account", InsufficientFunds(text, code="gas"))


def _liquidity(balances: Mapping[AssetId, Balance]) -> list[Finding]:
    balance, findings = balances[BTC], []
    for subject, amount, without in (
        ("Lightning outbound", balance.spendable, "open a channel, or receive first, to move away from Lightning"),
        ("Lightning inbound", balance.receivable or 0, "get a channel from others, or spend, to move to Lightning"),
    ):
        level = Level.OK if amount else Level.WARN
        findings.append(Finding(level, subject, sat(amount), None if amount else without))
    return findings


def _holds(holds: Sequence[Hold]) -> list[Finding]:
    near = [hold for hold in holds if hold.is_near_expiry]
    if not near:
        return []
    text = f"{len(near)} of {len(holds)} held payments end soon, the first in {near[0].blocks_left} blocks"
    return [Finding(Level.WARN, "Lightning holds", text, "settle or cancel them, before the node gives them back")]


def _failed(subject: str, error: Layer2Error, remedy: str) -> Finding:
    return Finding(Level.FAIL, subject, f"[{error.code}] {error.message}", error.remedy or remedy, error)
