"""A devnet from the user's side: it is ready, controllable, and like BOB."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from coincurve import PrivateKey

from layer2.contracts.artefact import load_artefact
from layer2.errors import NodeRefused
from layer2.formats.evm_address import parse_address
from layer2.formats.evm_transaction import Eip1559Transaction
from layer2.local.devnet.json_rpc import JsonRpc
from layer2.local.network import LocalNetwork, LocalNetworkControl, Party

pytestmark = pytest.mark.devnet

ETHER = 10**18


def macaroon_header(party: Party) -> dict[str, str]:
    return {"Grpc-Metadata-macaroon": Path(party.lightning.macaroon_file).read_bytes().hex()}


def evm_key(party: Party) -> PrivateKey:
    return PrivateKey(bytes.fromhex(Path(party.evm_key_file).read_text().strip()))


async def payments_of(party: Party, session: aiohttp.ClientSession) -> list[dict[str, Any]]:
    lightning = party.lightning
    tls = ssl.create_default_context(cafile=lightning.certificate_file)
    async with session.get(f"{lightning.rest_url}/v1/payments", headers=macaroon_header(party), ssl=tls) as response:
        answer = await response.json()
        payments: list[dict[str, Any]] = answer["payments"]
        return payments


async def send_one_wei(bob: JsonRpc, party: Party) -> str:
    """Send a transaction from the party to itself, and return its hash."""
    transaction = Eip1559Transaction(
        chain_id=60808,
        nonce=int(await bob.call("eth_getTransactionCount", party.evm_address, "pending"), 16),
        max_priority_fee_per_gas=1_000_000,
        max_fee_per_gas=10**9,
        gas_limit=21_000,
        to=parse_address(party.evm_address),
        value=1,
    )
    signed = transaction.signed(evm_key(party).sign_recoverable(transaction.signing_hash(), hasher=None))
    return str(await bob.call("eth_sendRawTransaction", "0x" + signed.raw.hex()))


async def test_is_ready_only_after_a_payment_in_each_direction(
    network: LocalNetwork, session: aiohttp.ClientSession
) -> None:
    for party in (network.taker, network.provider):
        payments = await payments_of(party, session)
        assert "SUCCEEDED" in [payment["status"] for payment in payments]


async def test_gives_both_parties_money_on_every_layer(control: LocalNetworkControl) -> None:
    status = await control.status()
    for name in ("taker", "provider"):
        lightning = status[name]
        # Other tests pay over the channel, so only the sum of both sides is fixed.
        assert lightning["lightning_outbound_sat"] + lightning["lightning_inbound_sat"] >= 10_000_000
        assert lightning["bitcoin_sat"] >= 500_000_000
        for chain in ("BOB", "ROOTSTOCK"):
            owned = status["chains"][chain]["balances"][name]
            assert owned.get("token") == (100_000_000 if chain == "BOB" else None)
            assert 9 * ETHER < owned["wei"] <= 10 * ETHER


async def test_refuses_lightning_commands_without_a_macaroon(
    network: LocalNetwork, session: aiohttp.ClientSession
) -> None:
    lightning = network.taker.lightning
    tls = ssl.create_default_context(cafile=lightning.certificate_file)
    async with session.get(f"{lightning.rest_url}/v1/getinfo", ssl=tls) as response:
        assert response.status == 500
        assert "macaroon" in await response.text()


@pytest.mark.parametrize(("layer", "chain_id"), [("BOB", 60808), ("ROOTSTOCK", 33)])
async def test_has_the_contracts_of_each_chain_at_the_addresses_that_commit_to_their_code(
    network: LocalNetwork, session: aiohttp.ClientSession, layer: str, chain_id: int
) -> None:
    chain = network.chains[layer]
    node = JsonRpc("op-geth", chain.rpc_url, session)
    assert await node.call("eth_chainId") == hex(chain_id) == hex(chain.chain_id)
    assert bool(chain.token_address) is (layer == "BOB")
    for address, name in ((chain.htlc_address, "htlc"), (chain.token_address, "test_token")):
        if not address:
            continue
        artefact = load_artefact("htlc" if name == "htlc" else "test_token")
        assert await node.call("eth_getCode", address, "latest") == "0x" + artefact.runtime_code.hex()


async def head(node: JsonRpc) -> tuple[int, int, str]:
    """Number, timestamp and hash of the newest block."""
    block = await node.call("eth_getBlockByNumber", "latest", False)
    return int(block["number"], 16), int(block["timestamp"], 16), block["hash"]


async def test_steers_rootstock_and_leaves_bob_alone(
    network: LocalNetwork, control: LocalNetworkControl, session: aiohttp.ClientSession, bob: JsonRpc
) -> None:
    rootstock = JsonRpc("op-geth", network.rootstock.rpc_url, session)
    for layer in network.chains:
        await control.set_automatic(False, chain=layer)
    before = await head(bob)

    height = await control.mine(3, chain="ROOTSTOCK")
    timestamp = await control.advance_chain_time(86_400, chain="ROOTSTOCK")
    assert (await head(rootstock))[:2] == (height + 1, timestamp)
    replaced = await head(rootstock)
    assert await control.reorganise(2, chain="ROOTSTOCK") == height + 2
    assert (await rootstock.call("eth_getBlockByNumber", hex(replaced[0]), False))["hash"] != replaced[2]
    await control.set_finality(safe=height, finalized=height - 2, chain="ROOTSTOCK")
    assert await heights(rootstock) == (height + 2, height, height - 2)

    assert await head(bob) == before
    with pytest.raises(NodeRefused, match="no chain 'LIQUID': BOB or ROOTSTOCK"):
        await control.mine(chain="LIQUID")


async def test_charges_nothing_but_gas_on_rootstock_and_takes_its_legacy_transactions(
    network: LocalNetwork, session: aiohttp.ClientSession
) -> None:
    node = JsonRpc("op-geth", network.rootstock.rpc_url, session)
    _, paid, *_ = await node.call("eth_getBlockReceipts", "0x1")
    assert (paid["type"], paid["l1Fee"]) == ("0x0", "0x0")
    assert {paid.get(name, "0x0") for name in ("operatorFeeScalar", "operatorFeeConstant")} == {"0x0"}


async def test_opens_every_block_with_a_deposit_and_charges_l1_and_operator_fees(bob: JsonRpc) -> None:
    deposit, *paid = await bob.call("eth_getBlockReceipts", "0x1")
    assert deposit["type"] == "0x7e"
    assert deposit["depositReceiptVersion"] == "0x1"
    # The receipts' fees are the fees that the sender paid: its balance is one million ETH less these fees.
    fees = 0
    for receipt in paid:
        gas = int(receipt["gasUsed"], 16)
        operator_scalar = int(receipt["operatorFeeScalar"], 16)
        operator_constant = int(receipt["operatorFeeConstant"], 16)
        l1_fee = int(receipt["l1Fee"], 16)
        assert l1_fee > 0
        assert operator_scalar > 0
        fees += gas * int(receipt["effectiveGasPrice"], 16) + l1_fee
        fees += gas * operator_scalar // 10**6 + operator_constant
    faucet = paid[0]["from"]
    assert int(await bob.call("eth_getBalance", faucet, "0x1"), 16) == 10**24 - fees


async def test_makes_a_block_for_a_transaction_by_itself(network: LocalNetwork, bob: JsonRpc) -> None:
    sent = await send_one_wei(bob, network.taker)
    async with asyncio.timeout(10):
        while await bob.call("eth_getTransactionReceipt", sent) is None:
            pass


async def test_makes_no_block_by_itself_while_that_is_off(
    network: LocalNetwork, control: LocalNetworkControl, bob: JsonRpc
) -> None:
    await control.set_automatic(False)
    before = int(await bob.call("eth_blockNumber"), 16)
    sent = await send_one_wei(bob, network.taker)
    assert await control.mine(3) == before + 3
    assert int((await bob.call("eth_getTransactionReceipt", sent))["blockNumber"], 16) == before + 1


async def test_moves_the_clock_of_the_chain_forward(control: LocalNetworkControl, bob: JsonRpc) -> None:
    await control.set_automatic(False)
    before = int((await bob.call("eth_getBlockByNumber", "latest", False))["timestamp"], 16)
    timestamp = await control.advance_chain_time(3 * 86_400)
    assert timestamp >= before + 3 * 86_400
    head = await bob.call("eth_getBlockByNumber", "latest", False)
    assert int(head["timestamp"], 16) == timestamp
    # The clock continues from there.
    await control.mine(1)
    assert int((await bob.call("eth_getBlockByNumber", "latest", False))["timestamp"], 16) > timestamp


async def heights(bob: JsonRpc) -> tuple[int, ...]:
    blocks = [await bob.call("eth_getBlockByNumber", tag, False) for tag in ("latest", "safe", "finalized")]
    return tuple(int(block["number"], 16) for block in blocks)


async def test_lets_safe_and_finalized_follow_the_head_or_holds_them(
    control: LocalNetworkControl, bob: JsonRpc
) -> None:
    await control.set_automatic(False)
    head = await control.mine(6)
    assert await heights(bob) == (head, head - 2, head - 4)
    await control.set_finality(safe=head - 5, finalized=head - 6)
    await control.mine(2)
    assert await heights(bob) == (head + 2, head - 5, head - 6)
    with pytest.raises(NodeRefused, match="the head is at"):
        await control.set_finality(safe=head + 3)


async def test_a_reorganisation_takes_a_receipt_away_until_the_transaction_is_mined_again(
    network: LocalNetwork, control: LocalNetworkControl, bob: JsonRpc
) -> None:
    await control.set_automatic(False)
    sent = await send_one_wei(bob, network.taker)
    head = await control.mine(2)
    first = await bob.call("eth_getTransactionReceipt", sent)
    old = await bob.call("eth_getBlockByNumber", hex(head), False)

    assert await control.reorganise(2) == head + 1
    assert await bob.call("eth_getTransactionReceipt", sent) is None
    assert (await bob.call("eth_getBlockByNumber", hex(head), False))["hash"] != old["hash"]

    await control.mine(1)
    second = await bob.call("eth_getTransactionReceipt", sent)
    assert int(second["blockNumber"], 16) == head + 2
    assert second["blockHash"] != first["blockHash"]


async def test_reorganises_twenty_blocks_where_finality_is_held_below_them(
    control: LocalNetworkControl, bob: JsonRpc
) -> None:
    await control.set_automatic(False)
    head = await control.mine(20)
    with pytest.raises(NodeRefused, match="below the finalized head"):
        await control.reorganise(20)
    await control.set_finality(safe=head - 20, finalized=head - 20)
    assert await control.reorganise(20) == head + 1
    assert await heights(bob) == (head + 1, head - 20, head - 20)


async def test_makes_bitcoin_blocks_that_both_lightning_nodes_have_seen(control: LocalNetworkControl) -> None:
    before = (await control.status())["bitcoin"]["height"]
    assert await control.mine_bitcoin(3) == before + 3


@pytest.mark.parametrize("kind", ["down", "none"])
async def test_refuses_fault_switches(control: LocalNetworkControl, kind: str) -> None:
    with pytest.raises(NodeRefused, match="the devnet runs real nodes"):
        await control.fault("bob", kind)


async def test_refuses_to_forget_transactions(control: LocalNetworkControl) -> None:
    with pytest.raises(NodeRefused, match="only the simnet can forget them"):
        await control.reorganise(1, keep_transactions=False)
