"""Blocks, transactions, receipts and logs in rskj's JSON.

The last transaction of each block pays the miners. It has no signature, and its receipt is the last of the block.

Sources: rskj (``BlockResultDTO``, ``TransactionResultDTO``, ``TransactionReceiptDTO``, ``LogFilterElement``,
``BlockHeaderNotification``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eth.abc import LogAPI, SignedTransactionAPI

from layer2.formats.evm_hex import format_data, format_quantity
from layer2.formats.keccak import keccak256
from layer2.formats.rlp import encode
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.rskj.rules import seal_of
from layer2.local.simnet.rskj.seals import DIFFICULTY, MINER, REMASC

__all__ = ["block_answer", "head_answer", "log_answers", "receipt_answer", "transaction_answer", "transaction_at"]

_NOBODY: Final = format_data(bytes(20))
_NO_UNCLES: Final = format_data(keccak256(encode([])))


def block_answer(block: MinedBlock, *, full_transactions: bool) -> dict[str, object]:
    """A block with the hashes of its transactions, or with the transactions."""
    seal = seal_of(block)
    transactions: list[object] = [format_data(item.hash) for item in block.transactions]
    if seal.payment:
        transactions.append(format_data(seal.payment_hash))
    if full_transactions:
        transactions = [transaction_at(block, index) for index in range(len(transactions))]
    return {
        **head_answer(block),
        "mixHash": format_data(bytes(32)),
        "nonce": "0x0000000000000000",
        "totalDifficulty": format_quantity(DIFFICULTY * (block.number + 1)),
        "cumulativeDifficulty": format_quantity(DIFFICULTY),
        "size": format_quantity(block.size),
        "transactions": transactions,
        "uncles": [],
        "minimumGasPrice": format_quantity(seal.minimum_gas_price),
        "bitcoinMergedMiningHeader": format_data(seal.bitcoin),
        "bitcoinMergedMiningCoinbaseTransaction": format_data(seal.mining.coinbase),
        "bitcoinMergedMiningMerkleProof": format_data(seal.mining.merkle_path),
        "hashForMergedMining": format_data(seal.tag),
        "paidFees": format_quantity(seal.paid_fees),
        "rskPteEdges": [],
    }


def head_answer(block: MinedBlock) -> dict[str, object]:
    """A header without the fields of merged mining, as subscribers receive it."""
    seal, header = seal_of(block), block.header
    return {
        "number": format_quantity(block.number),
        "hash": format_data(seal.hash),
        "parentHash": format_data(seal.parent_hash),
        "sha3Uncles": _NO_UNCLES,
        "logsBloom": format_data(header.bloom.to_bytes(256, "big")),
        "transactionsRoot": format_data(seal.transactions_root),
        "stateRoot": format_data(header.state_root),
        "receiptsRoot": format_data(seal.receipts_root),
        "miner": format_data(MINER),
        "difficulty": format_quantity(DIFFICULTY),
        "extraData": format_data(seal.extra_data),
        "gasLimit": format_quantity(header.gas_limit),
        "gasUsed": format_quantity(header.gas_used),
        "timestamp": format_quantity(header.timestamp),
        "baseEvent": None,
    }


def transaction_at(block: MinedBlock, index: int) -> dict[str, object]:
    """The transaction at that index of a block, which may be the payment to miners."""
    if index < len(block.transactions):
        answer = transaction_answer(block.transactions[index])
    else:
        answer = {
            "hash": format_data(seal_of(block).payment_hash),
            "nonce": format_quantity(block.number - 1),
            "from": _NOBODY,
            "to": format_data(REMASC),
            "gas": "0x0",
            "gasPrice": "0x0",
            "value": "0x0",
            "input": "0x",
            "v": "0x0",
            "r": "0x0",
            "s": "0x0",
            "type": "0x0",
        }
    place = {
        "blockHash": format_data(block.hash),
        "blockNumber": format_quantity(block.number),
        "transactionIndex": format_quantity(index),
    }
    return {**answer, **place}


def transaction_answer(transaction: SignedTransactionAPI) -> dict[str, object]:
    """A transaction in the pool."""
    v = 27 if transaction.chain_id is None else 35 + 2 * transaction.chain_id
    return {
        "hash": format_data(transaction.hash),
        "nonce": format_quantity(transaction.nonce),
        "blockHash": None,
        "blockNumber": None,
        "transactionIndex": None,
        "from": format_data(transaction.sender),
        "to": format_data(transaction.to) if transaction.to else None,
        "gas": format_quantity(transaction.gas),
        "gasPrice": format_quantity(transaction.max_fee_per_gas),
        "value": format_quantity(transaction.value),
        "input": format_data(transaction.data),
        "v": f"0x{v + transaction.y_parity:02x}",
        "r": format_quantity(transaction.r),
        "s": format_quantity(transaction.s),
        "type": "0x0",
    }


def receipt_answer(block: MinedBlock, index: int) -> dict[str, object]:
    """What became of the transaction at that index of the block."""
    if index == len(block.transactions):
        return _payment_receipt(block)
    transaction, receipt = block.transactions[index], block.receipts[index]
    used_before = block.receipts[index - 1].gas_used if index else 0
    contract = block.contracts[index]
    return {
        "transactionHash": format_data(transaction.hash),
        "transactionIndex": format_quantity(index),
        "blockHash": format_data(block.hash),
        "blockNumber": format_quantity(block.number),
        "cumulativeGasUsed": format_quantity(receipt.gas_used),
        "gasUsed": format_quantity(receipt.gas_used - used_before),
        "contractAddress": None if contract is None else format_data(contract),
        "logs": [answer for _, answer in log_answers(block, index)],
        "from": format_data(transaction.sender),
        "to": format_data(transaction.to) if transaction.to else None,
        "status": format_quantity(1 if receipt.state_root == b"\x01" else 0),
        "logsBloom": format_data(receipt.bloom.to_bytes(256, "big")),
        "type": "0x0",
        "effectiveGasPrice": format_quantity(transaction.max_fee_per_gas),
    }


def log_answers(block: MinedBlock, index: int) -> Iterator[tuple[LogAPI, dict[str, object]]]:
    """Every log of the transaction at that index of the block, with the JSON of each."""
    logs_before = sum(len(receipt.logs) for receipt in block.receipts[:index])
    for position, log in enumerate(block.receipts[index].logs):
        answer: dict[str, object] = {
            "logIndex": format_quantity(logs_before + position),
            "blockNumber": format_quantity(block.number),
            "blockHash": format_data(block.hash),
            "transactionHash": format_data(block.transactions[index].hash),
            "transactionIndex": format_quantity(index),
            "address": format_data(log.address),
            "data": format_data(log.data),
            "topics": [format_data(topic.to_bytes(32, "big")) for topic in log.topics],
        }
        yield log, answer


def _payment_receipt(block: MinedBlock) -> dict[str, object]:
    return {
        "transactionHash": format_data(seal_of(block).payment_hash),
        "transactionIndex": format_quantity(len(block.transactions)),
        "blockHash": format_data(block.hash),
        "blockNumber": format_quantity(block.number),
        "cumulativeGasUsed": format_quantity(block.header.gas_used),
        "gasUsed": "0x0",
        "contractAddress": None,
        "logs": [],
        "from": _NOBODY,
        "to": format_data(REMASC),
        "status": "0x1",
        "logsBloom": format_data(bytes(256)),
        "type": "0x0",
        "effectiveGasPrice": "0x0",
    }
