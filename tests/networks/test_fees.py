"""Fees compared with op-geth's receipts: the L1 and operator fees are exact to the wei, for each block."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from layer2 import ETH, EvmTransactionRequest, TxState
from layer2.contracts.erc20 import transfer_call
from layer2.contracts.l1_block import L1_BLOCK, L1_BLOCK_SLOTS, L1Parameters
from layer2.errors import InsufficientFunds, TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_header import EvmHeader
from layer2.formats.evm_transaction import Eip1559Transaction, SignedTransaction
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.rpc.json_rpc import JsonRpc as ClientRpc
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.signers.software import SoftwareEvmSigner
from networks.parties import Clients

pytestmark = pytest.mark.only_on("devnet", reason="simnet's chain has no L1 and charges nothing for one")

_PRICE = 10**9
_TIP = 10**6


def shapes() -> list[tuple[str, bytes]]:
    """Repetitive and random data, from tiny to 100 KB."""
    rng = random.Random(4)
    some = [("tiny", b"")]
    some += [("random", rng.randbytes(rng.randrange(1, 2_000))) for _ in range(40)]
    some += [("few values", bytes([rng.randrange(3) for _ in range(rng.randrange(1, 4_000))])) for _ in range(20)]
    some += [("repeated", rng.randbytes(rng.randrange(3, 400)) * rng.randrange(2, 12)) for _ in range(30)]
    some += [
        ("words", b"".join([rng.randrange(1 << 64).to_bytes(32, "big") for _ in range(count)])) for count in range(30)
    ]
    some += [
        ("from afar", (noise := rng.randbytes(60)) + rng.randbytes(gap) + noise) for gap in (8_000, 8_131, 8_132, 9_000)
    ]
    some += [("zeros", bytes(size)) for size in (5, 262, 263, 264, 265, 266, 267, 268, 531, 100_000)]
    return [*some, ("large", rng.randbytes(100_000)), ("large", rng.randbytes(500) * 200)]


class Node:
    """Direct access to op-geth, and the taker's key."""

    def __init__(self, network: LocalNetwork, control: LocalNetworkControl, session: aiohttp.ClientSession) -> None:
        self.rpc = JsonRpc("op-geth", network.bob.rpc_url, session)
        self._control = control
        self._network = network
        self._signer = SoftwareEvmSigner.from_file(network.taker.evm_key_file)

    async def mined(
        self, datas: list[bytes], *, create: bool = False
    ) -> list[tuple[SignedTransaction, dict[str, Any]]]:
        """Send transactions with that data, and return their receipts."""
        owner = "0x" + self._signer.address.hex()
        nonce = int(await self.rpc.call("eth_getTransactionCount", owner, "pending"), 16)
        signed = [await self._signed(nonce + place, data, create=create) for place, data in enumerate(datas)]
        for each in signed:
            await self.rpc.call("eth_sendRawTransaction", "0x" + each.raw.hex())
        receipts: list[dict[str, Any] | None] = [None]
        for _ in range(20):
            await self._control.mine(1)
            names = ["0x" + each.hash.hex() for each in signed]
            receipts = list(await asyncio.gather(*[self.rpc.call("eth_getTransactionReceipt", name) for name in names]))
            if None not in receipts:
                break
        return [(each, receipt) for each, receipt in zip(signed, receipts, strict=True) if receipt is not None]

    async def _signed(self, nonce: int, data: bytes, *, create: bool) -> SignedTransaction:
        transaction = Eip1559Transaction(
            chain_id=self._network.bob.chain_id,
            nonce=nonce,
            max_priority_fee_per_gas=_TIP,
            max_fee_per_gas=_PRICE,
            gas_limit=60_000 + 41 * len(data) + (200_000 if create else 0),
            to=None if create else bytes(19) + b"\x77",
            value=0 if create else 1,
            data=data,
        )
        return transaction.signed(await self._signer.sign_digest(transaction.signing_hash()))


@pytest.fixture
async def node(network: LocalNetwork, control: LocalNetworkControl) -> AsyncIterator[Node]:
    await control.set_automatic(False)
    async with aiohttp.ClientSession() as session:
        yield Node(network, control, session)


@pytest.fixture
async def client(network: LocalNetwork) -> AsyncIterator[EvmNode]:
    rpc = ClientRpc(network.bob.rpc_url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=10)
    yield EvmNode(rpc, "BOB")
    await rpc.aclose()


async def charged_by(client: EvmNode, block_hash: str) -> L1Parameters:
    """A block's charges for L1 data and the operator."""
    block = await client.block(bytes.fromhex(block_hash[2:]))
    assert block is not None
    words = [await client.storage(L1_BLOCK, slot, block.hash) for slot in L1_BLOCK_SLOTS]
    assert isinstance(block.header, EvmHeader)
    return L1Parameters.from_storage(words, block.header.extra_data)


