"""Tokens: shared approvals, permits of a lying token, and invalid simulations."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from contracts.chain import compiled_text
from contracts.odd_token import OddToken
from layer2 import BTC
from layer2.contracts.factory import DETERMINISTIC_FACTORY, deployed_address, deployment_call
from layer2.contracts.htlc import HTLC_ADDRESS, HtlcLock
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS, mint_call
from layer2.errors import BadAnswer, FundsRulesError, InvalidRequest, TransactionError
from layer2.formats.evm_abi import encode_call
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_transaction import decode_signed
from layer2.legs.views import LegState, Side, Verb
from layer2.local.simnet.evm.arguments import RpcError
from layer2.local.simnet.evm.methods import EvmMethods
from layer2.model.transactions import Preimage
from layer2.protocols.evm.locks.approvals import Approvals
from layer2.protocols.evm.rpc.node import EvmNode, NodeBlock
from layer2.protocols.evm.tokens.simulation import SimulatedBlock, SimulatedMessage, simulate
from protocols.evm.bob_network import START, BobNetwork
from protocols.evm.scripted_node import Calls, scripted_node

RECIPIENT = "0x" + "5a" * 20
SECRETS = [Preimage(bytes((number,)) * 32) for number in range(1, 11)]


def transactions(act: Any) -> list[str]:
    return [str(raw) for raw in act["transactions"]]


async def test_locks_prepared_at_once_share_one_approval(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    before = len(bob.sent())
    acts = await asyncio.gather(*[taker.legs.prepare(Verb.FUND, bob.htlc(secret)) for secret in SECRETS])
    assert {len(transactions(act)) for act in acts} == {2}
    assert len({transactions(act)[0] for act in acts}) == 1
    # The last act is performed first: it does not need the other acts.
    for act in reversed(acts):
        await taker.legs.perform(act)
    bob.node.mine()
    views = await asyncio.gather(*[taker.legs.observe(bob.htlc(secret), Side.PAYER) for secret in SECRETS])
    assert [view.state for view in views] == [LegState.FUNDED] * len(SECRETS)
    assert len(bob.sent()) - before == 1 + len(SECRETS)


async def test_an_approval_that_waits_in_the_pool_is_not_made_again(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.maker.set_enabled(False)
    first = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRETS[0]))
    await taker.legs.perform(first)
    second = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRETS[1]))
    assert transactions(second)[0] == transactions(first)[0]
    bob.node.mine()
    third = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRETS[2]))
    assert len(transactions(third)) == 1


async def test_an_approval_that_is_mined_while_another_lock_is_checked_does_not_refuse_that_lock(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker = await bob.client("taker")
    bob.maker.set_enabled(False)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, bob.htlc(SECRETS[0])))
    check = Approvals.check

    async def check_after_a_block(approvals: Approvals, lock: HtlcLock, head: NodeBlock) -> None:
        # The approval is in the block after the one that the lock is checked against.
        bob.node.mine()
        await check(approvals, lock, head)

    monkeypatch.setattr(Approvals, "check", check_after_a_block)
    second = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRETS[1]))
    await taker.legs.perform(second)
    bob.node.mine()
    assert (await taker.legs.observe(bob.htlc(SECRETS[1]), Side.PAYER)).state is LegState.FUNDED


async def test_a_lock_never_comes_before_the_approval_that_it_needs(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    acts = await asyncio.gather(*[taker.legs.prepare(Verb.FUND, bob.htlc(secret)) for secret in SECRETS])
    for act in acts:
        approval, lock = [decode_signed(bytes.fromhex(raw[2:])) for raw in transactions(act)]
        assert approval.transaction.nonce < lock.transaction.nonce
        assert (approval.transaction.to, lock.transaction.to) == (TEST_TOKEN_ADDRESS, HTLC_ADDRESS)


async def test_a_node_that_cannot_simulate_sends_no_tokens(bob: BobNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, bob.htlc(SECRETS[0])))
    before = len(bob.sent())
    answer = EvmMethods.answer

    def without(methods: EvmMethods, method: str, arguments: list[Any]) -> Any:
        return answer(methods, "eth_absent" if method == "eth_simulateV1" else method, arguments)

    monkeypatch.setattr(EvmMethods, "answer", without)
    with pytest.raises(TransactionError) as refused:
        await taker.transfer_asset_async(BTC, 1_000, RECIPIENT)
    assert refused.value.code == "no_simulation"
    with pytest.raises(TransactionError) as refused:
        await taker.legs.prepare(Verb.FUND, bob.htlc(SECRETS[1]))
    assert refused.value.code == "no_simulation"
    assert len(bob.sent()) == before
    # Claiming locked money does not need a better node.
    act = await provider.legs.prepare(Verb.COLLECT, bob.htlc(SECRETS[0]), SECRETS[0])
    await provider.legs.perform(act)
    bob.node.mine()
    view = await provider.legs.observe(bob.htlc(SECRETS[0]), Side.PAYEE)
    assert view.state is LegState.COLLECTED


LYING = """
# pragma version 0.4.3
# pragma evm-version paris
decimals: public(constant(uint8)) = 8
name: public(constant(String[9])) = "Odd token"
nonces: public(HashMap[address, uint256])


