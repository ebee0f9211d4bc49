"""The part of Esplora's REST interface that wallets and this package's client ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web

from layer2.errors import FormatError
from layer2.formats.bitcoin_block import merkle_path
from layer2.formats.bitcoin_transaction import OutPoint, Transaction
from layer2.formats.canonical_json import JsonValue
from layer2.local.simnet.bitcoin.chain import Block, TransactionRefused
from layer2.local.simnet.bitcoin.node import BitcoinNode, Located

__all__ = ["esplora_application"]

_PAGE: Final = 25
_BLOCK_PAGE: Final = 10
_TARGETS: Final = (*range(1, 26), 144, 504, 1008)
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]


def esplora_application(node: BitcoinNode) -> web.Application:
    """The server of one node. Source: github.com/Blockstream/esplora/blob/master/API.md."""
    application = web.Application(client_max_size=4_000_000)
    routes = _Routes(node)
    for path, handler in routes.reads.items():
        application.router.add_get(path, handler)
    application.router.add_post("/tx", routes.broadcast)
    return application


class _Routes:
    def __init__(self, node: BitcoinNode) -> None:
        self._node = node
        self.reads: dict[str, _Handler] = {
            "/blocks/tip/height": self.tip_height,
            "/blocks/tip/hash": self.tip_hash,
            "/blocks": self.blocks,
            "/blocks/{height:[0-9]+}": self.blocks,
            "/block-height/{height:[0-9]+}": self.block_hash,
            "/block/{hash}": self.block,
            "/block/{hash}/header": self.block_header,
            "/block/{hash}/raw": self.block_raw,
            "/block/{hash}/status": self.block_status,
            "/tx/{txid}": self.transaction,
            "/tx/{txid}/status": self.transaction_status,
            "/tx/{txid}/raw": self.transaction_raw,
            "/tx/{txid}/hex": self.transaction_hex,
            "/tx/{txid}/merkle-proof": self.merkle_proof,
            "/tx/{txid}/outspend/{index:[0-9]+}": self.outspend,
            "/scripthash/{hash}/txs": self.history,
            "/scripthash/{hash}/txs/chain": self.history_of_chain,
            "/scripthash/{hash}/txs/chain/{last}": self.history_of_chain,
            "/scripthash/{hash}/txs/mempool": self.history_of_mempool,
            "/fee-estimates": self.fee_estimates,
            "/mempool": self.mempool,
        }

    async def tip_height(self, request: web.Request) -> web.Response:
        return web.Response(text=str(self._node.chain.height))

    async def tip_hash(self, request: web.Request) -> web.Response:
        return web.Response(text=self._node.chain.tip.block.header.id)

    async def blocks(self, request: web.Request) -> web.Response:
        height = int(request.match_info.get("height", self._node.chain.height))
        newest = self._node.chain.blocks[max(0, height - _BLOCK_PAGE + 1) : height + 1]
        return web.json_response([self._block(each) for each in reversed(newest)])

    async def block_hash(self, request: web.Request) -> web.Response:
        height = int(request.match_info["height"])
        if height > self._node.chain.height:
            raise web.HTTPNotFound(text="Block not found")
        return web.Response(text=self._node.chain.blocks[height].block.header.id)

    async def block(self, request: web.Request) -> web.Response:
        return web.json_response(self._block(self._found_block(request)))

    async def block_header(self, request: web.Request) -> web.Response:
        return web.Response(text=self._found_block(request).block.header.encode().hex())

    async def block_raw(self, request: web.Request) -> web.Response:
        return web.Response(body=self._found_block(request).block.encode(), content_type="application/octet-stream")

    async def block_status(self, request: web.Request) -> web.Response:
        block = self._found_block(request)
        chain = self._node.chain
        following = chain.blocks[block.height + 1].block.header.id if block.height < chain.height else None
        return web.json_response({"in_best_chain": True, "height": block.height, "next_best": following})

    async def transaction(self, request: web.Request) -> web.Response:
        return web.json_response(self._transaction(self._found(request)))

    async def transaction_status(self, request: web.Request) -> web.Response:
        return web.json_response(_status(self._found(request).block))

    async def transaction_raw(self, request: web.Request) -> web.Response:
        return web.Response(body=self._found(request).transaction.encode(), content_type="application/octet-stream")

    async def transaction_hex(self, request: web.Request) -> web.Response:
        return web.Response(text=self._found(request).transaction.encode().hex())

    async def merkle_proof(self, request: web.Request) -> web.Response:
        found = self._found(request)
        if found.block is None:
            raise web.HTTPNotFound(text="Transaction not found or is unconfirmed")
        hashes = [each.hash for each in found.block.block.transactions]
        index = hashes.index(found.transaction.hash)
        path = [each[::-1].hex() for each in merkle_path(hashes, index)]
        return web.json_response({"block_height": found.block.height, "merkle": path, "pos": index})

    async def outspend(self, request: web.Request) -> web.Response:
        outpoint = OutPoint(self._found(request).transaction.hash, int(request.match_info["index"]))
        spender = self._node.spender(outpoint)
        if spender is None:
            return web.json_response({"spent": False})
        located, index = spender
        spent = {"spent": True, "txid": located.transaction.id, "vin": index, "status": _status(located.block)}
        return web.json_response(spent)

    async def history(self, request: web.Request) -> web.Response:
        found = self._node.history(_bytes(request, "hash"))
        waiting = [each for each in found if each.block is None]
        confirmed = [each for each in found if each.block is not None]
        return web.json_response([self._transaction(each) for each in (*waiting, *confirmed[:_PAGE])])

    async def history_of_chain(self, request: web.Request) -> web.Response:
        found = [each for each in self._node.history(_bytes(request, "hash")) if each.block is not None]
        last = request.match_info.get("last")
        ids = [each.transaction.id for each in found]
        start = ids.index(last) + 1 if last in ids else 0
        return web.json_response([self._transaction(each) for each in found[start : start + _PAGE]])

    async def history_of_mempool(self, request: web.Request) -> web.Response:
        found = [each for each in self._node.history(_bytes(request, "hash")) if each.block is None]
        return web.json_response([self._transaction(each) for each in found])

    async def fee_estimates(self, request: web.Request) -> web.Response:
        rate = self._node.least_rate / 1_000
        return web.json_response({str(target): rate for target in _TARGETS})

    async def mempool(self, request: web.Request) -> web.Response:
        entries = self._node.mempool.entries
        size = sum(entry.transaction.virtual_size for entry in entries)
        fees = sum(entry.fee for entry in entries)
        return web.json_response({"count": len(entries), "vsize": size, "total_fee": fees, "fee_histogram": []})

    async def broadcast(self, request: web.Request) -> web.Response:
        try:
            transaction = self._node.submit(bytes.fromhex(await request.text()))
        except (ValueError, FormatError):
            raise web.HTTPBadRequest(text="sendrawtransaction RPC error: TX decode failed") from None
        except TransactionRefused as error:
            text = f'sendrawtransaction RPC error: {{"code":-26,"message":"{error.reason}"}}'
            raise web.HTTPBadRequest(text=text) from None
        return web.Response(text=transaction.id)

    def _found(self, request: web.Request) -> Located:
        found = self._node.find(_bytes(request, "txid")[::-1])
        if found is None:
            raise web.HTTPNotFound(text="Transaction not found")
        return found

    def _found_block(self, request: web.Request) -> Block:
        wanted = _bytes(request, "hash")[::-1]
        for block in reversed(self._node.chain.blocks):
            if block.block.header.hash == wanted:
                return block
        raise web.HTTPNotFound(text="Block not found")

    def _block(self, block: Block) -> dict[str, JsonValue]:
        header = block.block.header
        return {
            "id": header.id,
            "height": block.height,
            "version": header.version,
            "timestamp": header.time,
            "tx_count": len(block.block.transactions),
            "size": len(block.block.encode()),
            "weight": sum(each.weight for each in block.block.transactions) + 4 * 81,
            "merkle_root": header.merkle_root[::-1].hex(),
            "previousblockhash": header.parent[::-1].hex() if block.height else None,
            "mediantime": header.time,
            "nonce": header.nonce,
            "bits": header.bits,
            "difficulty": 0,
        }

    def _transaction(self, found: Located) -> dict[str, JsonValue]:
        transaction = found.transaction
        inputs = [self._input(transaction, index) for index in range(len(transaction.inputs))]
        paid = [self._node.output(each.prevout) for each in transaction.inputs]
        amounts = [0 if each is None else each.amount for each in paid]
        fee = max(0, sum(amounts) - sum(each.amount for each in transaction.outputs)) if all(paid) else 0
        return {
            "txid": transaction.id,
            "version": transaction.version,
            "locktime": transaction.locktime,
            "vin": list(inputs),
            "vout": [{"scriptpubkey": each.script.hex(), "value": each.amount} for each in transaction.outputs],
            "size": len(transaction.encode()),
            "weight": transaction.weight,
            "fee": fee,
            "status": _status(found.block),
        }

    def _input(self, transaction: Transaction, index: int) -> dict[str, JsonValue]:
        own = transaction.inputs[index]
        output = self._node.output(own.prevout)
        previous: JsonValue = None
        if output is not None:
            previous = {"scriptpubkey": output.script.hex(), "value": output.amount}
        return {
            "txid": own.prevout.tx_hash[::-1].hex(),
            "vout": own.prevout.index,
            "prevout": previous,
            "scriptsig": own.script_sig.hex(),
            "witness": [item.hex() for item in own.witness],
            "is_coinbase": own.prevout.tx_hash == bytes(32),
            "sequence": own.sequence,
        }


def _status(block: Block | None) -> dict[str, JsonValue]:
    if block is None:
        return {"confirmed": False}
    header = block.block.header
    return {
        "confirmed": True,
        "block_height": block.height,
        "block_hash": header.id,
        "block_time": header.time,
    }


def _bytes(request: web.Request, name: str) -> bytes:
    try:
        value = bytes.fromhex(request.match_info[name])
    except ValueError:
        value = b""
    if len(value) != 32:
        raise web.HTTPBadRequest(text="Invalid hex string")
    return value
