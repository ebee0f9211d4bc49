"""The JSON-RPC methods of an EVM node of the simnet, without any transport."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any, TypeAlias

import rlp  # type: ignore[import-untyped]  # the package carries no types
from eth_typing import Address

from layer2.local.simnet.evm.answers import (
    block_answer,
    data,
    effective_gas_price,
    log_answers,
    quantity,
    receipt_answer,
    transaction_answer,
)
from layer2.local.simnet.evm.arguments import (
    BlockName,
    LogFilter,
    RpcError,
    block_name,
    call_request,
    expect_bool,
    expect_bytes,
    expect_number,
    expect_percentiles,
    log_filter,
)
from layer2.local.simnet.evm.chain import CallFailed, CallOutOfGas, CallRefused, MinedBlock
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.pool import TransactionRefused
from layer2.local.simnet.evm.simulation import execution_error, simulation_answer

__all__ = ["EvmMethods"]

_Method: TypeAlias = Callable[..., Any]

_INVALID_PARAMS = -32602
_METHOD_NOT_FOUND = -32601
_SUGGESTED_TIP = 1_000_000
_MOST_FEE_BLOCKS = 1024


class EvmMethods:
    """Answers calls by method name.

    Args:
        node: what it tells about, and whose pool it fills.
        on_transaction: called after a transaction came into the pool.
    """

    def __init__(self, node: EvmNode, on_transaction: Callable[[], None]) -> None:
        self._node = node
        self._on_transaction = on_transaction
        # Each with the number of arguments that it needs and that it takes at most.
        self._methods: dict[str, tuple[_Method, int, int]] = {
            "web3_clientVersion": (lambda: "layer2-simnet/py-evm", 0, 0),
            "net_version": (lambda: str(node.chain.chain_id), 0, 0),
            "eth_chainId": (lambda: quantity(node.chain.chain_id), 0, 0),
            "eth_syncing": (lambda: False, 0, 0),
            "eth_blockNumber": (lambda: quantity(node.chain.head.number), 0, 0),
            "eth_getBlockByNumber": (self._get_block_by_number, 2, 2),
            "eth_getBlockByHash": (self._get_block_by_hash, 2, 2),
            "eth_getTransactionByHash": (self._get_transaction_by_hash, 1, 1),
            "eth_getTransactionReceipt": (self._get_transaction_receipt, 1, 1),
            "eth_getBlockReceipts": (self._get_block_receipts, 1, 1),
            "eth_getTransactionCount": (self._get_transaction_count, 1, 2),
            "eth_getBalance": (self._get_balance, 1, 2),
            "eth_getCode": (self._get_code, 1, 2),
            "eth_getStorageAt": (self._get_storage_at, 2, 3),
            "eth_call": (self._call, 1, 2),
            "eth_estimateGas": (self._estimate_gas, 1, 2),
            "eth_simulateV1": (self._simulate, 1, 2),
            "eth_sendRawTransaction": (self._send_raw_transaction, 1, 1),
            "eth_getLogs": (self._get_logs, 1, 1),
            "eth_gasPrice": (self._gas_price, 0, 0),
            "eth_maxPriorityFeePerGas": (lambda: quantity(_SUGGESTED_TIP), 0, 0),
            "eth_feeHistory": (self._fee_history, 2, 3),
            "debug_getRawHeader": (self._get_raw_header, 1, 1),
            "debug_getRawReceipts": (self._get_raw_receipts, 1, 1),
        }

    def answer(self, method: str, arguments: list[Any]) -> Any:
        """Answer one call.

        Raises:
            RpcError: with op-geth's code and words.
        """
        found = self._methods.get(method)
        if found is None:
            raise RpcError(_METHOD_NOT_FOUND, f"the method {method} does not exist/is not available")
        function, needed, most = found
        if len(arguments) > most:
            raise RpcError(_INVALID_PARAMS, f"too many arguments, want at most {most}")
        if len(arguments) < needed:
            missing = len(arguments)
            raise RpcError(_INVALID_PARAMS, f"missing value for required argument {missing}")
        return function(*arguments)

    def _block(self, name: BlockName) -> MinedBlock | None:
        """The block of that name, None where there is none."""
        chain = self._node.chain
        match name:
            case "latest" | "pending":
                return chain.head
            case "earliest":
                return chain.block_by_number(0)
            case "safe":
                return chain.block_by_number(self._node.safe_height)
            case "finalized":
                return chain.block_by_number(self._node.finalized_height)
            case bytes():
                return chain.block_by_hash(name)
            case int():
                return chain.block_by_number(name)

    def _block_with_state(self, argument: Any, index: int) -> MinedBlock:
        name, must_be_canonical = block_name(argument, index)
        block = self._block(name)
        if block is None:
            raise RpcError(-32000, "header not found")
        if must_be_canonical and not self._node.chain.is_canonical(block):
            raise RpcError(-32000, "header not found")
        return block

    def _get_block_by_number(self, name: Any, full: Any) -> Any:
        block = self._block(block_name(name, 0, allow_hash=False)[0])
        return None if block is None else block_answer(block, full_transactions=expect_bool(full, 1))

    def _get_block_by_hash(self, block_hash: Any, full: Any) -> Any:
        block = self._node.chain.block_by_hash(expect_bytes(block_hash, 0, 32))
        return None if block is None else block_answer(block, full_transactions=expect_bool(full, 1))

    def _get_transaction_by_hash(self, transaction_hash: Any) -> Any:
        wanted = expect_bytes(transaction_hash, 0, 32)
        if position := self._node.chain.position(wanted):
            block, index = position
            return transaction_answer(block.transactions[index], block, index)
        pooled = self._node.pool.get(wanted)
        return None if pooled is None else transaction_answer(pooled.transaction, None, None)

    def _get_transaction_receipt(self, transaction_hash: Any) -> Any:
        position = self._node.chain.position(expect_bytes(transaction_hash, 0, 32))
        return None if position is None else receipt_answer(*position)

    def _get_block_receipts(self, name: Any) -> Any:
        block = self._block(block_name(name, 0)[0])
        if block is None:
            return None
        return [receipt_answer(block, index) for index in range(len(block.receipts))]

    def _get_transaction_count(self, address: Any, name: Any = "latest") -> str:
        account = expect_bytes(address, 0, 20)
        state = self._node.chain.state_at(self._block_with_state(name, 1))
        if name == "pending":
            return quantity(self._node.pool.next_nonce(account, state))
        return quantity(state.get_nonce(Address(account)))

    def _get_balance(self, address: Any, name: Any = "latest") -> str:
        account = Address(expect_bytes(address, 0, 20))
        return quantity(self._node.chain.state_at(self._block_with_state(name, 1)).get_balance(account))

    def _get_code(self, address: Any, name: Any = "latest") -> str:
        account = Address(expect_bytes(address, 0, 20))
        return data(self._node.chain.state_at(self._block_with_state(name, 1)).get_code(account))

    def _get_storage_at(self, address: Any, slot: Any, name: Any = "latest") -> str:
        account = Address(expect_bytes(address, 0, 20))
        state = self._node.chain.state_at(self._block_with_state(name, 2))
        return data(state.get_storage(account, expect_number(slot, 1)).to_bytes(32, "big"))

    def _call(self, message: Any, name: Any = "latest") -> str:
        request = call_request(message)
        try:
            return data(self._node.chain.call(request, self._block_with_state(name, 1)))
        except CallRefused as error:
            raise RpcError(-32000, f"err: {error} (supplied gas {request.gas})") from error
        except CallFailed as error:
            raise execution_error(error) from error

    def _estimate_gas(self, message: Any, name: Any = "latest") -> str:
        request = call_request(message)
        try:
            return quantity(self._node.chain.estimate_gas(request, self._block_with_state(name, 1)))
        except CallRefused as error:
            raise RpcError(-32000, f"failed with {request.gas} gas: {error}") from error
        except CallOutOfGas as error:
            raise RpcError(-32000, f"gas required exceeds allowance ({request.gas})") from error
        except CallFailed as error:
            raise execution_error(error) from error

    def _simulate(self, options: Any, name: Any = "latest") -> list[Any]:
        return simulation_answer(self._node.chain, self._block_with_state(name, 1), options)

    def _send_raw_transaction(self, raw: Any) -> str:
        try:
            transaction_hash = self._node.send(expect_bytes(raw, 0, None))
        except TransactionRefused as error:
            raise RpcError(-32000, str(error)) from error
        self._on_transaction()
        return data(transaction_hash)

    def _get_logs(self, criteria: Any) -> list[Any]:
        wanted = log_filter(criteria)
        return [
            answer
            for block in self._filtered_blocks(wanted)
            for index in range(len(block.receipts))
            for log, answer in log_answers(block, index)
            if wanted.matches(log)
        ]

    def _filtered_blocks(self, wanted: LogFilter) -> Iterable[MinedBlock]:
        chain = self._node.chain
        if wanted.block_hash is not None:
            block = chain.block_by_hash(wanted.block_hash)
            if block is None:
                raise RpcError(-32000, "unknown block")
            return [block]
        first, last = (self._height(name) for name in (wanted.first, wanted.last))
        if first > last:
            raise RpcError(_INVALID_PARAMS, "invalid block range params")
        if last > chain.head.number:
            raise RpcError(_INVALID_PARAMS, "block range extends beyond current head block")
        blocks = (chain.block_by_number(number) for number in range(first, last + 1))
        return [block for block in blocks if block is not None]

    def _height(self, name: BlockName) -> int:
        if isinstance(name, int):
            return name
        if name == "pending":
            raise RpcError(_INVALID_PARAMS, "pending logs are not supported")
        block = self._block(name)
        if block is None:
            raise RpcError(-32000, "unknown block")
        return block.number

    def _gas_price(self) -> str:
        return quantity(self._node.chain.head.base_fee + _SUGGESTED_TIP)

    def _fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> Any:
        blocks_wanted = min(expect_number(count, 0), _MOST_FEE_BLOCKS)
        shares = expect_percentiles(percentiles)
        last = self._block(block_name(newest, 1, allow_hash=False)[0])
        if last is None:
            raise RpcError(-32000, "request beyond head block")
        if blocks_wanted == 0:
            return {"oldestBlock": "0x0", "gasUsedRatio": None}
        chain = self._node.chain
        first = max(0, last.number - blocks_wanted + 1)
        blocks = [chain.block_by_number(number) for number in range(first, last.number + 1)]
        present = [block for block in blocks if block is not None]
        following = chain.block_by_number(last.number + 1)
        next_fee = chain.next_base_fee() if following is None else following.base_fee
        answer: dict[str, Any] = {
            "oldestBlock": quantity(first),
            "baseFeePerGas": [quantity(block.base_fee) for block in present] + [quantity(next_fee)],
            "gasUsedRatio": [block.header.gas_used / block.header.gas_limit for block in present],
            "baseFeePerBlobGas": ["0x1"] * (len(present) + 1),
            "blobGasUsedRatio": [0] * len(present),
        }
        if shares:
            answer["reward"] = [_rewards(block, shares) for block in present]
        return answer

    def _get_raw_header(self, name: Any) -> str:
        block = self._raw_block(name)
        return "0x" if block is None else data(rlp.encode(block.header))

    def _get_raw_receipts(self, name: Any) -> list[str] | None:
        block = self._raw_block(name)
        return None if block is None else [data(receipt.encode()) for receipt in block.receipts]

    def _raw_block(self, argument: Any) -> MinedBlock | None:
        name, _ = block_name(argument, 0)
        block = self._block(name)
        if block is None and isinstance(name, bytes):
            raise RpcError(-32000, f"header #{list(name)} not found".replace(",", ""))
        return block


def _rewards(block: MinedBlock, percentiles: list[float]) -> list[str]:
    """The tips at these percentiles of the block's gas, as ``eth_feeHistory`` wants them."""
    gas_before = 0
    paid: list[tuple[int, int]] = []
    for transaction, receipt in zip(block.transactions, block.receipts, strict=True):
        tip = effective_gas_price(transaction, block) - block.base_fee
        paid.append((tip, receipt.gas_used - gas_before))
        gas_before = receipt.gas_used
    if not paid:
        return ["0x0"] * len(percentiles)
    paid.sort()
    seen = list(accumulate(gas for _, gas in paid))
    thresholds = [seen[-1] * percentile / 100 for percentile in percentiles]
    return [quantity(paid[bisect_left(seen, threshold)][0]) for threshold in thresholds]
