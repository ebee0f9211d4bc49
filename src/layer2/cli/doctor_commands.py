"""``layer2 doctor``: checks everything that a configuration names, and shows the remedy for each problem.

It checks the keys, the journal with its open transfers, the layers, the providers, and the Temporal server with its
workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from layer2.assembly import journal_place, needing_temporal, open_provider, owner_conflicts, register_place
from layer2.cli.bitcoin_seed import lost_seed_remedy
from layer2.cli.diagnosis import Diagnosis, diagnose_layer
from layer2.cli.exit_status import ExitStatus
from layer2.cli.findings import Finding, Level, failed
from layer2.cli.journal_reading import configured_owners, existing_journal, guard_holders, is_stopped
from layer2.cli.output import Result, table
from layer2.cli.secret_files import key_files, named_files, open_to_others, read_key
from layer2.cli.session import InSession
from layer2.cli.wording import due, duration, sat
from layer2.config import BitcoinSection, Layer2Config, LayerSettings, ProviderSection
from layer2.config.sections import TemporalSection
from layer2.errors import JournalBusy, JournalError, Layer2Error, NodeUnreachable, SignerError
from layer2.journal.place import JournalPlace
from layer2.legs.timelock_settings import settings_for
from layer2.model.layers import Layer2ProtocolType
from layer2.ports.clock import Clock, SystemClock
from layer2.ports.journal import SwapRecord
from layer2.swap_engine.records import outlook_of
from layer2.terms.transfers import Actor

__all__ = ["doctor", "examine"]

_NEAR: Final = 600
"""Seconds. A deadline of yours that is nearer is a warning."""


async def doctor(*, session: InSession) -> Result:
    """Check every node, key, balance, gas, liquidity, clock, contract, journal and provider of a configuration.

    With the table [temporal] it also checks the Temporal server, and whether workers run. For a provider's file it
    shows what strangers can reserve, too. It only reads, and does not disturb a running service. A layer that cannot be
    reached does not hide the others. Exit status 4: something needs you. 5: something cannot be reached. Each line
    shows its remedy.
    """
    config = session.settings()
    with session.terminal.working("asking your nodes and providers"):
        findings = await examine(config)
    problem, ended = _verdict([each.error for each in findings if each.error is not None])
    remedies = [None if each.remedy is None else session.addressed(each.remedy) for each in findings]
    rows = tuple(
        (each.level.value, each.subject, each.text, remedy or "")
        for each, remedy in zip(findings, remedies, strict=True)
    )
    return Result(
        {
            "findings": [
                {"level": each.level.value, "subject": each.subject, "text": each.text, "remedy": remedy}
                for each, remedy in zip(findings, remedies, strict=True)
            ]
        },
        [table(("", "subject", "finding", "remedy"), rows)],
        problem=problem,
        ended=ended,
    )


def _verdict(errors: Sequence[Layer2Error]) -> tuple[Layer2Error | None, ExitStatus | None]:
    """The most urgent error: one that needs a person comes before one that may end by itself."""
    if not errors:
        return None, None
    needing = [error for error in errors if not isinstance(error, NodeUnreachable)]
    return (needing[0], ExitStatus.ACTION_NEEDED) if needing else (errors[0], ExitStatus.UNREACHABLE)


async def examine(config: LayerSettings, clock: Clock | None = None) -> list[Finding]:
    """Check everything concurrently. A part that cannot be reached does not hide the others."""
    clock = SystemClock() if clock is None else clock
    findings = [*_keys(config), *await _journal(config, clock)]
    layers, others, workers = await asyncio.gather(
        asyncio.gather(*(diagnose_layer(layer, config, clock) for layer in config.layers)),
        _providers(config),
        _workers(config),
    )
    findings += workers
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
            read_key(path, name)
        except SignerError as error:
            findings.append(failed(name, error, _key_remedy(name, path, config)))
        else:
            findings.append(Finding(Level.OK, name, f"{path}, readable only by you"))
    for name, field, path in named_files(config):
        if field == "macaroon_file" and path.is_file() and open_to_others(path):
            findings.append(Finding(Level.WARN, name, f"other users can read {path}", f"run: chmod 600 {path}"))
    return findings


def _key_remedy(name: str, path: Path, config: LayerSettings) -> str:
    bitcoin = config.layers.get(Layer2ProtocolType.BITCOIN)
    if not name.endswith(" seed_file") or not isinstance(bitcoin, BitcoinSection):
        return "restore it from your backup"
    return lost_seed_remedy(path, config, None if bitcoin.wallet_file is None else Path(bitcoin.wallet_file))


async def _journal(config: LayerSettings, clock: Clock) -> list[Finding]:
    place = journal_place(config)
    try:
        async with existing_journal(place) as journal:
            known, records = await journal.owners(), await journal.list(open_only=True)
        conflicts = owner_conflicts(known, configured_owners(config))
    except Layer2Error as error:
        if error.code == "no_journal":
            return [_missing_journal(place, register_place(config))]
        return [failed("journal", error, "the disk must be writable, and the key files readable")]
    holders = guard_holders(place)
    findings = [Finding(Level.OK, "journal", str(place))]
    if register_place(config) is None:
        text = f"{place} has no register, so an old copy of it, as after a fail-over, is not found"
        remedy = "set journal.register_url or register_file"
        if holders is not None and holders.are_workers:
            remedy = "workers cannot use a register: let the server replicate synchronously"
        findings.append(Finding(Level.WARN, "journal register", text, remedy))
    findings += [failed("journal owner", each, "correct the configuration") for each in conflicts]
    if holders is not None and is_stopped(holders):
        busy = JournalBusy(f"{holders} has the journal and is stopped, so no open transfer continues")
        findings.append(failed("journal guard", busy, f"let it continue: kill -CONT {holders.processes[0]}; or end it"))
    elif holders is not None:
        findings.append(Finding(Level.OK, "journal guard", f"{holders} drive{'s' * holders.is_one} the transfers"))
    return findings + _open_transfers(records, config, clock.now(), is_driven=holders is not None)


def _missing_journal(place: JournalPlace, register: JournalPlace | None) -> Finding:
    if register is None or register.path is None or not register.exists():
        return Finding(Level.OK, "journal", f"{place} does not exist yet; the first transfer creates it")
    lost = JournalError(f"there is no journal {place}, and its register {register} exists", code="no_journal")
    return failed("journal", lost, "if the journal was lost: layer2 restore; if it is not needed, delete its register")


def _open_transfers(
    records: Sequence[SwapRecord], config: LayerSettings, now: float, *, is_driven: bool
) -> list[Finding]:
    """How many are open, the nearest deadline, and what needs a person."""
    is_taker = isinstance(config, Layer2Config)
    subject, other = ("transfers", "the provider") if is_taker else ("swaps", "the taker")
    if not records:
        return [Finding(Level.OK, subject, "none is open")]
    rules = settings_for(config.network)
    deadlines = []
    for record in records:
        view = outlook_of(record, rules)
        if view.deadline is not None:
            deadlines.append((view.deadline, view.next_actor, record.swap_id))
    text, is_near = f"{len(records)} open", False
    if deadlines:
        deadline, actor, swap_id = min(deadlines, key=lambda each: each[0])
        text += f"; the nearest deadline is that of {swap_id}: {due(actor, deadline, now, other=other)}"
        is_near = any(when - now < _NEAR for when, actor, _ in deadlines if actor is Actor.YOU)
    remedy = "see them: layer2 list --open"
    if not is_driven:
        text += "; no process drives them"
        remedy = "before the deadline: layer2 resume" if is_taker else "before the deadline: layer2 provider serve"
    findings = [
        Finding(Level.WARN, subject, text, remedy) if is_near or not is_driven else Finding(Level.OK, subject, text)
    ]
    return findings + [
        Finding(Level.WARN, f"{subject[:-1]} {each.swap_id}", each.attention, "see it: layer2 list --open")
        for each in records
        if each.attention is not None
    ]


async def _workers(config: LayerSettings) -> list[Finding]:
    """Whether workers carry out the swaps, if the configuration has the table [temporal]."""
    section = _temporal(config)
    if section is None:
        return []
    try:
        with needing_temporal():
            from layer2.workers.connection import Temporal
        found = await (await Temporal.connect(section)).workers()
    except Layer2Error as error:
        return [failed("temporal", error, "check [temporal]")]
    answers = Finding(Level.OK, "temporal", f"the server at {section.address} answers")
    if not found:
        text = f"none has asked the queue {section.task_queue} for turns in the last minutes, so no swap continues"
        return [answers, Finding(Level.WARN, "workers", text, "start one: layer2 worker")]
    return [answers, Finding(Level.OK, "workers", f"{len(found)} asked for turns in the last minutes")]


def _temporal(config: LayerSettings) -> TemporalSection | None:
    """The table [temporal]. A provider whose configuration sets nothing in it may use no workers: a new file has it."""
    if isinstance(config, Layer2Config):
        return config.temporal
    from layer2.provider.settings import ProviderSettings

    assert isinstance(config, ProviderSettings)
    return config.temporal if config.temporal.model_fields_set else None


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
        client = open_provider(section, config.connection_pool, config.default_timeout_ms)
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
        for each in bounds(config, offers, config.timelocks)
    ]
