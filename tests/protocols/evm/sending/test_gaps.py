"""Missing nonces are filled, so that later transactions are mined, and no transaction is replaced."""

from __future__ import annotations

import asyncio

import pytest
from eth_typing import Address

from layer2.errors import TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_hex import parse_data
from layer2.formats.evm_transaction import SignedTransaction, decode_signed
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.model.money import ETH
from layer2.model.transactions import Preimage
from layer2.ports.journal import Json
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.sending import repair
from networks.waiting import until
from protocols.evm.bob_network import BobNetwork

SOMEBODY = to_checksum(b"\x05" * 20)


def secret(number: int) -> Preimage:
    return Preimage(bytes((number,)) * 32)


def last(act: Json) -> SignedTransaction:
    return decode_signed(parse_data(act["transactions"][-1], "transaction"))


def nonce(act: Json) -> int:
    return last(act).transaction.nonce


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "_BLOCKING_PATIENCE", 0.1)
    monkeypatch.setattr(repair, "_GAP_PATIENCE", 0.05)


async def locked(bob: BobNetwork, count: int) -> list[Htlc]:
    htlcs, taker = [bob.htlc(secret(number)) for number in range(count)], await bob.client("taker")
    for htlc in htlcs:
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    return htlcs


async def claims(client: BobClient, htlcs: list[Htlc]) -> list[Json]:
    return [await client.legs.prepare(Verb.COLLECT, htlc, secret(number)) for number, htlc in enumerate(htlcs)]


async def done(client: BobClient, act: Json) -> ActStatus:
    """The status of an act, once it is in a block."""

    async def is_decided() -> bool:
        return await client.legs.act_status(act) is not ActStatus.UNDER_WAY

    await until(is_decided, "the act is in a block", seconds=5)
    return await client.legs.act_status(act)


@pytest.mark.usefixtures("impatient")
async def test_a_claim_behind_three_acts_whose_journal_failed_is_mined_while_running(bob: BobNetwork) -> None:
    provider, htlcs = await bob.client("provider"), await locked(bob, 4)
    *unsent, claim = await claims(provider, htlcs)
    assert [nonce(act) for act in (*unsent, claim)] == [0, 1, 2, 3]
    await provider.legs.perform(claim)
    assert await done(provider, claim) is ActStatus.DONE
    # An act that was never sent is known to have failed, and is prepared again.
    assert [await provider.legs.act_status(act) for act in unsent] == [ActStatus.FAILED] * 3
    again = await provider.legs.prepare(Verb.COLLECT, htlcs[0], secret(0))
    await provider.legs.perform(again)
    assert await done(provider, again) is ActStatus.DONE


@pytest.mark.usefixtures("impatient")
async def test_a_claim_behind_three_missing_nonces_is_mined_after_a_restart(bob: BobNetwork) -> None:
    provider, htlcs = await bob.client("provider"), await locked(bob, 4)
    claim = (await claims(provider, htlcs))[-1]
    await provider.legs.perform(claim)
    await provider.aclose()
    assert len(bob.node.pool) == 1
    again = await bob.client("provider")
    assert await again.legs.act_status(claim) is ActStatus.UNDER_WAY
    assert await done(again, claim) is ActStatus.DONE
    assert (await again.legs.observe(htlcs[3], Side.PAYEE)).state is LegState.COLLECTED


@pytest.mark.usefixtures("impatient")
async def test_a_lost_claim_that_is_handed_in_again_after_a_restart_has_its_gap_filled(bob: BobNetwork) -> None:
    provider, htlcs = await bob.client("provider"), await locked(bob, 3)
    claim = (await claims(provider, htlcs))[-1]
    again = await bob.client("provider")
    assert await again.legs.act_status(claim) is ActStatus.UNSEEN
    await again.legs.perform(claim)
    assert await done(again, claim) is ActStatus.DONE


