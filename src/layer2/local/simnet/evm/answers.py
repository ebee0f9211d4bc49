"""Blocks, transactions, receipts and logs in op-geth's JSON.

Sources: the execution API specification of Ethereum; op-geth's additional fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eth.abc import BlockHeaderAPI, LogAPI, SignedTransactionAPI

from layer2.local.simnet.evm.chain import MinedBlock

__all__ = [
    "block_answer",
    "data",
    "effective_gas_price",
    "header_answer",
    "log_answers",
    "quantity",
    "receipt_answer",
    "transaction_answer",
]

# The simnet charges no L1 fee, so zero is the true value. On BOB it is not zero.
_L1_FEES = {
    "l1GasPrice": "0x0",
    "l1GasUsed": "0x0",
    "l1Fee": "0x0",
    "l1BlobBaseFee": "0x0",
    "l1BaseFeeScalar": "0x0",
    "l1BlobBaseFeeScalar": "0x0",
}


def quantity(value: int) -> str:
    """Encode a number: hexadecimal without leading zeros."""
    return hex(value)


def data(value: bytes) -> str:
    """Encode bytes: hexadecimal, two digits each."""
    return "0x" + value.hex()


def block_answer(block: MinedBlock, *, full_transactions: bool) -> dict[str, Any]:
    """A block with the hashes of its transactions, or with the transactions."""
    transactions: list[Any]
    if full_transactions:
        transactions = [transaction_answer(item, block, i) for i, item in enumerate(block.transactions)]
    else:
        transactions = [data(item.hash) for item in block.transactions]
    return {
        **header_answer(block.header),
        "size": quantity(block.size),
        "transactions": transactions,
        "uncles": [],
        "withdrawals": [],
    }


def transaction_answer(
    transaction: SignedTransactionAPI, block: MinedBlock | None, index: int | None
) -> dict[str, Any]:
    """A transaction at its place in a block, or one in the pool (``block`` and ``index`` are None)."""
    kind = transaction.type_id or 0
    answer: dict[str, Any] = {
        "blockHash": None,
        "blockNumber": None,
        "blockTimestamp": None,
        "transactionIndex": None,
        "from": data(transaction.sender),
        "gas": quantity(transaction.gas),
        "gasPrice": quantity(transaction.max_fee_per_gas),
        "hash": data(transaction.hash),
        "input": data(transaction.data),
        "nonce": quantity(transaction.nonce),
        "to": data(transaction.to) if transaction.to else None,
        "value": quantity(transaction.value),
        "type": quantity(kind),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
    }
    if transaction.chain_id is not None:
        answer["chainId"] = quantity(transaction.chain_id)
    if kind == 0:
        answer["v"] = quantity(35 + 2 * (transaction.chain_id or 0) + transaction.y_parity)
    else:
        answer["v"] = answer["yParity"] = quantity(transaction.y_parity)
        answer["accessList"] = [
            {"address": data(address), "storageKeys": [data(slot.to_bytes(32, "big")) for slot in slots]}
            for address, slots in transaction.access_list
        ]
    if kind >= 2:
        answer["maxFeePerGas"] = quantity(transaction.max_fee_per_gas)
        answer["maxPriorityFeePerGas"] = quantity(transaction.max_priority_fee_per_gas)
    if kind == 4:
        answer["authorizationList"] = [
            {
                "chainId": quantity(item.chain_id),
                "address": data(item.address),
                "nonce": quantity(item.nonce),
                "yParity": quantity(item.y_parity),
                "r": quantity(item.r),
                "s": quantity(item.s),
            }
            for item in transaction.authorization_list
        ]
    if block is not None and index is not None:
        answer["blockHash"] = data(block.hash)
        answer["blockNumber"] = quantity(block.number)
        answer["blockTimestamp"] = quantity(block.timestamp)
        answer["transactionIndex"] = quantity(index)
        answer["gasPrice"] = quantity(effective_gas_price(transaction, block))
    return answer


def receipt_answer(block: MinedBlock, index: int) -> dict[str, Any]:
    """What became of the transaction at that index of the block."""
    transaction, receipt = block.transactions[index], block.receipts[index]
    used_before = block.receipts[index - 1].gas_used if index else 0
    contract = block.contracts[index]
    return {
        "blockHash": data(block.hash),
        "blockNumber": quantity(block.number),
        "transactionHash": data(transaction.hash),
        "transactionIndex": quantity(index),
        "from": data(transaction.sender),
        "to": data(transaction.to) if transaction.to else None,
        "gasUsed": quantity(receipt.gas_used - used_before),
        "cumulativeGasUsed": quantity(receipt.gas_used),
        "contractAddress": None if contract is None else data(contract),
        "logs": [answer for _, answer in log_answers(block, index)],
        "logsBloom": data(receipt.bloom.to_bytes(256, "big")),
        "type": quantity(transaction.type_id or 0),
        "effectiveGasPrice": quantity(effective_gas_price(transaction, block)),
        "status": quantity(1 if receipt.state_root == b"\x01" else 0),
        **_L1_FEES,
    }


def log_answers(block: MinedBlock, index: int) -> Iterator[tuple[LogAPI, dict[str, Any]]]:
    """Every log of the transaction at that index of the block, with the JSON of each."""
    logs_before = sum(len(receipt.logs) for receipt in block.receipts[:index])
    for position, log in enumerate(block.receipts[index].logs):
        answer = {
            "address": data(log.address),
            "topics": [data(topic.to_bytes(32, "big")) for topic in log.topics],
            "data": data(log.data),
            "blockNumber": quantity(block.number),
            "transactionHash": data(block.transactions[index].hash),
            "transactionIndex": quantity(index),
            "blockHash": data(block.hash),
            "blockTimestamp": quantity(block.timestamp),
            "logIndex": quantity(logs_before + position),
            "removed": False,
        }
        yield log, answer


def effective_gas_price(transaction: SignedTransactionAPI, block: MinedBlock) -> int:
    """The price that the transaction pays for each gas in that block, in wei (EIP-1559)."""
    return int(min(transaction.max_fee_per_gas, block.base_fee + transaction.max_priority_fee_per_gas))


def header_answer(header: BlockHeaderAPI) -> dict[str, Any]:
    """A header, without the fields that only a block has."""
    fields = header.as_dict()
    return {
        "number": quantity(header.block_number),
        "hash": data(header.hash),
        "parentHash": data(header.parent_hash),
        "nonce": data(header.nonce),
        "mixHash": data(header.mix_hash),
        "sha3Uncles": data(header.uncles_hash),
        "logsBloom": data(header.bloom.to_bytes(256, "big")),
        "stateRoot": data(header.state_root),
        "miner": data(header.coinbase),
        "difficulty": quantity(header.difficulty),
        "extraData": data(header.extra_data),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "transactionsRoot": data(header.transaction_root),
        "receiptsRoot": data(header.receipt_root),
        "baseFeePerGas": quantity(fields["base_fee_per_gas"]),
        "withdrawalsRoot": data(fields["withdrawals_root"]),
        "blobGasUsed": quantity(fields["blob_gas_used"]),
        "excessBlobGas": quantity(fields["excess_blob_gas"]),
        "parentBeaconBlockRoot": data(fields["parent_beacon_block_root"]),
        "requestsHash": data(fields["requests_hash"]),
    }
