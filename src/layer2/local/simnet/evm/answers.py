"""Blocks, transactions, receipts and logs in op-geth's JSON.

Sources: the execution API specification of Ethereum; op-geth's additional fields.
"""

from __future__ import annotations

from collections.abc import Iterator

from eth.abc import BlockHeaderAPI, LogAPI, SignedTransactionAPI

from layer2.formats.evm_hex import format_data, format_quantity
from layer2.local.simnet.evm.chain import MinedBlock

__all__ = [
    "block_answer",
    "effective_gas_price",
    "header_answer",
    "log_answers",
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


def block_answer(block: MinedBlock, *, full_transactions: bool) -> dict[str, object]:
    """A block with the hashes of its transactions, or with the transactions."""
    transactions: list[object]
    if full_transactions:
        transactions = [transaction_answer(item, block, i) for i, item in enumerate(block.transactions)]
    else:
        transactions = [format_data(item.hash) for item in block.transactions]
    return {
        **header_answer(block.header),
        "size": format_quantity(block.size),
        "transactions": transactions,
        "uncles": [],
        "withdrawals": [],
    }


def transaction_answer(
    transaction: SignedTransactionAPI, block: MinedBlock | None, index: int | None
) -> dict[str, object]:
    """A transaction at its place in a block, or one in the pool (``block`` and ``index`` are None)."""
    kind = transaction.type_id or 0
    answer: dict[str, object] = {
        "blockHash": None,
        "blockNumber": None,
        "blockTimestamp": None,
        "transactionIndex": None,
        "from": format_data(transaction.sender),
        "gas": format_quantity(transaction.gas),
        "gasPrice": format_quantity(transaction.max_fee_per_gas),
        "hash": format_data(transaction.hash),
        "input": format_data(transaction.data),
        "nonce": format_quantity(transaction.nonce),
        "to": format_data(transaction.to) if transaction.to else None,
        "value": format_quantity(transaction.value),
        "type": format_quantity(kind),
        "r": format_quantity(transaction.r),
        "s": format_quantity(transaction.s),
    }
    if transaction.chain_id is not None:
        answer["chainId"] = format_quantity(transaction.chain_id)
    if kind == 0:
        answer["v"] = format_quantity(35 + 2 * (transaction.chain_id or 0) + transaction.y_parity)
    else:
        answer["v"] = answer["yParity"] = format_quantity(transaction.y_parity)
        answer["accessList"] = [
            {"address": format_data(address), "storageKeys": [format_data(slot.to_bytes(32, "big")) for slot in slots]}
            for address, slots in transaction.access_list
        ]
    if kind >= 2:
        answer["maxFeePerGas"] = format_quantity(transaction.max_fee_per_gas)
        answer["maxPriorityFeePerGas"] = format_quantity(transaction.max_priority_fee_per_gas)
    if kind == 4:
        answer["authorizationList"] = [
            {
                "chainId": format_quantity(item.chain_id),
                "address": format_data(item.address),
                "nonce": format_quantity(item.nonce),
                "yParity": format_quantity(item.y_parity),
                "r": format_quantity(item.r),
                "s": format_quantity(item.s),
            }
            for item in transaction.authorization_list
        ]
    if block is not None and index is not None:
        answer["blockHash"] = format_data(block.hash)
        answer["blockNumber"] = format_quantity(block.number)
        answer["blockTimestamp"] = format_quantity(block.timestamp)
        answer["transactionIndex"] = format_quantity(index)
        answer["gasPrice"] = format_quantity(effective_gas_price(transaction, block))
    return answer


def receipt_answer(block: MinedBlock, index: int) -> dict[str, object]:
    """What became of the transaction at that index of the block."""
    transaction, receipt = block.transactions[index], block.receipts[index]
    used_before = block.receipts[index - 1].gas_used if index else 0
    contract = block.contracts[index]
    return {
        "blockHash": format_data(block.hash),
        "blockNumber": format_quantity(block.number),
        "transactionHash": format_data(transaction.hash),
        "transactionIndex": format_quantity(index),
        "from": format_data(transaction.sender),
        "to": format_data(transaction.to) if transaction.to else None,
        "gasUsed": format_quantity(receipt.gas_used - used_before),
        "cumulativeGasUsed": format_quantity(receipt.gas_used),
        "contractAddress": None if contract is None else format_data(contract),
        "logs": [answer for _, answer in log_answers(block, index)],
        "logsBloom": format_data(receipt.bloom.to_bytes(256, "big")),
        "type": format_quantity(transaction.type_id or 0),
        "effectiveGasPrice": format_quantity(effective_gas_price(transaction, block)),
        "status": format_quantity(1 if receipt.state_root == b"\x01" else 0),
        **_L1_FEES,
    }


def log_answers(block: MinedBlock, index: int) -> Iterator[tuple[LogAPI, dict[str, object]]]:
    """Every log of the transaction at that index of the block, with the JSON of each."""
    logs_before = sum(len(receipt.logs) for receipt in block.receipts[:index])
    for position, log in enumerate(block.receipts[index].logs):
        answer = {
            "address": format_data(log.address),
            "topics": [format_data(topic.to_bytes(32, "big")) for topic in log.topics],
            "data": format_data(log.data),
            "blockNumber": format_quantity(block.number),
            "transactionHash": format_data(block.transactions[index].hash),
            "transactionIndex": format_quantity(index),
            "blockHash": format_data(block.hash),
            "blockTimestamp": format_quantity(block.timestamp),
            "logIndex": format_quantity(logs_before + position),
            "removed": False,
        }
        yield log, answer


def effective_gas_price(transaction: SignedTransactionAPI, block: MinedBlock) -> int:
    """The price that the transaction pays for each gas in that block, in wei (EIP-1559)."""
    return int(min(transaction.max_fee_per_gas, block.base_fee + transaction.max_priority_fee_per_gas))


def header_answer(header: BlockHeaderAPI) -> dict[str, object]:
    """A header, without the fields that only a block has."""
    fields = header.as_dict()
    return {
        "number": format_quantity(header.block_number),
        "hash": format_data(header.hash),
        "parentHash": format_data(header.parent_hash),
        "nonce": format_data(header.nonce),
        "mixHash": format_data(header.mix_hash),
        "sha3Uncles": format_data(header.uncles_hash),
        "logsBloom": format_data(header.bloom.to_bytes(256, "big")),
        "stateRoot": format_data(header.state_root),
        "miner": format_data(header.coinbase),
        "difficulty": format_quantity(header.difficulty),
        "extraData": format_data(header.extra_data),
        "gasLimit": format_quantity(header.gas_limit),
        "gasUsed": format_quantity(header.gas_used),
        "timestamp": format_quantity(header.timestamp),
        "transactionsRoot": format_data(header.transaction_root),
        "receiptsRoot": format_data(header.receipt_root),
        "baseFeePerGas": format_quantity(fields["base_fee_per_gas"]),
        "withdrawalsRoot": format_data(fields["withdrawals_root"]),
        "blobGasUsed": format_quantity(fields["blob_gas_used"]),
        "excessBlobGas": format_quantity(fields["excess_blob_gas"]),
        "parentBeaconBlockRoot": format_data(fields["parent_beacon_block_root"]),
        "requestsHash": format_data(fields["requests_hash"]),
    }
