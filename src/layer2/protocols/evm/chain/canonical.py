"""Whether a node's chain contains the block of evidence, and the headers from that block to a later one."""

from __future__ import annotations

import asyncio

from layer2.errors import FormatError, InvalidRequest, ProofRefused, ProofUndecided
from layer2.legs.chain_header import reader_after
from layer2.legs.evidence import EvmEvidence
from layer2.legs.lock_evidence import block_of, included_block
from layer2.legs.shown import BlockRef
from layer2.model.transactions import Finality
from layer2.proofs.header_chain import MAX_HEADERS, check_ancestor
from layer2.protocols.evm.chain.heads import HeadWatcher
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.rpc.node_answers import NodeBlock

__all__ = ["header_chain", "is_canonical"]

_HEADERS_AT_ONCE = 500
_LARGEST_HEIGHT = (1 << 63) - 1
"""Nodes refuse a larger one, and a refusal is no answer about the chain."""


async def header_chain(
    node: EvmNode, watcher: HeadWatcher, evidence: EvmEvidence, until: Finality
) -> tuple[bytes, ...]:
    """The headers from the block after the evidence up to one of the node's heads, as nodes write them, oldest first.

    Raises:
        InvalidRequest: the evidence has no valid header, or the chain of headers would be too long.
        ProofUndecided: the evidence's block is not, or not yet, an ancestor of that head.
    """
    try:
        own = block_of(evidence)
    except FormatError as error:
        raise InvalidRequest(f"the evidence has no valid header: {error.message}") from error
    head = (await watcher.read()).at(until)
    if head.number - own.number > MAX_HEADERS:
        raise InvalidRequest(f"the chain would have {head.number - own.number} headers, the limit is {MAX_HEADERS}")
    headers: list[bytes] = []
    # The first request shows a block of another chain. Without it, a forged header costs a request for each block.
    at_its_height = await node.block(own.number) if own.number <= head.number else None
    if at_its_height is None or at_its_height.hash != own.hash:
        raise _no_ancestor(own, head, until)
    for first in range(own.number + 1, head.number + 1, _HEADERS_AT_ONCE):
        heights = range(first, min(first + _HEADERS_AT_ONCE, head.number + 1))
        blocks = await asyncio.gather(*[node.block(height) for height in heights])
        headers += [block.header.encode() for block in blocks if block is not None]
    try:
        check_ancestor(own, headers, head.hash, reader_after(evidence))
    except ProofRefused as error:
        raise _no_ancestor(own, head, until) from error
    return tuple(headers)


def _no_ancestor(own: BlockRef, head: NodeBlock, until: Finality) -> ProofUndecided:
    return ProofUndecided(
        f"block {own.number} of the evidence is not, or not yet, an ancestor of the node's {until.value} head "
        f"{head.number}; the chain may have been reorganised"
    )


async def is_canonical(
    node: EvmNode, watcher: HeadWatcher, evidence: EvmEvidence, contract: bytes, finality: Finality
) -> bool:
    """Whether evidence of a lock's end is valid and its block is on the node's chain with that finality.

    Raises:
        ProofUndecided: the block does not have that finality yet, or the node's chain does not reach it.
    """
    try:
        own = included_block(evidence, contract)
    except ProofRefused:
        return False
    await watcher.read()
    if own.number > _LARGEST_HEIGHT:
        raise ProofUndecided("the node's chain does not reach the evidence's block yet")
    # One batch reads the block and the heads, so one node answers: another node behind the same address may follow an
    # abandoned branch.
    (head, finalized), (block,) = await node.heads.heads([finality, Finality.FINALIZED], [own.number])
    if block is None:
        raise ProofUndecided("the node's chain does not reach the evidence's block yet")
    if block.hash == own.hash:
        if own.number <= head.number:
            return True
        raise ProofUndecided(f"the evidence's block is on the chain, but not {finality.value} yet")
    if own.number <= finalized.number:
        return False
    raise ProofUndecided("the node has another block at this height, but it is not finalized yet")
