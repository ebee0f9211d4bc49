"""The JSON-RPC methods of an EVM node of the simnet, without any transport."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from inspect import signature
from itertools import accumulate

from layer2.formats.evm_hex import format_data, format_quantity
from layer2.formats.keccak import keccak256
from layer2.local.simnet.evm.answers import effective_gas_price, header_answer
from layer2.local.simnet.evm.arguments import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    RpcError,
    expect_bytes,
    expect_number,
    expect_percentiles,
)
from layer2.local.simnet.evm.block_methods import BlockMethods
from layer2.local.simnet.evm.blocks import NamedBlocks
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.json_rpc import answer_text
from layer2.local.simnet.evm.log_methods import LogMethods
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.pool import TransactionRefused
from layer2.local.simnet.evm.state_methods import StateMethods

__all__ = ["EvmMethods"]

_SUGGESTED_TIP = 1_000_000
_MOST_FEE_BLOCKS = 1024


class EvmMethods:
    """Answers calls by method name.

    Args:
        node: answers come from its chain, and transactions go into its pool.
        on_transaction: called after a transaction came into the pool.
    """

    has_log_subscriptions = True

    def __init__(self, node: EvmNode, on_transaction: Callable[[], None]) -> None:
        self._node = node
        self._on_transaction = on_transaction
        self._blocks = NamedBlocks(node)
        methods: dict[str, Callable[..., object]] = {
            "web3_clientVersion": lambda: "layer2-simnet/py-evm",
            "web3_sha3": lambda value: format_data(keccak256(expect_bytes(value, 0))),
            "net_version": lambda: str(node.chain.chain_id),
            "net_listening": lambda: True,
            "net_peerCount": lambda: "0x0",
            "eth_accounts": lambda: list[str](),
            "eth_chainId": lambda: format_quantity(node.chain.chain_id),
            "eth_syncing": lambda: False,
            "eth_blockNumber": lambda: format_quantity(node.chain.head.number),
            "eth_sendRawTransaction": self._send_raw_transaction,
            "eth_gasPrice": lambda: format_quantity(node.chain.head.base_fee + _SUGGESTED_TIP),
            "eth_maxPriorityFeePerGas": lambda: format_quantity(_SUGGESTED_TIP),
            "eth_feeHistory": self._fee_history,
            **BlockMethods(node, self._blocks).methods,
            **StateMethods(node, self._blocks).methods,
            **LogMethods(node, self._blocks).methods,
        }
        self._methods = {name: (function, *_arity(function)) for name, function in methods.items()}

    def answer(self, method: str, arguments: list[object]) -> object:
        """Answer one call.

        Raises:
            RpcError: with op-geth's code and message.
        """
        found = self._methods.get(method)
        if found is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {method} does not exist/is not available")
        function, needed, most = found
        if len(arguments) > most:
            raise RpcError(INVALID_PARAMS, f"too many arguments, want at most {most}")
        if len(arguments) < needed:
            raise RpcError(INVALID_PARAMS, f"missing value for required argument {len(arguments)}")
        return function(*arguments)

    def respond(self, text: bytes) -> tuple[bytes, int]:
        """The body of the answer to an HTTP request, and its status."""
        return answer_text(text, self.answer) or b"", 200

    def head(self, block: MinedBlock) -> dict[str, object]:
        """The notification of a new head."""
        return header_answer(block.header)

    def _send_raw_transaction(self, raw: object) -> str:
        try:
            transaction_hash = self._node.send(expect_bytes(raw, 0))
        except TransactionRefused as error:
            raise RpcError(error.code, str(error)) from error
        self._on_transaction()
        return format_data(transaction_hash)

    def _fee_history(self, count: object, newest: object, percentiles: object = None) -> object:
        blocks_wanted = min(expect_number(count, 0), _MOST_FEE_BLOCKS)
        shares = expect_percentiles(percentiles)
        last = self._blocks.argument(newest, 1, allow_hash=False)
        if last is None:
            raise RpcError(-32000, "request beyond head block")
        if blocks_wanted == 0:
            return {"oldestBlock": "0x0", "gasUsedRatio": None}
        chain = self._node.chain
        first = max(0, last.number - blocks_wanted + 1)
        blocks = chain.blocks(first, last.number)
        following = chain.block_by_number(last.number + 1)
        next_fee = chain.least_price() if following is None else following.base_fee
        answer: dict[str, object] = {
            "oldestBlock": format_quantity(first),
            "baseFeePerGas": [format_quantity(block.base_fee) for block in blocks] + [format_quantity(next_fee)],
            "gasUsedRatio": [block.header.gas_used / block.header.gas_limit for block in blocks],
            "baseFeePerBlobGas": ["0x1"] * (len(blocks) + 1),
            "blobGasUsedRatio": [0] * len(blocks),
        }
        if shares:
            answer["reward"] = [_rewards(block, shares) for block in blocks]
        return answer


def _arity(function: Callable[..., object]) -> tuple[int, int]:
    """The number of arguments that a method needs, and that it takes at most."""
    parameters = signature(function).parameters.values()
    return sum(parameter.default is parameter.empty for parameter in parameters), len(parameters)


def _rewards(block: MinedBlock, percentiles: list[float]) -> list[str]:
    """The tips at these percentiles of the block's gas, for ``eth_feeHistory``."""
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
    return [format_quantity(paid[bisect_left(seen, threshold)][0]) for threshold in thresholds]