def check(l1: L1Parameters, signed: SignedTransaction, receipt: dict[str, Any], what: str) -> None:
    gas = int(receipt["gasUsed"], 16)
    operator = gas * int(receipt["operatorFeeScalar"], 16) // 10**6 + int(receipt["operatorFeeConstant"], 16)
    assert l1.data_fee(signed.raw) == int(receipt["l1Fee"], 16), f"{what}, {len(signed.raw)} bytes"
    assert l1.operator_fee(gas) == operator > 0
    assert l1.data_fee(signed.raw) <= l1.data_fee_bound(len(signed.raw))


async def test_l1_and_operator_parts_are_op_geths_to_the_wei(node: Node, client: EvmNode) -> None:
    kinds = shapes()
    mined = await node.mined([data for _, data in kinds])
    assert len(mined) == len(kinds) > 130
    parameters: dict[str, L1Parameters] = {}
    for (what, _), (signed, receipt) in zip(kinds, mined, strict=True):
        block_hash = receipt["blockHash"]
        if block_hash not in parameters:
            parameters[block_hash] = await charged_by(client, block_hash)
        check(parameters[block_hash], signed, receipt, what)
    assert len({receipt["l1Fee"] for _, receipt in mined}) > 50


async def test_what_creates_a_contract_is_charged_alike(node: Node, client: EvmNode) -> None:
    # Creation code that returns one zero byte as the contract's code; the data after it is never executed.
    mined = await node.mined([bytes.fromhex("60016000f3") + bytes(rest) for rest in (0, 32, 900)], create=True)
    assert len(mined) == 3
    for signed, receipt in mined:
        assert receipt["contractAddress"] is not None
        check(await charged_by(client, receipt["blockHash"]), signed, receipt, "creation")


async def test_the_account_pays_what_was_estimated_for_signed_bytes_and_a_little_else_for_a_request(
    node: Node, taker: Clients, control: LocalNetworkControl
) -> None:
    (signed, receipt), *_ = await node.mined([random.Random(5).randbytes(300)])
    estimate = await taker.bob.estimate_fee_async(signed.raw)
    assert estimate.l1_data == int(receipt["l1Fee"], 16)
    request = EvmTransactionRequest(to=to_checksum(bytes(19) + b"\x77"), value=1, data=signed.transaction.data)
    asked = await taker.bob.estimate_fee_async(request)
    assert abs(asked.l1_data - estimate.l1_data) <= estimate.l1_data // 20
    # op-geth's search for the gas limit stops within 1.5 % of it.
    used = int(receipt["gasUsed"], 16)
    assert used <= asked.gas <= used * 1.015 < asked.gas_limit
    assert asked.total == asked.execution + asked.l1_data + asked.operator <= asked.most


async def test_a_transfer_of_everything_is_refused_with_the_amounts(taker: Clients) -> None:
    balance = (await taker.bob.balances_async())[ETH].spendable
    request = EvmTransactionRequest(to=to_checksum(bytes(19) + b"\x77"), value=balance, gas_limit=21_000)
    with pytest.raises(InsufficientFunds, match=rf"{balance} wei and up to \d+ wei of fees: it has {balance} wei"):
        await taker.bob.submit_transaction_async(request)
    most = (await taker.bob.estimate_fee_async(request)).most
    await taker.bob.submit_transaction_async(replace(request, value=1))
    assert most < balance


async def test_a_simulated_failure_carries_the_contracts_reason(taker: Clients, network: LocalNetwork) -> None:
    request = EvmTransactionRequest(to=network.bob.token_address, data=transfer_call(bytes(19) + b"\x77", 2**255))
    with pytest.raises(TransactionError, match="the transaction would fail: execution reverted") as refused:
        await taker.bob.estimate_fee_async(request)
    assert refused.value.code == "would_fail"


async def test_a_failure_in_a_block_is_explained_by_executing_it_again(
    taker: Clients, network: LocalNetwork, control: LocalNetworkControl
) -> None:
    data = transfer_call(bytes(19) + b"\x77", 2**255)
    reasons = []
    for gas_limit in (100_000, 23_000):
        request = EvmTransactionRequest(to=network.bob.token_address, data=data, gas_limit=gas_limit)
        status = await taker.bob.submit_transaction_async(request)
        assert (await taker.bob.wait_for_status_async(status.tx_id)).state is TxState.FAILED
        reasons.append(await taker.bob.failure_reason_async(status.tx_id))
    assert reasons == ["no reason given", "out of gas"]
    sent = await taker.bob.transfer_asset_async(ETH, 1, to_checksum(bytes(19) + b"\x77"))
    await taker.bob.wait_for_status_async(sent)
    assert await taker.bob.failure_reason_async(sent) is None
