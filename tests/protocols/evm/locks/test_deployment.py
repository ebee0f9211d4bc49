"""Putting the HTLC contract on a chain, and refusing one that is not it or does not work there."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import orjson
import pytest
from eth_typing import Address

from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import ConfigurationError, FundsRulesError
from layer2.legs.views import Side
from layer2.model.transactions import Preimage
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.locks.deployment import check_htlc, htlc_deployment
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode
from protocols.evm.bob_network import BobNetwork, bob_network
from protocols.evm.scripted_node import Calls, scripted_node


@pytest.fixture
async def bare() -> AsyncIterator[BobNetwork]:
    async with bob_network(with_contract=False) as network:
        yield network


async def test_the_contract_is_deployed_once_and_then_found(bare: BobNetwork) -> None:
    taker = await bare.client("taker")
    rpc = JsonRpc(bare.url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=5)
    node = EvmNode(rpc, "BOB")
    try:
        with pytest.raises(FundsRulesError, match="no HTLC contract") as missing:
            await check_htlc(node)
        assert missing.value.code == "no_contract"
        request = await htlc_deployment(node)
        assert request is not None
        sent = await taker.submit_transaction_async(request)
        await taker.wait_for_status_async(sent.tx_id, timeout=30)
        await check_htlc(node)
        assert await htlc_deployment(node) is None
    finally:
        await rpc.aclose()


async def test_no_swap_begins_where_the_contract_is_missing(bare: BobNetwork) -> None:
    taker = await bare.client("taker")
    htlc = bare.htlc(Preimage(bytes(32)))
    with pytest.raises(FundsRulesError, match="no HTLC contract"):
        await taker.legs.check_can_finish(htlc, Side.PAYER)
    with pytest.raises(FundsRulesError, match="no HTLC contract"):
        await taker.legs.observe(htlc, Side.PAYER)


def answers(bob: BobNetwork, probe: bytes) -> dict[str, str]:
    code = bob.node.chain.state_at(bob.node.chain.head).get_code(Address(HTLC_ADDRESS))
    return {"eth_getCode": "0x" + code.hex(), "eth_call": "0x" + probe.hex()}


async def checked(results: dict[str, str]) -> None:
    def script(calls: Calls) -> bytes:
        return orjson.dumps({"jsonrpc": "2.0", "id": calls[0]["id"], "result": results[calls[0]["method"]]})

    async with scripted_node(script) as scripted:
        await check_htlc(EvmNode(scripted.client(), "BOB"))


PROBE = hashlib.sha256(b"layer2: does this chain compute sha256?").digest()


async def test_a_chain_that_computes_sha256_is_accepted(bob: BobNetwork) -> None:
    await checked(answers(bob, hashlib.sha256(PROBE).digest()))


@pytest.mark.parametrize("probe", [PROBE, b"", bytes(32)], ids=["precompile missing", "nothing", "zeros"])
async def test_a_chain_that_computes_sha256_wrongly_is_refused(bob: BobNetwork, probe: bytes) -> None:
    with pytest.raises(FundsRulesError, match="sha256"):
        await checked(answers(bob, probe))


async def test_other_code_at_the_address_is_refused(bob: BobNetwork) -> None:
    with pytest.raises(FundsRulesError, match="is not the HTLC contract"):
        await checked(answers(bob, PROBE) | {"eth_getCode": "0x6000"})


async def test_a_chain_without_the_factory_is_refused() -> None:
    def script(calls: Calls) -> bytes:
        return orjson.dumps({"jsonrpc": "2.0", "id": calls[0]["id"], "result": "0x"})

    async with scripted_node(script) as scripted:
        with pytest.raises(ConfigurationError, match="no deterministic factory"):
            await htlc_deployment(EvmNode(scripted.client(), "BOB"))
