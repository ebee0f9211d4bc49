"""Checks the node, the clock and the balance of one configured layer. The checks differ by the kind of the layer.

Every finding that is not OK names its remedy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from layer2.assembly import journal_place, reading_client
from layer2.cli.bitcoin_diagnosis import coin_findings, source_findings
from layer2.cli.findings import Finding, Level, failed
from layer2.cli.journal_reading import held_coins
from layer2.cli.wording import amount_of, duration, sat
from layer2.config import BitcoinSection, EvmSection, LayerSettings, RootstockSection
from layer2.errors import BadAnswer, InsufficientFunds, Layer2Error
from layer2.formats.evm_address import to_checksum
from layer2.legs.leg import LegOffer
from layer2.legs.views import ClockReading
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance
from layer2.net.client_settings import ClientSettings
from layer2.ports.client import Client
from layer2.ports.clock import Clock
from layer2.protocols.evm.locks.deployment import check_htlc
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.lightning import Hold, LightningNetwork

__all__ = ["Diagnosis", "diagnose_layer"]

_LITTLE_GAS = 10**14
"""Wei: about the cost of a lock and a refund on a busy chain. With less, a transfer may not be completed."""
_CLOCK_REMEDY = "wait until the node is synced; set its clock and this machine's clock by NTP"
_Balances: TypeAlias = Mapping[AssetId, Balance]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings of one layer, and its offer for swaps if its node could be used."""

    layer: Layer2ProtocolType
    findings: list[Finding]
    offer: LegOffer | None = None


@dataclass(frozen=True, slots=True)
class _Looked:
    """The arguments of the checks of a kind of layer."""

    name: str
    client: Client
    section: ClientSettings
    address: str
    balances: _Balances
    reading: ClockReading | None
    """None if the clocks could not be read."""
    clock: Clock
    held: Mapping[str, str]
    """The holder of each coin that the journal holds on this layer."""


async def diagnose_layer(layer: Layer2ProtocolType, config: LayerSettings, clock: Clock) -> Diagnosis:
    """Check one layer. It sends nothing, and does not write to the journal."""
    name = layer.value
    try:
        held = await held_coins(journal_place(config), name)
    except Layer2Error:
        # The check of the journal reports it.
        held = {}
    try:
        async with reading_client(config, layer, clock, held) as client:
            return await _diagnosed(layer, config, client, clock, held)
    except Layer2Error as error:
        return Diagnosis(layer, [failed(f"{name} settings", error, f"correct [{name.lower()}]")])


async def _diagnosed(
    layer: Layer2ProtocolType, config: LayerSettings, client: Client, clock: Clock, held: Mapping[str, str]
) -> Diagnosis:
    name, section = layer.value, config.layers[layer]
    findings = await source_findings(section, clock) if isinstance(section, BitcoinSection) else []
    offer: LegOffer | None = None
    try:
        await client.initialize_async()
        offer = await client.legs.leg_offer()
        address = await client.receive_address_async()
        findings.append(Finding(Level.OK, f"{name} node", f"on {config.network}; your address is {address}"))
        reading: ClockReading | None = None
        try:
            reading = await client.legs.read_clock()
            findings.append(
                Finding(Level.OK, f"{name} clock", f"agrees with this machine's clock; height {reading.height}")
            )
        except Layer2Error as error:
            findings.append(failed(f"{name} clock", error, _CLOCK_REMEDY))
        looked = _Looked(name, client, section, address, await client.balances_async(), reading, clock, held)
        for look in _LOOKS.get(LAYERS[layer].kind, ()):
            findings += await look(looked)
    except Layer2Error as error:
        findings.append(failed(f"{name} node", error, f"check that the node runs, and check [{name.lower()}]"))
    return Diagnosis(layer, findings, offer)


# EVM layers: swaps are locks in a contract, with deadlines in the chain's time.


async def _chain_time(looked: _Looked) -> list[Finding]:
    """The time of the newest block can be ahead although the node's clock is right. One that is too old fails the
    check of the clock."""
    if looked.reading is None:
        return []
    subject, section = f"{looked.name} chain time", looked.section
    assert isinstance(section, EvmSection)
    ahead = int(looked.reading.chain_time - looked.clock.now())
    if ahead > section.max_ahead_seconds:
        error = BadAnswer(
            f"it is {duration(ahead)} ahead of this machine's clock; at most {duration(section.max_ahead_seconds)} "
            "are allowed, so no transfer starts",
            code="chain_ahead",
        )
        remedy = "set this machine's clock by NTP; if it is right, wait until it reaches the chain's time"
        return [failed(subject, error, remedy)]
    where = "agrees with" if abs(ahead) < 2 else f"{duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'}"
    return [Finding(Level.OK, subject, f"{where} this machine's clock")]