@pytest.mark.usefixtures("impatient")
async def test_filling_a_gap_replaces_no_other_claim_of_an_earlier_run(bob: BobNetwork) -> None:
    provider, htlcs = await bob.client("provider", priority_fee_per_gas_wei=1_000), await locked(bob, 4)
    acts = await claims(provider, htlcs)
    # The pool has 1 and 3. 0 and 2 were never sent.
    await provider.legs.perform(acts[1])
    await provider.legs.perform(acts[3])
    await provider.aclose()
    # At this price a filler would outbid the claim with nonce 1.
    again = await bob.client("provider", priority_fee_per_gas_wei=1_000_000)
    assert await again.legs.act_status(acts[3]) is ActStatus.UNDER_WAY
    assert await done(again, acts[3]) is ActStatus.DONE
    assert await again.legs.act_status(acts[1]) is ActStatus.DONE
    assert len([tx_hash for tx_hash in bob.sent() if tx_hash in (last(acts[1]).hash, last(acts[3]).hash)]) == 2


@pytest.mark.usefixtures("impatient")
async def test_an_act_of_an_earlier_run_still_takes_its_nonce_within_the_patience(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "_GAP_PATIENCE", 0.5)
    provider, htlcs = await bob.client("provider"), await locked(bob, 2)
    first, second = await claims(provider, htlcs)
    await provider.legs.perform(second)
    await provider.aclose()
    again = await bob.client("provider")
    assert await again.legs.act_status(second) is ActStatus.UNDER_WAY
    await again.legs.perform(first)
    assert [await done(again, act) for act in (first, second)] == [ActStatus.DONE] * 2
    assert bob.node.chain.state_at(bob.node.chain.head).get_nonce(Address(bob.address("provider"))) == 2


@pytest.mark.usefixtures("impatient")
async def test_a_gap_that_cannot_be_paid_for_is_filled_once_it_can(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, htlcs = await bob.client("provider"), await locked(bob, 2)
    claim = (await claims(provider, htlcs))[-1]
    await provider.legs.perform(claim)
    await provider.aclose()
    again = await bob.client("provider")
    bob.faults.set("error", method="eth_sendRawTransaction", status=502)
    assert await again.legs.act_status(claim) is ActStatus.UNDER_WAY
    await asyncio.sleep(0.3)
    assert await again.legs.act_status(claim) is ActStatus.UNDER_WAY
    bob.faults.set("none")
    assert await done(again, claim) is ActStatus.DONE


async def test_a_new_act_does_not_take_the_nonce_of_a_claim_that_is_found_in_the_pool(bob: BobNetwork) -> None:
    provider, htlcs = await bob.client("provider"), await locked(bob, 2)
    claim = (await claims(provider, htlcs))[-1]
    await provider.legs.perform(claim)
    await provider.aclose()
    again = await bob.client("provider")
    first = await again.legs.prepare(Verb.COLLECT, htlcs[0], secret(0))
    clash = await again.legs.prepare(Verb.RELEASE, htlcs[0])
    assert (nonce(first), nonce(clash)) == (0, 1)
    # Another act got the nonce before the claim of the earlier run was seen. That act is no longer sent.
    assert await again.legs.act_status(claim) is ActStatus.UNDER_WAY
    with pytest.raises(TransactionError) as refused:
        await again.legs.perform(clash)
    assert refused.value.code == "nonce_used"
    assert await again.legs.act_status(clash) is ActStatus.FAILED
    await again.legs.perform(first)
    assert [await done(again, act) for act in (first, claim)] == [ActStatus.DONE] * 2


async def test_a_nonce_given_back_at_the_end_costs_no_transaction(bob: BobNetwork) -> None:
    provider, htlcs = await bob.client("provider"), await locked(bob, 3)
    acts = await claims(provider, htlcs)
    await provider.legs.perform(acts[0])
    for act in (acts[1], acts[2]):
        provider.legs.discard(act)
    await provider.transfer_asset_async(ETH, 1, SOMEBODY)
    assert bob.node.chain.state_at(bob.node.chain.head).get_nonce(Address(bob.address("provider"))) == 2
