"""Looking at the node, key and balance of each layer that is configured. What differs by the kind of a layer is here.

Every finding names what is to be done, where something is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from layer2.assembly import open_client
from layer2.cli.wording import amount_of, duration, sat
from layer2.config import EvmSection, LayerSection, LayerSettings
from layer2.errors import BadAnswer, InsufficientFunds, Layer2Error
from layer2.legs.views import ClockReading
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance
from layer2.ports.clock import Clock
from layer2.ports.journal import SendRecord, SendRecords
from layer2.protocols.evm.locks.deployment import check_htlc
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.lightning import Hold, LightningNetwork

__all__ = ["Finding", "Level", "NothingSent", "diagnose_layer", "failed"]

_LITTLE_GAS = 10**14
"""Wei: about what a lock and a refund cost when a chain is busy; below it a transfer may not be finished."""
_CLOCK_REMEDY = "wait until the node is synced, and set its clock and this machine's by NTP"
_Balances: TypeAlias = Mapping[AssetId, Balance]


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


def failed(subject: str, error: Layer2Error, remedy: str) -> Finding:
    """A finding that is FAIL, with the error's own remedy where it has one."""
    return Finding(Level.FAIL, subject, f"[{error.code}] {error.message}", error.remedy or remedy, error)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the looks of a kind are given."""

    name: str
    client: Any
    section: LayerSection
    config: LayerSettings
    balances: _Balances
    reading: ClockReading | None
    """None where the clocks could not be read."""
    clock: Clock


async def diagnose_layer(layer: Layer2ProtocolType, config: LayerSettings, clock: Clock) -> list[Finding]:
    """Look at one layer. Nothing is sent, and nothing is written to the journal."""
    name, section = layer.value, config.layers[layer]
    table = f"[{name.lower()}]"
    try:
        client = open_client(config, layer, NothingSent(), clock)
    except Layer2Error as error:
        return [failed(f"{name} settings", error, f"correct {table}")]
    findings: list[Finding] = []
    try:
        await client.initialize_async()
        address = await client.receive_address_async()
        findings.append(Finding(Level.OK, f"{name} node", f"on {config.network}; you are {address}"))
        reading: ClockReading | None = None
        try:
            reading = await client.legs.read_clock()
            findings.append(Finding(Level.OK, f"{name} clock", f"agrees with this machine's; height {reading.height}"))
        except Layer2Error as error:
            findings.append(failed(f"{name} clock", error, _CLOCK_REMEDY))
        looked = _Looked(name, client, section, config, await client.balances_async(), reading, clock)
        for look in _LOOKS.get(LAYERS[layer].kind, ()):
            findings += await look(looked)
    except Layer2Error as error:
        findings.append(failed(f"{name} node", error, f"is the node running, and is {table} right?"))
    finally:
        await client.aclose()
    return findings


# Layers on which swaps are locks of a contract, with deadlines in the chain's own time.


async def _chain_time(looked: _Looked) -> list[Finding]:
    """What the newest block states may be ahead although the node's own clock is right. One that is too old is refused
    with the clock."""
    if looked.reading is None:
        return []
    subject, settings = f"{looked.name} chain time", looked.client.settings
    ahead = int(looked.reading.chain_time - looked.clock.now())
    if ahead > settings.max_tip_ahead:
        error = BadAnswer(
            f"it is {duration(ahead)} ahead of this machine's clock; at most {duration(settings.max_tip_ahead)} are "
            "allowed, and no transfer begins",
            code="chain_ahead",
        )
        remedy = "set this machine's clock by NTP; where it is right, wait until the chain's time is reached"
        return [failed(subject, error, remedy)]
    where = "agrees with" if abs(ahead) < 2 else f"{duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'}"
    return [Finding(Level.OK, subject, f"{where} this machine's clock")]


async def _contract(looked: _Looked) -> list[Finding]:
    section, config, subject = looked.section, looked.config, f"{looked.name} contract"
    assert isinstance(section, EvmSection)
    pool, seconds = config.connection_pool.settings(), config.default_timeout_ms / 1000
    rpc = JsonRpc(section.rpc_url, protocol=looked.name, pool=pool, timeout=seconds)
    try:
        async with aclosing(rpc):
            await check_htlc(EvmNode(rpc, looked.name))
    except Layer2Error as error:
        return [failed(subject, error, "is this the right chain? the contract is not there")]
    return [Finding(Level.OK, subject, "deployed, and the chain computes what it needs")]


async def _account(looked: _Looked) -> list[Finding]:
    name, section = looked.name, looked.section
    assert isinstance(section, EvmSection)
    bitcoin = looked.balances[BTC].spendable
    findings = [
        Finding(Level.OK, f"{name} balance", f"{sat(bitcoin)} of the token {section.token_address}")
        if bitcoin
        else Finding(
            Level.WARN, f"{name} balance", "nothing to send from here", "send bitcoin to the account, or receive first"
        )
    ]
    gas = next((asset for asset in looked.balances if asset != BTC), None)
    if gas is not None:
        findings.append(await _gas(looked, gas))
    if section.native_price_sat is None:
        text = "native_price_sat is not set: there is no estimate of network costs, so every transfer needs --max-fee"
        findings.append(Finding(Level.WARN, f"{name} price", text, f"set native_price_sat in [{name.lower()}]"))
    return findings


async def _gas(looked: _Looked, coin: AssetId) -> Finding:
    owned, subject = looked.balances[coin].spendable, f"{looked.name} gas"
    if owned >= _LITTLE_GAS:
        return Finding(Level.OK, subject, amount_of(coin, owned))
    account = await looked.client.receive_address_async()
    text = f"{account} has {amount_of(coin, owned)}; a lock and a refund may cost {amount_of(coin, _LITTLE_GAS)}"
    remedy = f"send {coin.code} on {looked.name} to {account}"
    return Finding(Level.FAIL, subject, text, remedy, InsufficientFunds(text, code="gas", remedy=remedy))


# Layers on which swaps are payments through channels.


async def _liquidity(looked: _Looked) -> list[Finding]:
    name, balance = looked.name, looked.balances[BTC]
    findings = []
    for subject, amount, without in (
        ("outbound", balance.spendable, f"open a channel, or receive first, to move away from {name}"),
        ("inbound", balance.receivable or 0, f"get a channel from others, or spend, to move to {name}"),
    ):
        level = Level.OK if amount else Level.WARN
        findings.append(Finding(level, f"{name} {subject}", sat(amount), None if amount else without))
    return findings


async def _holds(looked: _Looked) -> list[Finding]:
    client = looked.client
    assert isinstance(client, LightningNetwork)
    holds: Sequence[Hold] = await client.holds_async()
    near = [hold for hold in holds if hold.is_near_expiry]
    if not near:
        return []
    text = f"{len(near)} of {len(holds)} held payments end soon, the first in {near[0].blocks_left} blocks"
    remedy = "settle or cancel them, before the node gives them back"
    return [Finding(Level.WARN, f"{looked.name} holds", text, remedy)]


_Look: TypeAlias = Callable[[_Looked], Awaitable[list[Finding]]]
_LOOKS: Final[Mapping[str, tuple[_Look, ...]]] = MappingProxyType(
    {"evm": (_chain_time, _contract, _account), "lightning": (_liquidity, _holds)}
)
"""What is looked at besides node, clock and address, by the kind of the layer."""


class NothingSent(SendRecords):
    """No record of sends: whoever looks sends nothing."""

    async def add_send(self, record: SendRecord) -> SendRecord:
        raise AssertionError("a diagnosis sends nothing")

    async def find_send(self, protocol: str, idempotency_key: str) -> SendRecord | None:
        return None

    async def find_send_of(self, protocol: str, tx_id: str) -> SendRecord | None:
        return None
