"""The JSON-RPC methods of a Rootstock node of the simnet, without any transport.

They are those of rskj's that swaps need; every other method is refused. There are no filters and no subscriptions to
logs. ``pending`` is the newest block, except for nonces.

Sources: rskj (``Web3Impl``, ``EthModule``, ``RskModuleImpl``, ``LogFilter``, ``GasPriceTracker``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import signature
from typing import Final

from layer2.formats.evm_hex import format_data, format_quantity
from layer2.formats.evm_revert import decode_revert
from layer2.formats.keccak import keccak256
from layer2.formats.rsk_trie import prove
from layer2.local.simnet.evm.arguments import INVALID_PARAMS, METHOD_NOT_FOUND, Fields, LogFilter, RpcError
from layer2.local.simnet.evm.calls import AccountOverride, CallFailed, CallRefused, CallRequest, Overrides
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.node import EvmNode
from layer2.local.simnet.evm.pool import TransactionRefused
from layer2.local.simnet.rskj.answers import (
    block_answer,
    head_answer,
    log_answers,
    receipt_answer,
    transaction_answer,
    transaction_at,
)
from layer2.local.simnet.rskj.arguments import (
    CALL_GAS_CAP,
    ESTIMATE_GAS_CAP,
    BlockArguments,
    address_argument,
    bytes_argument,
    call_argument,
    number_argument,
    unexpected,
)
from layer2.local.simnet.rskj.json_rpc import respond
from layer2.local.simnet.rskj.rules import seal_of

__all__ = ["RskMethods"]

_REVERTED: Final = -32015
_TOO_MANY_LOGS: Final = -32012
_MOST_LOG_BLOCKS: Final = 5000
_PRICE_WINDOW: Final = 512


class RskMethods:
    """Answers calls by method name.

    Args:
        node: answers come from its chain, and transactions go into its pool.
        on_transaction: called after a transaction came into the pool.
    """

    has_log_subscriptions = False

    def __init__(self, node: EvmNode, on_transaction: Callable[[], None]) -> None:
        self._node = node
        self._chain = node.chain
        self._on_transaction = on_transaction
        self._blocks = blocks = BlockArguments(node.chain)
        methods: dict[str, Callable[..., object]] = {
            "web3_clientVersion": lambda: "layer2-simnet/rskj-dialect",
            "web3_sha3": lambda value: format_data(keccak256(bytes_argument(value))),
            "net_version": lambda: str(node.chain.chain_id),
            "net_listening": lambda: True,
            "net_peerCount": lambda: "0x0",
            "eth_accounts": lambda: list[str](),
            "eth_chainId": lambda: format_data(bytes((node.chain.chain_id,))),
            "eth_syncing": lambda: False,
            "eth_blockNumber": lambda: format_quantity(node.chain.head.number),
            "eth_gasPrice": self._gas_price,
            "eth_sendRawTransaction": self._send_raw_transaction,
            "eth_getBlockByNumber": lambda name, full: _block(blocks.by_name(name), full),
            "eth_getBlockByHash": lambda name, full: _block(self._by_hash(name), full),
            "eth_getBlockTransactionCountByNumber": lambda name: _count(blocks.by_name(name)),
            "eth_getBlockTransactionCountByHash": lambda name: _count(self._by_hash(name)),
            "eth_getTransactionByBlockNumberAndIndex": lambda name, at: _at(blocks.by_name(name), at),
            "eth_getTransactionByBlockHashAndIndex": lambda name, at: _at(self._by_hash(name), at),
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getTransactionCount": self._transaction_count,
            "eth_getBalance": self._balance,
            "eth_getCode": self._code,
            "eth_getStorageAt": self._storage,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate_gas,
            "eth_getLogs": self._logs,
            "rsk_getRawBlockHeaderByHash": lambda name: _raw(self._by_hash(name)),
            "rsk_getRawBlockHeaderByNumber": lambda name: _raw(blocks.by_name(name)),
            "rsk_getRawTransactionReceiptByHash": self._raw_receipt,
            "rsk_getTransactionReceiptNodesByHash": self._receipt_nodes,
        }
        self._methods = {name: (function, signature(function).parameters) for name, function in methods.items()}

    def answer(self, method: str, arguments: list[object]) -> object:
        """Answer one call.

        Raises:
            RpcError: with rskj's code and message.
        """
        if method not in self._methods:
            raise RpcError(METHOD_NOT_FOUND, "method not found")
        function, parameters = self._methods[method]
        needed = sum(each.default is each.empty for each in parameters.values())
        if not needed <= len(arguments) <= len(parameters):
            raise RpcError(INVALID_PARAMS, "method parameters invalid")
        return function(*arguments)

    def respond(self, text: bytes) -> tuple[bytes, int]:
        """The body of the answer to an HTTP request, and its status."""
        return respond(text, self.answer)

    def head(self, block: MinedBlock) -> dict[str, object]:
        """The notification of a new head."""
        return head_answer(block)

    def _by_hash(self, name: object) -> MinedBlock | None:
        return self._chain.block_by_hash(bytes_argument(name, 32))

    def _gas_price(self) -> str:
        """The quarter of recent prices, or the minimum price until there are enough of them."""
        least, prices = seal_of(self._chain.head).minimum_gas_price, list[int]()
        for block in reversed(self._chain.blocks(0, self._chain.head.number)):
            prices += [each.max_fee_per_gas for each in reversed(block.transactions)]
            if len(prices) >= _PRICE_WINDOW:
                quarter = sorted(prices[:_PRICE_WINDOW])[_PRICE_WINDOW // 4]
                return format_quantity(max(quarter, least * 11 // 10))
        return format_quantity(least)

    def _send_raw_transaction(self, raw: object) -> str:
        try:
            transaction_hash = self._node.send(bytes_argument(raw))
        except TransactionRefused as error:
            raise RpcError(error.code, str(error)) from error
        self._on_transaction()
        return format_data(transaction_hash)

    def _transaction(self, name: object) -> object:
        wanted = bytes_argument(name, 32)
        if position := self._chain.position(wanted):
            return transaction_at(*position)
        pooled = self._node.pool.get(wanted)
        return None if pooled is None else transaction_answer(pooled.transaction)

    def _receipt(self, name: object) -> object:
        position = self._chain.position(bytes_argument(name, 32))
        return None if position is None else receipt_answer(*position)

    def _raw_receipt(self, name: object) -> str | None:
        position = self._chain.position(bytes_argument(name, 32))
        if position is None:
            return None
        block, index = position
        return format_data(seal_of(block).receipts[index])

    def _receipt_nodes(self, block_name: object, name: object) -> list[str] | None:
        """The nodes that lead to a receipt, the leaf first. The block may have left the chain."""
        block = self._by_hash(block_name)
        if block is None:
            raise unexpected()
        seal = seal_of(block)
        hashes = [*[bytes(each.hash) for each in block.transactions], seal.payment_hash]
        if (wanted := bytes_argument(name, 32)) not in hashes or not seal.receipts:
            return None
        return [format_data(node) for node in prove(seal.receipts, hashes.index(wanted))]

    def _transaction_count(self, address: object, name: object) -> str:
        account, state = address_argument(address), self._chain.state_at(self._blocks.with_state(name))
        pending = name == "pending"
        return format_quantity(self._node.pool.next_nonce(account, state) if pending else state.get_nonce(account))

    def _balance(self, address: object, name: object = "latest") -> str:
        return format_quantity(
            self._chain.state_at(self._blocks.with_state(name)).get_balance(address_argument(address))
        )

    def _code(self, address: object, name: object) -> str:
        return format_data(self._chain.state_at(self._blocks.with_state(name)).get_code(address_argument(address)))

    def _storage(self, address: object, slot: object, name: object) -> str:
        state = self._chain.state_at(self._blocks.with_state(name))
        return format_data(state.get_storage(address_argument(address), number_argument(slot)).to_bytes(32, "big"))

    def _call(self, message: object, name: object) -> str:
        request, block = call_argument(message, CALL_GAS_CAP), self._blocks.with_state(name)
        try:
            return format_data(self._node.calls.call(request, block, self._lent(request, block)))
        except CallFailed as error:
            return _failed(error, "0x")

    def _estimate_gas(self, message: object, name: object = "pending") -> str:
        request, block = call_argument(message, ESTIMATE_GAS_CAP), self._blocks.with_state(name)
        try:
            return format_quantity(self._node.calls.estimate_gas(request, block, self._lent(request, block)))
        except CallFailed as error:
            return _failed(error, format_quantity(ESTIMATE_GAS_CAP))

    def _lent(self, request: CallRequest, block: MinedBlock) -> Overrides:
        """The value of a message, lent to its sender: rskj executes messages without comparing it with a balance."""
        owned = self._chain.state_at(block).get_balance(address_argument(format_data(request.sender)))
        return {request.sender: AccountOverride(balance=owned + request.value)} if request.value else {}

    def _logs(self, criteria: object) -> list[dict[str, object]]:
        wanted, blocks = self._selected(criteria)
        return [
            answer
            for block in blocks
            for index in range(len(block.receipts))
            for log, answer in log_answers(block, index)
            if wanted.matches(log)
        ]

    def _selected(self, criteria: object) -> tuple[LogFilter, Iterable[MinedBlock]]:
        """The criteria of addresses and topics, and the blocks. A block that does not exist has no logs."""
        fields = Fields(criteria, 0)
        first, last, block_hash = (fields.get(name) for name in ("fromBlock", "toBlock", "blockHash"))
        topics = [_values(topic) for topic in _values(fields.get("topics"))]
        wanted = LogFilter(
            block_hash=None,
            first=0,
            last=0,
            addresses=frozenset(bytes_argument(item, 20) for item in _values(fields.get("address"))),
            topics=tuple([frozenset(int.from_bytes(bytes_argument(item, 32), "big") for item in t) for t in topics]),
        )
        if block_hash is not None:
            if first is not None or last is not None:
                raise RpcError(INVALID_PARAMS, "Cannot specify both blockHash and fromBlock/toBlock")
            block = self._by_hash(block_hash)
            return wanted, [] if block is None else [block]
        head = self._chain.head
        if {first, last} & {"safe", "finalized"}:
            raise unexpected()
        start = self._blocks.by_name("latest" if first is None else first)
        end = self._blocks.by_name("latest" if last is None else last) or head
        if start is None:
            return wanted, []
        if end.number - start.number > _MOST_LOG_BLOCKS:
            raise RpcError(_TOO_MANY_LOGS, f"Cannot query more than {_MOST_LOG_BLOCKS} blocks at once")
        # Like rskj, search the last block even if it is before the first one.
        return wanted, self._chain.blocks(start.number, end.number) or [end]


def _block(block: MinedBlock | None, full: object) -> object:
    if not isinstance(full, bool):
        raise unexpected()
    return None if block is None else block_answer(block, full_transactions=full)


def _count(block: MinedBlock | None) -> str | None:
    return None if block is None else format_quantity(len(block.transactions) + bool(seal_of(block).payment))


def _at(block: MinedBlock | None, argument: object) -> object:
    index = number_argument(argument)
    if block is None or index >= len(block.transactions) + bool(seal_of(block).payment):
        return None
    return transaction_at(block, index)


def _raw(block: MinedBlock | None) -> str | None:
    return None if block is None else format_data(seal_of(block).raw_header)


def _failed(error: CallFailed, otherwise: str) -> str:
    """Raise a revert as an error. Messages that fail in another way have an ordinary answer, as rskj gives them."""
    if error.revert_data is None:
        if isinstance(error, CallRefused):
            raise unexpected() from error
        return otherwise
    reason = "transaction reverted"
    if error.revert_data[:4] == b"\x08\xc3\x79\xa0":
        reason = f"revert {decode_revert(error.revert_data)}"
    message = f"VM Exception while processing transaction: {reason}"
    raise RpcError(_REVERTED, message, format_data(error.revert_data)) from error


def _values(value: object) -> list[object]:
    """A list, one value as a list, or nothing."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