async def _contract(looked: _Looked) -> list[Finding]:
    section, subject = looked.section, f"{looked.name} contract"
    assert isinstance(section, EvmSection)
    pool, seconds = section.connection_pool, section.default_timeout
    rpc = JsonRpc(section.rpc_url, protocol=looked.name, pool=pool, timeout=seconds)
    try:
        async with aclosing(rpc):
            await check_htlc(EvmNode(rpc, looked.name), section.asset.contract, section.chain_id)
    except Layer2Error as error:
        return [failed(subject, error, "check the chain; the contract is not deployed there")]
    return [Finding(Level.OK, subject, "deployed, and the chain supports it")]


async def _account(looked: _Looked) -> list[Finding]:
    name, section = looked.name, looked.section
    assert isinstance(section, EvmSection)
    bitcoin, asset = looked.balances[BTC].spendable, section.asset
    of_token = "" if asset.is_native else f" of the token {to_checksum(asset.token)}"
    findings = [
        Finding(Level.OK, f"{name} balance", sat(bitcoin) + of_token)
        if bitcoin
        else Finding(Level.WARN, f"{name} balance", "0 sat", "send bitcoin to the account, or receive a transfer first")
    ]
    gas = next((asset for asset in looked.balances if asset != BTC), None)
    if gas is not None:
        findings.append(await _gas(looked, gas))
    if isinstance(section, RootstockSection):
        text = "no Rootstock node was tried: this client was tested with simnet and op-geth only"
        findings.append(Finding(Level.WARN, f"{name} not verified", text, "begin with amounts that you can lose"))
    if asset.coin_price_sat is None:
        text = "native_price_sat is not set: network costs cannot be estimated, so every transfer needs --max-fee"
        findings.append(Finding(Level.WARN, f"{name} price", text, f"set native_price_sat in [{name.lower()}]"))
    return findings


async def _finality(looked: _Looked) -> list[Finding]:
    section, subject = looked.section, f"{looked.name} finality"
    assert isinstance(section, EvmSection)
    depths = section.facts().depths
    if depths is None:
        return []
    text = f"by depth: {depths.safe} blocks for safe, {depths.final} for finalized; these depths are assumptions"
    if section.network == "regtest":
        return [Finding(Level.OK, subject, text)]
    remedy = "read docs/design/rootstock.md, begin with small amounts, and raise the depths for large ones"
    return [Finding(Level.WARN, subject, text, remedy)]


async def _gas(looked: _Looked, coin: AssetId) -> Finding:
    owned, subject = looked.balances[coin].spendable, f"{looked.name} gas"
    if owned >= _LITTLE_GAS:
        return Finding(Level.OK, subject, amount_of(coin, owned))
    account = await looked.client.receive_address_async()
    text = f"{account} has {amount_of(coin, owned)}; a lock and a refund may cost {amount_of(coin, _LITTLE_GAS)}"
    remedy = f"send {coin.code} on {looked.name} to {account}"
    return Finding(Level.FAIL, subject, text, remedy, InsufficientFunds(text, code="gas", remedy=remedy))


# Lightning: swaps are payments through channels.


async def _liquidity(looked: _Looked) -> list[Finding]:
    name, balance = looked.name, looked.balances[BTC]
    findings = []
    for subject, amount, without in (
        ("outbound", balance.spendable, f"open a channel, or receive first, to move bitcoin from {name}"),
        ("inbound", balance.receivable or 0, f"have a channel opened to you, or spend, to move bitcoin to {name}"),
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
    text = f"{len(near)} of {len(holds)} held payments expire soon, the first in {near[0].blocks_left} blocks"
    remedy = "settle or cancel them before they expire and the node returns them"
    return [Finding(Level.WARN, f"{looked.name} holds", text, remedy)]


# Bitcoin: swaps are outputs, which the wallet's coins fund.


async def _coins(looked: _Looked) -> list[Finding]:
    assert isinstance(looked.section, BitcoinSection)
    return await coin_findings(looked.section, looked.balances[BTC], looked.address, looked.held)


_Look: TypeAlias = Callable[[_Looked], Awaitable[list[Finding]]]
_LOOKS: Final[Mapping[str, tuple[_Look, ...]]] = MappingProxyType(
    {
        "evm": (_chain_time, _contract, _finality, _account),
        "lightning": (_liquidity, _holds),
        "bitcoin": (_coins,),
    }
)
"""The checks after node, clock and address, by the kind of the layer."""
