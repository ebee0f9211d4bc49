"""What a node states about itself, for people who examine it. No rule of money depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.errors import NodeRefused
from layer2.formats.bitcoin_block import decode_block
from layer2.formats.canonical_json import JsonValue
from layer2.formats.printable import printable
from layer2.protocols.bitcoin.source.json_rpc import BitcoinRpc

__all__ = ["NodeFacts", "read_node_facts"]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node that is asked by JSON-RPC."""

    program: str
    """Its name and version, as it states them."""
    is_syncing: bool
    """It is behind the chain, or has headers of blocks that it lacks."""
    lacks_below: int
    """Blocks below this height are pruned; 0 if it has all."""
    has_txindex: bool
    """It finds the transaction of an old block by its id."""
    least_rate: int | None
    """Satoshi per 1,000 virtual bytes below which its mempool accepts nothing; None if it does not state that."""


async def read_node_facts(node: BitcoinRpc) -> NodeFacts:
    """Ask the node. Bitcoin Core and btcd state different things.

    Raises:
        NodeError: it cannot be read.
    """
    chain = _fields(await node.call("getblockchaininfo"))
    blocks, headers = _number(chain, "blocks"), _number(chain, "headers")
    lacks = _number(chain, "pruneheight") if chain.get("pruned") is True else 0
    memory = _fields(await node.call("getmempoolinfo"))
    floor = memory.get("mempoolminfee")
    return NodeFacts(
        program=await _program(node),
        is_syncing=chain.get("initialblockdownload") is True or headers > blocks,
        lacks_below=lacks,
        # Core refuses an index on a pruned node.
        has_txindex=not lacks and await _finds_by_id(node),
        least_rate=round(floor * 10**8) if isinstance(floor, int | float) else None,
    )


async def _program(node: BitcoinRpc) -> str:
    named = _fields(await node.call("getnetworkinfo")).get("subversion")
    if isinstance(named, str):
        return printable(named[:60]).strip("/")
    versions = _fields(await node.call("version"))
    stated = _fields(versions.get("btcdjsonrpcapi")).get("versionstring")
    return f"btcd (JSON-RPC {printable(str(stated)[:20])})" if stated is not None else "an unknown node"


async def _finds_by_id(node: BitcoinRpc) -> bool:
    first = await node.block_hash(1)
    if first is None:
        return True
    try:
        return await node.find(decode_block(await node.block(first)).transactions[0].hash) is not None
    except NodeRefused:
        return False


def _fields(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _number(fields: dict[str, JsonValue], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) else 0
