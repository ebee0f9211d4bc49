"""``ChainSource`` over the JSON-RPC of Bitcoin Core (with ``txindex``) and of btcd.

Differences between the two: btcd knows neither ``estimatesmartfee`` nor ``getindexinfo``, and names an error of the
mempool by -22 or -25 to -27. Both are handled by their answers; the client does not ask which one it is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from layer2.errors import BadAnswer, NodeRefused, Outcome, TransactionError
from layer2.formats.bitcoin_block import HEADER_SIZE
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, decode_transaction
from layer2.formats.canonical_json import JsonValue
from layer2.formats.json_object import JsonObject
from layer2.formats.printable import printable
from layer2.protocols.bitcoin.source.http import BITCOIN, LEAST_RATE, HttpNode, is_known, reading
from layer2.protocols.bitcoin.source.port import BlockId, ChainSource, Located

__all__ = ["BitcoinRpc"]

_SEND: Final = "sendrawtransaction"
_MISSING: Final = frozenset({-5, -8, -1, -32601})
"""No such transaction, height (btcd: -1) or method."""
_REFUSALS: Final = frozenset({-22, -25, -26})
_ALREADY: Final = -27
_LONGEST_ESTIMATE: Final = 25
"""Blocks, of btcd."""
_BATCH: Final = 200


class BitcoinRpc(ChainSource):
    """Reads of one node.

    Args:
        node: the server.
    """

    def __init__(self, node: HttpNode) -> None:
        self._node = node
        self._known: frozenset[str] | None = None
        self._pool: dict[str, Transaction] = {}

    async def tip(self) -> BlockId:
        """See ``ChainSource``."""
        block_hash = _hash(await self._call("getbestblockhash"))
        described = await self._call("getblockheader", block_hash[::-1].hex(), True)
        with reading("the tip"):
            return BlockId(JsonObject(described, "the tip").integer("height"), block_hash)

    async def block_hash(self, height: int) -> bytes | None:
        """See ``ChainSource``."""
        found = await self._call("getblockhash", height, missing_is_none=True)
        return None if found is None else _hash(found)

    async def block(self, block_hash: bytes) -> bytes:
        """See ``ChainSource``."""
        try:
            return _bytes(await self._call("getblock", block_hash[::-1].hex(), 0), "a block")
        except NodeRefused as error:
            if "pruned" in error.message:
                raise NodeRefused(
                    "the node no longer has a block that an open swap needs",
                    code="pruned",
                    protocol=BITCOIN,
                    remedy="use a node that is not pruned, or an Esplora server",
                ) from error
            raise

    async def header(self, block_hash: bytes) -> bytes:
        """See ``ChainSource``."""
        data = _bytes(await self._call("getblockheader", block_hash[::-1].hex(), False), "a block's header")
        if len(data) != HEADER_SIZE:
            raise BadAnswer("a block's header does not have 80 bytes", protocol=BITCOIN)
        return data

    async def find(self, tx_hash: bytes) -> Located | None:
        """See ``ChainSource``."""
        found = await self._call("getrawtransaction", tx_hash[::-1].hex(), 1, missing_is_none=True)
        if found is None:
            return None
        with reading("a transaction"):
            fields = JsonObject(found, "a transaction")
            transaction = decode_transaction(fields.hex("hex", max_length=4_000_000))
            named = found.get("blockhash") if isinstance(found, dict) else None
        if transaction.hash != tx_hash:
            raise BadAnswer("the node answered with another transaction", protocol=BITCOIN)
        return Located(transaction, None if not named else await self._block_ref(_hash(named)))

    async def unconfirmed(self, scripts: Collection[bytes], outpoints: Collection[OutPoint]) -> Sequence[Transaction]:
        """See ``ChainSource``: reads each new transaction of the mempool once."""
        listed = await self._call("getrawmempool")
        if not isinstance(listed, list):
            raise BadAnswer("the mempool is not a list", protocol=BITCOIN)
        ids = frozenset(map(str, listed))
        if self._known is None and len(ids) > _BATCH:
            # A large mempool is not read as a whole; what it holds is seen when it is in a block.
            self._known = ids
        fresh = ids - (self._known or frozenset())
        for tx_id, transaction in (await self._raw_transactions(sorted(fresh))).items():
            self._pool[tx_id] = transaction
        self._known = ids
        wanted, spent = set(scripts), set(outpoints)
        self._pool = {tx_id: each for tx_id, each in self._pool.items() if tx_id in ids}
        return [
            each
            for each in self._pool.values()
            if any(one.script in wanted for one in each.outputs) or any(one.prevout in spent for one in each.inputs)
        ]

    async def broadcast(self, transaction: Transaction) -> None:
        """See ``ChainSource``."""
        # A large mempool is not read at the start, but an act of this client that it still has must be seen.
        self._pool[transaction.id] = transaction
        try:
            await self._call(_SEND, transaction.encode().hex())
        except NodeRefused as error:
            if error.node_code == _ALREADY or is_known(error.message):
                return
            if error.node_code in _REFUSALS:
                raise TransactionError(
                    error.message,
                    protocol=BITCOIN,
                    operation=_SEND,
                    outcome=Outcome.REJECTED,
                    tx_id=transaction.id,
                ) from error
            raise

    async def fee_rate(self, blocks: int) -> int:
        """See ``ChainSource``."""
        estimate = await self._call("estimatesmartfee", max(blocks, 1), missing_is_none=True)
        if estimate is None:
            rate = await self._btcd_estimate(blocks)
        else:
            rate = estimate.get("feerate") if isinstance(estimate, dict) else None
        pool = await self._call("getmempoolinfo", missing_is_none=True)
        least = pool.get("mempoolminfee") if isinstance(pool, dict) else None
        return max(LEAST_RATE, _per_kilobyte(rate), _per_kilobyte(least))

    async def call(self, method: str) -> JsonValue:
        """The answer to a method without parameters; None if the node does not have the method.

        Raises:
            NodeError: it cannot be read, or the node refuses the call.
        """
        return await self._call(method, missing_is_none=True)

    async def aclose(self) -> None:
        """See ``ChainSource``."""
        await self._node.aclose()

    async def _btcd_estimate(self, blocks: int) -> JsonValue:
        """BTC per 1,000 bytes; -1 or None while too few blocks were observed."""
        try:
            return await self._call("estimatefee", min(max(blocks, 1), _LONGEST_ESTIMATE))
        except NodeRefused:
            return None

    async def _raw_transactions(self, ids: Sequence[str]) -> Mapping[str, Transaction]:
        found: dict[str, Transaction] = {}
        for tx_id in ids:
            raw = await self._call("getrawtransaction", tx_id, 0, missing_is_none=True)
            if raw is not None:
                with reading("a transaction"):
                    found[tx_id] = decode_transaction(bytes.fromhex(str(raw)))
        return found

    async def _block_ref(self, block_hash: bytes) -> BlockId | None:
        try:
            described = await self._call("getblockheader", block_hash[::-1].hex(), True)
        except NodeRefused as error:
            # btcd: the block is no longer in the best chain.
            raise BadAnswer("the chain changed while it was read", protocol=BITCOIN, retryable=True) from error
        with reading("a block's header"):
            fields = JsonObject(described, "a block's header")
            # Core: -1 for a block that is not in the best chain.
            return None if fields.take("confirmations") == -1 else BlockId(fields.integer("height"), block_hash)

    async def _call(self, method: str, *params: JsonValue, missing_is_none: bool = False) -> JsonValue:
        body = json.dumps({"jsonrpc": "1.0", "id": 1, "method": method, "params": list(params)}).encode()
        ask = self._node.exchange if method == _SEND else self._node.read
        answer = await ask("POST", "", body=body, headers={"Content-Type": "application/json"})
        # Core answers an error of a method with HTTP 404 or 500 and a JSON-RPC object.
        try:
            read: dict[str, JsonValue] = json.loads(answer.body)
            error, result = read["error"], read["result"]
        except (ValueError, TypeError, KeyError):
            raise self._node.error_of(answer, method) from None
        if error is None:
            return result
        with reading("an error"):
            fields = JsonObject(error, "an error")
            code, message = fields.take("code"), printable(fields.text("message")[:300])
        if missing_is_none and code in _MISSING and "txindex" not in message:
            return None
        raise NodeRefused(
            message,
            protocol=BITCOIN,
            operation=method,
            node_code=code if isinstance(code, int) else None,
            node_message=message,
        )


def _per_kilobyte(rate: object) -> int:
    """Satoshi, from BTC."""
    return round(rate * 10**8) if isinstance(rate, int | float) else 0


def _hash(value: object) -> bytes:
    data = _bytes(value, "a hash")
    if len(data) != 32:
        raise BadAnswer("a hash does not have 32 bytes", protocol=BITCOIN)
    return data[::-1]


def _bytes(value: object, what: str) -> bytes:
    with reading(what):
        return bytes.fromhex(str(value))
