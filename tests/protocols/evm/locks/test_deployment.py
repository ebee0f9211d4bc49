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
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.transactions import Preimage
from layer2.net.pool import ConnectionPoolConfig
from layer2.protocols.evm.fees.quotes import Fees
from layer2.protocols.evm.locks.deployment import check_htlc, deploy_htlc
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.sending.account import EvmAccount
from layer2.signers.software import SoftwareEvmSigner
from protocols.evm.bob_network import BobNetwork, bob_network
from protocols.evm.scripted_node import Calls, scripted_node

BOB_FACTS = LAYERS[Layer2ProtocolType.BOB]


@pytest.fixture
async def bare() -> AsyncIterator[BobNetwork]:
    async with bob_network(with_contract=False) as network:
        yield network


async def test_the_contract_is_deployed_once_and_then_found(bare: BobNetwork) -> None:
    rpc = JsonRpc(bare.url, protocol="BOB", pool=ConnectionPoolConfig(), timeout=5)
    node = EvmNode(rpc, "BOB")
    fees = Fees(node, bare.settings(), BOB_FACTS)
    signer = SoftwareEvmSigner(bare.accounts["taker"].key.secret)
    account = EvmAccount(node, signer, fees, chain_id=60808, protocol="BOB")
    try:
        with pytest.raises(FundsRulesError, match="no HTLC contract") as missing:
            await check_htlc(node)
        assert missing.value.code == "no_contract"
        sent = await deploy_htlc(node, account, fees)
        assert sent in bare.sent()
        await check_htlc(node)
        assert await deploy_htlc(node, account, fees) is None
    finally:
        await account.aclose()
        await fees.aclose()
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
    with pytest.raises(FundsRulesError, match="not that of the HTLC"):
        await checked(answers(bob, PROBE) | {"eth_getCode": "0x6000"})


async def test_a_chain_without_the_factory_is_refused() -> None:
    def script(calls: Calls) -> bytes:
        return orjson.dumps({"jsonrpc": "2.0", "id": calls[0]["id"], "result": "0x"})

    async with scripted_node(script) as scripted:
        node = EvmNode(scripted.client(), "BOB")
        # It is refused before any price is asked for.
        fees = Fees(node, None, BOB_FACTS)  # type: ignore[arg-type]
        account = EvmAccount(node, SoftwareEvmSigner(b"\x01" * 32), fees, chain_id=1, protocol="BOB")
        with pytest.raises(ConfigurationError, match="no deterministic factory"):
            await deploy_htlc(node, account, fees)