@external
def DOMAIN_SEPARATOR() -> bytes32:
    return keccak256("the domain of another token")
"""


async def test_no_permit_is_signed_for_a_domain_that_is_not_the_tokens_own(bob: BobNetwork) -> None:
    code = compiled_text(LYING)
    deployer = bob.accounts["deployer"]
    bob.node.send(deployer.sign_call(4, DETERMINISTIC_FACTORY, deployment_call(bytes(32), code), 2_000_000))
    bob.node.mine()
    taker = await bob.client("taker", token_address=to_checksum(deployed_address(bytes(32), code)))
    with pytest.raises(TransactionError) as refused:
        await taker.permit_async(RECIPIENT, 1, START + 3_600)
    assert refused.value.code == "permit_domain"


async def test_a_permit_needs_a_spender_and_time(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    with pytest.raises(InvalidRequest, match="zero address"):
        await taker.permit_async("0x" + "00" * 20, 1, START + 3_600)


CALL = {"returnData": "0x", "gasUsed": "0x1", "status": "0x1"}
NO_ANSWERS: dict[str, Any] = {
    "nothing": None,
    "no_blocks": [],
    "no_calls": [{}],
    "too_few_calls": [{"calls": []}],
    "too_many_calls": [{"calls": [CALL, CALL]}],
    "no_object": [{"calls": ["0x"]}],
    "status": [{"calls": [CALL | {"status": "0x2"}]}],
    "no_error": [{"calls": [CALL | {"status": "0x0"}]}],
    "data": [{"calls": [CALL | {"returnData": "0x0"}]}],
    "gas": [{"calls": [CALL | {"gasUsed": 1}]}],
    "error_data": [{"calls": [CALL | {"status": "0x0", "error": {"message": "a", "data": "0xzz"}}]}],
}


@pytest.mark.parametrize("case", list(NO_ANSWERS))
async def test_an_answer_that_is_not_a_simulation_is_a_bad_answer(case: str) -> None:
    def script(calls: Calls) -> bytes:
        return orjson.dumps({"jsonrpc": "2.0", "id": calls[0]["id"], "result": NO_ANSWERS[case]})

    async with scripted_node(script) as server:
        node = EvmNode(server.client(), "BOB")
        block = SimulatedBlock([SimulatedMessage(bytes(20), bytes(20), b"")])
        with pytest.raises(BadAnswer, match="eth_simulateV1"):
            await simulate(node, [block])


@pytest.mark.parametrize("broken", ["refused", "nonsense"])
async def test_a_claim_does_not_wait_for_a_node_that_simulates(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, bob.htlc(SECRETS[0])))
    answer = EvmMethods.answer

    def breaking(methods: EvmMethods, method: str, arguments: list[Any]) -> Any:
        if method != "eth_simulateV1":
            return answer(methods, method, arguments)
        if broken == "nonsense":
            return "0x"
        raise RpcError(-32000, "simulations are not for everybody")

    monkeypatch.setattr(EvmMethods, "answer", breaking)
    assert len(transactions(await provider.legs.prepare(Verb.COLLECT, bob.htlc(SECRETS[0]), SECRETS[0]))) == 1


async def test_the_preimage_stays_secret_where_the_token_began_to_take_a_fee(bob: BobNetwork) -> None:
    token, deployer = OddToken(), bob.accounts["deployer"]
    calls = [
        (DETERMINISTIC_FACTORY, token.deployment()),
        (token.address, mint_call(bob.address("taker"), 1_000_000)),
    ]
    for nonce, (to, data) in enumerate(calls, 4):
        bob.node.send(deployer.sign_call(nonce, to, data, 2_000_000))
    bob.node.mine()
    clients = [await bob.client(name, token_address=to_checksum(token.address)) for name in ("taker", "provider")]
    taker, provider = clients
    htlc = bob.htlc(SECRETS[0], token=token.address)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    assert await provider.legs.prepare(Verb.COLLECT, htlc, SECRETS[0])
    bob.node.send(deployer.sign_call(6, token.address, encode_call("set_fee(uint256)", 100), 200_000))
    bob.node.mine()
    with pytest.raises(FundsRulesError, match="preimage stays secret") as refused:
        await provider.legs.prepare(Verb.COLLECT, htlc, SECRETS[0])
    assert refused.value.code == "token_short"
