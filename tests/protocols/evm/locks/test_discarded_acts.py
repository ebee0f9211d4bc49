"""An act whose journal entry could not be written is never sent, and its nonces are free."""

from __future__ import annotations

import pytest

from layer2.errors import NodeUnreachable, Outcome, TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_hex import parse_data
from layer2.formats.evm_transaction import SignedTransaction, decode_signed
from layer2.legs.views import ActStatus, LegState, Side, Verb
from layer2.model.money import ETH
from layer2.model.transactions import Preimage
from layer2.ports.journal import Json
from layer2.protocols.bob import BobClient
from layer2.protocols.evm.sending import repair
from networks.waiting import until
from protocols.evm.bob_network import BobNetwork

SECRET = Preimage(bytes(range(32)))
OTHER = Preimage(b"\x09" * 32)
SOMEBODY = to_checksum(b"\x05" * 20)


def transactions(act: Json) -> list[SignedTransaction]:
    return [decode_signed(parse_data(raw, "transaction")) for raw in act["transactions"]]


def nonces(act: Json) -> list[int]:
    return [signed.transaction.nonce for signed in transactions(act)]


async def is_refused(client: BobClient, act: Json) -> bool:
    with pytest.raises(TransactionError) as refused:
        await client.legs.perform(act)
    return refused.value.code == "nonce_used"


async def test_three_failed_journals_leave_the_first_nonce_to_the_next_claim(bob: BobNetwork) -> None:
    taker, provider = await bob.client("taker"), await bob.client("provider")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET)))
    for _ in range(3):
        act = await provider.legs.prepare(Verb.COLLECT, bob.htlc(SECRET), SECRET)
        assert nonces(act) == [0]
        provider.legs.discard(act)
    claim = await provider.legs.prepare(Verb.COLLECT, bob.htlc(SECRET), SECRET)
    await provider.legs.perform(claim)
    assert await provider.legs.act_status(claim) is ActStatus.DONE


async def test_acts_that_are_discarded_together_leave_no_gap_to_what_is_sent_after_them(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    first, second = [await taker.legs.prepare(Verb.FUND, bob.htlc(one)) for one in (SECRET, OTHER)]
    assert (nonces(first), nonces(second)) == ([0, 1], [0, 2])
    taker.legs.discard(first)
    taker.legs.discard(second)
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    assert nonces(act) == [0, 1]
    await taker.legs.perform(act)
    assert (await taker.legs.observe(bob.htlc(SECRET), Side.PAYER)).state is LegState.FUNDED
    assert len(bob.sent()) == 6


async def test_a_discarded_act_is_never_sent_and_has_failed(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    taker.legs.discard(act)
    assert await taker.legs.act_status(act) is ActStatus.FAILED
    assert await is_refused(taker, act)
    assert len(bob.sent()) == 4


async def test_an_act_that_is_prepared_again_with_the_same_bytes_is_sent(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    taker.legs.discard(act)
    again = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    assert again == act
    assert await taker.legs.act_status(again) is ActStatus.UNSEEN
    await taker.legs.perform(again)
    assert await taker.legs.act_status(again) is ActStatus.DONE


async def test_discarding_what_was_sent_or_is_of_an_earlier_run_changes_nothing(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    bob.maker.set_enabled(False)
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    await taker.legs.perform(act)
    taker.legs.discard(act)
    again = await bob.client("taker")
    again.legs.discard(act)
    for client in (taker, again):
        assert await client.legs.act_status(act) is ActStatus.UNDER_WAY
        await client.legs.perform(act)
    bob.node.mine()
    assert await again.legs.act_status(act) is ActStatus.DONE


async def test_an_approval_that_another_act_carries_too_stays_with_that(bob: BobNetwork) -> None:
    taker = await bob.client("taker")
    first = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    second = await taker.legs.prepare(Verb.FUND, bob.htlc(OTHER))
    taker.legs.discard(first)
    await taker.legs.perform(second)
    # The first lock's nonce is below the second one's, so it is filled at once.
    await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    bob.node.mine()
    assert await taker.legs.act_status(second) is ActStatus.DONE
    assert await taker.legs.act_status(first) is ActStatus.FAILED


async def test_a_price_that_is_discarded_leaves_the_nonce_to_the_claim_that_waits(bob: BobNetwork) -> None:
    taker, provider, htlc = await bob.client("taker"), await bob.client("provider"), bob.htlc(SECRET)
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
    bob.maker.set_enabled(False)
    claim = await provider.legs.prepare(Verb.COLLECT, htlc, SECRET)
    await provider.legs.perform(claim)
    (signed,) = transactions(claim)
    provider.legs.discard({**claim, "replaced": ["0x" + signed.hash.hex()]})
    later = await provider.legs.prepare(Verb.RELEASE, htlc)
    assert nonces(later) == [1]
    bob.node.mine()
    assert await provider.legs.act_status(claim) is ActStatus.DONE


async def test_a_lock_has_failed_at_once_when_its_nonce_was_given_to_another_before_it_was_sent(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "_PATIENCE", 0.02)
    bob.node.set_finality(0, 0)
    taker = await bob.client("taker")
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    for _ in range(2):
        await taker.transfer_asset_async(ETH, 1, SOMEBODY)

    async def has_failed() -> bool:
        return await taker.legs.act_status(act) is ActStatus.FAILED

    await until(has_failed, "the lock has failed", seconds=5)
    assert await is_refused(taker, act)


async def test_a_lock_of_which_no_byte_was_sent_has_failed_once_its_nonce_is_anothers(
    bob: BobNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker = await bob.client("taker")
    await taker.legs.perform(await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET)))
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(OTHER))

    async def unreachable(raw: bytes) -> bytes:
        raise NodeUnreachable("nobody is there", outcome=Outcome.NOT_SENT)

    with monkeypatch.context() as patched:
        patched.setattr(taker._node, "send", unreachable)
        with pytest.raises(NodeUnreachable):
            await taker.legs.perform(act)
    assert await taker.legs.act_status(act) is ActStatus.UNSEEN
    await taker.transfer_asset_async(ETH, 1, SOMEBODY)
    assert await taker.legs.act_status(act) is ActStatus.FAILED
    assert await is_refused(taker, act)


async def test_a_lock_whose_approval_lost_its_nonce_is_not_sent_and_has_failed_at_once(bob: BobNetwork) -> None:
    taker, other = await bob.client("taker"), await bob.client("taker")
    act = await taker.legs.prepare(Verb.FUND, bob.htlc(SECRET))
    await other.transfer_asset_async(ETH, 1, SOMEBODY)
    assert await is_refused(taker, act)
    assert await taker.legs.act_status(act) is ActStatus.FAILED
    assert (await taker.legs.observe(bob.htlc(SECRET), Side.PAYER)).state is LegState.NONE
