"""Batches above a node's limit."""

from __future__ import annotations

import asyncio

from layer2.local.network import LocalNetwork
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.protocols.evm.rpc.json_rpc import JsonRpc


async def test_a_batch_above_the_nodes_limit_blocks_no_caller(network: LocalNetwork) -> None:
    pool = ConnectionPoolConfig(max_batch_calls=1_500)
    rpc = JsonRpc(network.bob.rpc_url, protocol="BOB", pool=pool, timeout=10)
    try:
        for _ in range(2):
            answers = await asyncio.gather(*[rpc.call("eth_chainId") for _ in range(3_003)])
            assert answers == [hex(network.bob.chain_id)] * 3_003
    finally:
        await rpc.aclose()
