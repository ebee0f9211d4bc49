"""Evidence from receipts: making it from a node's answers, and asking whether it is canonical at a node."""

from __future__ import annotations

from layer2.errors import BadAnswer, FormatError, ProofRefused, ProofUndecided
from layer2.formats import merkle_patricia
from layer2.formats.evm_receipt import receipt_from_rpc
from layer2.layers import Layer2ProtocolType
from layer2.proofs.evidence import EvmReceiptEvidence
from layer2.proofs.evm_receipt import read_event
from layer2.protocols.evm.heads import HeadWatcher
from layer2.protocols.evm.node import EvmNode, FoundLog
from layer2.transactions import Finality

__all__ = ["is_canonical", "receipt_evidence"]


async def receipt_evidence(node: EvmNode, protocol: Layer2ProtocolType, found: FoundLog) -> EvmReceiptEvidence:
    """Build the evidence of one log: the block's trie of receipts anew, and the way through it.

    Raises:
        BadAnswer: the receipts do not give the header's receiptsRoot, or the log is not among them; or the
            block is gone, in a reorganisation (retryable).
    """
    block = await node.block(found.block_hash)
    receipts = await node.block_receipts(found.block_hash)
    if block is None or receipts is None:
        raise BadAnswer("the block of the log is not on the chain any more", protocol=protocol.value, retryable=True)
    try:
        decoded = [receipt_from_rpc(receipt) for receipt in receipts]
    except FormatError as error:
        raise BadAnswer(f"a receipt of the block: {error.message}", protocol=protocol.value) from error
    encoded = [receipt.encode() for receipt in decoded]
    if merkle_patricia.trie_root(encoded) != block.header.receipts_root:
        raise BadAnswer("the block's receipts do not give its receiptsRoot", protocol=protocol.value)
    tx_id = "0x" + found.tx_hash.hex()
    for index, (receipt, written) in enumerate(zip(decoded, receipts, strict=True)):
        if written.get("transactionHash") == tx_id and found.log in receipt.logs:
            return EvmReceiptEvidence(
                protocol=protocol,
                header=block.header.encode(),
                transaction_index=index,
                receipt_proof=merkle_patricia.prove(encoded, index),
                log_index=receipt.logs.index(found.log),
            )
    raise BadAnswer("the log that the node gave is not in the receipts of its block", protocol=protocol.value)


async def is_canonical(
    node: EvmNode, watcher: HeadWatcher, evidence: EvmReceiptEvidence, contract: bytes, finality: Finality
) -> bool:
    """Whether evidence of a lock's end holds and its block is on the node's chain at that finality.

    Raises:
        ProofUndecided: its block is not that final yet, or the node's chain does not reach it.
    """
    try:
        header = read_event(evidence, contract).header
    except ProofRefused:
        return False
    heads = await watcher.read()
    block = await node.block(header.number)
    if block is None:
        raise ProofUndecided("the node's chain does not reach the evidence's block yet")
    if block.hash == header.hash:
        if header.number <= heads.at(finality).number:
            return True
        raise ProofUndecided(f"the evidence's block is on the chain, and not {finality.value} yet")
    if header.number <= heads.finalized.number:
        return False
    raise ProofUndecided("the node has another block at this height, which is not finalized yet")
