"""The simnet's two EVM chains share the accounts and the clock; events on one do not affect the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from layer2.errors import ConfigurationError, NodeRefused
from layer2.formats.evm_address import parse_address
from layer2.local.accounts import LocalAccount
from layer2.local.network import LocalNetwork, LocalNetworkControl
from layer2.local.parties import party_values
from layer2.local.simnet.launch import down, up
from simnet.bob_client import BobClient, NodeError, signed
from simnet.rootstock_node import legacy

SEED = b"seed of two chains"
START = 1_800_000_000
TAKER = LocalAccount.from_seed(SEED, "taker")
CHAINS = {"BOB": 60808, "ROOTSTOCK": 33}
OTHER = {"BOB": "ROOTSTOCK", "ROOTSTOCK": "BOB"}

both = pytest.mark.parametrize("name", CHAINS)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """One network for all tests of this module, none of which relies on heights, times or balances."""
    directory = tmp_path_factory.mktemp("two-chains")
    yield up(directory, seed=SEED, clock_start=START, with_parent=True)
    down(directory)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as opened:
        yield opened


@pytest.fixture
async def control(network: LocalNetwork, session: aiohttp.ClientSession) -> AsyncIterator[LocalNetworkControl]:
    """The control client. After the test, both chains are reset to their usual settings."""
    control = LocalNetworkControl(network.control_url, session)
    yield control
    for name in CHAINS:
        await control.fault(name.lower(), "none")
        await control.set_finality(chain=name)
        await control.set_automatic(True, chain=name)


@pytest.fixture
def nodes(network: LocalNetwork, session: aiohttp.ClientSession) -> dict[str, BobClient]:
    return {name: BobClient(chain.rpc_url, session) for name, chain in network.chains.items()}


async def head(node: BobClient) -> tuple[int, int, str]:
    """Number, timestamp and hash of the newest block."""
    block = await node.call("eth_getBlockByNumber", "latest", False)
    return int(block["number"], 16), int(block["timestamp"], 16), block["hash"]


async def coins(node: BobClient, owner: str) -> int:
    return int(await node.call("eth_getBalance", owner, "latest"), 16)


def payment(name: str, nonce: int, to: bytes = b"\x05" * 20, value: int = 1) -> bytes:
    """A payment of the taker on that chain, with a kind of transaction that the chain has."""
    if name == "ROOTSTOCK":
        return legacy(TAKER, nonce, to=to, value=value)
    return signed(TAKER, nonce, to=to, value=value)


async def takers_nonce(node: BobClient) -> int:
    return int(await node.call("eth_getTransactionCount", "0x" + TAKER.address.hex(), "latest"), 16)


async def test_each_chain_has_its_own_id_node_and_block(network: LocalNetwork, nodes: dict[str, BobClient]) -> None:
    assert {name: chain.chain_id for name, chain in network.chains.items()} == CHAINS
    assert (network.bob, network.rootstock) == (network.chains["BOB"], network.chains["ROOTSTOCK"])
    for name, chain_id in CHAINS.items():
        assert await nodes[name].call("eth_chainId") == hex(chain_id)
        assert await nodes[name].call("net_version") == str(chain_id)
    assert network.bob.rpc_url != network.rootstock.rpc_url
    assert (await head(nodes["BOB"]))[2] != (await head(nodes["ROOTSTOCK"]))[2]


@both
async def test_a_block_of_one_chain_does_not_exist_on_the_other(
    control: LocalNetworkControl, nodes: dict[str, BobClient], name: str
) -> None:
    before = await head(nodes[OTHER[name]])
    height = (await head(nodes[name]))[0]
    assert await control.mine(5, chain=name) == height + 5
    assert (await head(nodes[name]))[0] == height + 5
    assert await head(nodes[OTHER[name]]) == before


@both
async def test_the_time_of_one_chain_moves_alone(
    control: LocalNetworkControl, nodes: dict[str, BobClient], name: str
) -> None:
    before = {chain: (await head(node))[1] for chain, node in nodes.items()}
    moved = await control.advance_chain_time(10_000, chain=name)
    await control.mine(chain=OTHER[name])
    assert (await head(nodes[name]))[1] == moved >= before[name] + 10_000
    assert (await head(nodes[OTHER[name]]))[1] == before[OTHER[name]] + 1


@both
async def test_a_reorganisation_of_one_chain_does_not_affect_the_other(
    control: LocalNetworkControl, nodes: dict[str, BobClient], name: str
) -> None:
    for chain in CHAINS:
        await control.mine(3, chain=chain)
    replaced, before = await head(nodes[name]), await head(nodes[OTHER[name]])
    assert await control.reorganise(2, chain=name) == replaced[0] + 1
    assert (await nodes[name].call("eth_getBlockByNumber", hex(replaced[0]), False))["hash"] != replaced[2]
    assert await head(nodes[OTHER[name]]) == before


async def test_finality_is_held_on_bob_and_means_nothing_to_rootstocks_node(
    control: LocalNetworkControl, nodes: dict[str, BobClient]
) -> None:
    for chain in CHAINS:
        await control.set_finality(safe=1, finalized=0, chain=chain)
        await control.mine(9, chain=chain)
    blocks = [await nodes["BOB"].call("eth_getBlockByNumber", tag, False) for tag in ("safe", "finalized")]
    assert [block["number"] for block in blocks] == ["0x1", "0x0"]
    # There it only limits how many blocks are replaced.
    with pytest.raises(NodeRefused, match="below the finalized head"):
        await control.reorganise(10_000, chain="ROOTSTOCK")
    assert (await control.reorganise(9, chain="ROOTSTOCK")) > 9


@both
async def test_a_payment_moves_the_coins_of_one_chain(
    network: LocalNetwork, nodes: dict[str, BobClient], name: str
) -> None:
    payee, other = network.provider.evm_address.lower(), nodes[OTHER[name]]
    owned = await coins(nodes[name], payee), await coins(other, payee)
    nonces = await takers_nonce(nodes[name]), await takers_nonce(other)
    await nodes[name].send(payment(name, nonces[0], parse_address(payee), 7))
    assert (await coins(nodes[name], payee), await coins(other, payee)) == (owned[0] + 7, owned[1])
    assert await takers_nonce(other) == nonces[1]


async def test_a_transaction_signed_for_the_other_chain_is_refused(
    network: LocalNetwork, nodes: dict[str, BobClient], session: aiohttp.ClientSession
) -> None:
    with pytest.raises(NodeError, match="invalid chain id for signer: have 33 want 60808"):
        await nodes["BOB"].send(legacy(TAKER, 0))
    raw = "0x" + legacy(TAKER, 0, chain_id=31).hex()
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]}
    async with session.post(network.rootstock.rpc_url, json=call) as response:
        assert (await response.json())["error"]["message"] == "Invalid chainId: 31"


@both
async def test_automatic_blocks_can_be_off_on_one_chain_and_on_for_the_other(
    control: LocalNetworkControl, nodes: dict[str, BobClient], name: str
) -> None:
    await control.set_automatic(False, chain=name)
    before = {chain: (await head(node))[0] for chain, node in nodes.items()}
    for chain, node in nodes.items():
        await node.send(payment(chain, await takers_nonce(node)))
    assert (await head(nodes[name]))[0] == before[name]
    assert (await head(nodes[OTHER[name]]))[0] == before[OTHER[name]] + 1


@both
async def test_a_fault_of_one_node_does_not_affect_the_other(
    control: LocalNetworkControl, nodes: dict[str, BobClient], name: str
) -> None:
    await control.fault(name.lower(), "down")
    with pytest.raises(aiohttp.ClientConnectionError):
        await nodes[name].call("eth_chainId")
    assert await nodes[OTHER[name]].call("eth_chainId") == hex(CHAINS[OTHER[name]])
    await control.fault(name.lower(), "none")
    assert await nodes[name].call("eth_chainId") == hex(CHAINS[name])


async def test_a_chain_that_does_not_exist_is_refused(control: LocalNetworkControl) -> None:
    with pytest.raises(NodeRefused, match="no chain 'LIQUID': BOB or ROOTSTOCK"):
        await control.mine(chain="LIQUID")


def test_the_settings_of_rootstock_have_depths_and_a_contract_in_place_of_a_token(network: LocalNetwork) -> None:
    values = party_values(network, network.taker)
    bob, rootstock = values["bob"], values["rootstock"]
    assert bob.keys() - rootstock.keys() == {"token_address", "token_decimals", "native_price_sat"}
    assert rootstock.keys() - bob.keys() == {"contract_address", "safe_depth", "final_depth", "dialect"}
    assert (rootstock["rpc_url"], rootstock["chain_id"]) == (network.rootstock.rpc_url, 33)
    assert (rootstock["safe_depth"], rootstock["final_depth"], rootstock["dialect"]) == (2, 4, "rskj")


def test_a_description_that_lacks_a_chain_is_refused(network: LocalNetwork, tmp_path: Path) -> None:
    text = (Path(network.directory) / "network.json").read_text()
    (tmp_path / "network.json").write_text(text.replace('"ROOTSTOCK"', '"LIQUID"'))
    with pytest.raises(ConfigurationError, match="does not describe a local network"):
        LocalNetwork.load(tmp_path)
