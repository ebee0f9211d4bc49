"""Checks Bitcoin's sources before the client is opened, and then the wallet's coins. It sends nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final
from urllib.parse import urlsplit

from layer2.cli.findings import Finding, Level, failed
from layer2.cli.wording import duration, sat
from layer2.config import BitcoinSection
from layer2.errors import Layer2Error, NodeUnreachable
from layer2.formats.bitcoin_block import decode_header
from layer2.formats.bitcoin_transaction import OutPoint
from layer2.model.money import Balance
from layer2.ports.clock import Clock
from layer2.protocols.bitcoin.fees import target_blocks
from layer2.protocols.bitcoin.source.json_rpc import BitcoinRpc
from layer2.protocols.bitcoin.source.node_facts import NodeFacts, read_node_facts
from layer2.protocols.bitcoin.source.opening import open_source
from layer2.protocols.bitcoin.source.port import ChainSource

__all__ = ["coin_findings", "source_findings"]

_NAME: Final = "BITCOIN"
_OLD_TIP: Final = 7200
"""Seconds. A newest block that old happens by chance about once in half a year."""
_CONNECT_SECONDS: Final = 5.0
_FUNDING_TARGET: Final = 2
"""The blocks within which a funding should be confirmed."""
_MOST_HELD: Final = 200


async def source_findings(section: BitcoinSection, clock: Clock) -> list[Finding]:
    """What the sources state about themselves, what they are trusted with, and what was not tried with them."""
    findings = [_trust(section)]
    try:
        async with aclosing(open_source(section)) as source:
            findings += await _tip(source, clock)
            findings += await _node(section, source)
            findings.append(await _estimate(section, source))
    except Layer2Error as error:
        findings.append(failed(f"{_NAME} source", error, "check that the node runs, and check [bitcoin]"))
    return [*findings, *await _filter_peer(section)]


def _trust(section: BitcoinSection) -> Finding:
    if section.esplora_url is not None:
        host = urlsplit(section.esplora_url).hostname
        text = f"Esplora at {host} serves everything; it can hide or delay blocks and payments, and lie about fees"
        return Finding(Level.OK, f"{_NAME} trust", f"{text}; it cannot forge signatures or work")
    host = urlsplit(section.rpc_url or "").hostname
    text = f"your node at {host} serves chain, mempool, broadcast and fees; the peer {section.filter_peer} serves the"
    return Finding(Level.OK, f"{_NAME} trust", f"{text} wallet's blocks, and can withhold but not invent them")


async def _tip(source: ChainSource, clock: Clock) -> list[Finding]:
    tip = await source.tip()
    age = int(clock.now() - decode_header(await source.header(tip.hash)).time)
    text = f"height {tip.height}, {duration(age)} old" if age > 0 else f"height {tip.height}"
    if age <= _OLD_TIP:
        return [Finding(Level.OK, f"{_NAME} tip", text)]
    return [Finding(Level.WARN, f"{_NAME} tip", text, "wait until the node is synced; check its connections")]


async def _node(section: BitcoinSection, source: ChainSource) -> list[Finding]:
    if not isinstance(source, BitcoinRpc):
        return [_untested("public Esplora servers", "Esplora's interface was tried with simnet only")]
    facts = await read_node_facts(source)
    findings = [_sync(facts), _pruning(facts), _index(facts)]
    if facts.least_rate is not None:
        findings.append(_mempool(facts.least_rate, section.max_fee_rate))
    if "btcd" in facts.program:
        return [*findings, Finding(Level.OK, f"{_NAME} tried with", f"{facts.program}: btcd was tried, on regtest")]
    return [*findings, _untested("Bitcoin Core", f"the node is {facts.program}; JSON-RPC was tried with btcd only")]


def _sync(facts: NodeFacts) -> Finding:
    if facts.is_syncing:
        text = "the node is behind the chain: it has headers of blocks that it has not read"
        return Finding(Level.WARN, f"{_NAME} sync", text, "wait until the node is synced")
    return Finding(Level.OK, f"{_NAME} sync", "the node has read every block whose header it has")


def _pruning(facts: NodeFacts) -> Finding:
    if not facts.lacks_below:
        return Finding(Level.OK, f"{_NAME} blocks", "the node has all blocks; it is not pruned")
    text = f"the node is pruned: it lacks the blocks below height {facts.lacks_below}; a transfer that needs one stops"
    return Finding(Level.WARN, f"{_NAME} blocks", text, "use a node that is not pruned, or esplora_url")


def _index(facts: NodeFacts) -> Finding:
    if facts.has_txindex:
        return Finding(Level.OK, f"{_NAME} txindex", "the node finds transactions by their id")
    text = "the node has no index of transactions, which rpc_url needs"
    return Finding(Level.WARN, f"{_NAME} txindex", text, "start the node with txindex=1, and let it build the index")


def _mempool(least: int, most: int) -> Finding:
    if least <= most:
        return Finding(Level.OK, f"{_NAME} mempool", f"it accepts {_rate(least)} and more")
    text = f"it accepts nothing below {_rate(least)}, and max_fee_rate is {_rate(most)}: no send and no funding starts"
    return Finding(Level.WARN, f"{_NAME} mempool", text, "wait, or raise max_fee_rate in [bitcoin]")


def _untested(what: str, how: str) -> Finding:
    text = f"{what} were not tried with a live peer: {how}" if what.endswith("s") else f"{what} was not tried: {how}"
    return Finding(Level.WARN, f"{_NAME} not verified", text, "begin with amounts that you can lose")


async def _estimate(section: BitcoinSection, source: ChainSource) -> Finding:
    subject, most = f"{_NAME} fees", section.max_fee_rate
    soon, later = await source.fee_rate(_FUNDING_TARGET), await source.fee_rate(target_blocks(1_000))
    text = f"{_rate(soon)} for 2 blocks, {_rate(later)} for 6; max_fee_rate is {_rate(most)}"
    if soon <= most:
        return Finding(Level.OK, subject, text)
    text += ": no send and no funding starts; claims and refunds are not limited"
    return Finding(Level.WARN, subject, text, "wait, or raise max_fee_rate in [bitcoin]")


async def _filter_peer(section: BitcoinSection) -> list[Finding]:
    if section.filter_peer is None:
        return []
    subject, (host, _, port) = f"{_NAME} filter peer", section.filter_peer.rpartition(":")
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError, ValueError):
        error = NodeUnreachable(f"{section.filter_peer} accepts no connection", protocol=_NAME)
        return [
            failed(subject, error, "start the peer with compact filters (Core: blockfilterindex=1, peerblockfilters=1)")
        ]
    writer.close()
    return [Finding(Level.OK, subject, f"{section.filter_peer} accepts connections; it shows no mempool")]


async def coin_findings(
    section: BitcoinSection, balance: Balance, address: str, held: Mapping[str, str]
) -> list[Finding]:
    """The coins that are free, and those that swaps and sends hold.

    Args:
        held: the holder of each held coin, from the journal.
    """
    subject = f"{_NAME} coins"
    if balance.spendable:
        findings = [Finding(Level.OK, subject, f"{sat(balance.spendable)} confirmed and free")]
    else:
        text = "the wallet has no confirmed coin that is free, so nothing can be sent from BITCOIN"
        findings = [Finding(Level.WARN, subject, text, f"send bitcoin to {address}, or receive a transfer first")]
    if held:
        findings.append(Finding(Level.OK, f"{_NAME} held", await _held(section, held)))
    return findings


async def _held(section: BitcoinSection, held: Mapping[str, str]) -> str:
    kinds = Counter(holder.partition(":")[0] for holder in held.values())
    text = ", ".join(f"{count} for {kind}s" for kind, count in sorted(kinds.items()))
    coins = "1 coin" if len(held) == 1 else f"{len(held)} coins"
    if len(held) > _MOST_HELD:
        return f"{coins}: {text}"
    amount = 0
    async with aclosing(open_source(section)) as source:
        for coin in held:
            point = OutPoint.read(coin)
            found = await source.find(point.tx_hash)
            amount += 0 if found is None else found.transaction.outputs[point.index].amount
    return f"{sat(amount)} in {coins}: {text}"


def _rate(rate: int) -> str:
    """``1.5 sat/vB``"""
    return f"{rate / 1_000:g} sat/vB"
