"""Attacks on a leg on Bitcoin by the other party, by a miner, by a source, and by payments of dust."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.errors import BadAnswer, FormatError, FundsRulesError
from layer2.formats.bitcoin_transaction import (
    SIGHASH_ALL,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    witness_sighash,
)
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.leg import Htlc
from layer2.legs.views import ActStatus, ClockReading, LegState, Side, Verb
from layer2.local.simnet.bitcoin.chain import ANYONE, ANYONE_WITNESS
from layer2.local.simnet.bitcoin.node import BitcoinNode
from layer2.model.transactions import Finality
from layer2.ports.journal import Json
from layer2.protocols.bitcoin.chain.follower import ChainFollower
from layer2.protocols.bitcoin.chain.outputs import outputs_of
from layer2.protocols.bitcoin.htlc.acts import Broadcast, ReleaseSignatures, read_act
from layer2.protocols.bitcoin.htlc.spending import Held, Sign
from layer2.protocols.bitcoin.htlc.views import Seen, seen_leg
from layer2.protocols.bitcoin.parts import BitcoinParts
from layer2.protocols.bitcoin.settings import BitcoinSettings
from layer2.protocols.bitcoin.source.port import BlockId, Located
from layer2.signers.bitcoin import BitcoinSeed
from memory_sends import MemoryRecords
from protocols.bitcoin.parties import WORDS, FixedClock, two_parties
from protocols.bitcoin.scripts import HTLC, PREIMAGE
from protocols.bitcoin.served_chain import served
from protocols.bitcoin.test_bitcoin_legs import AMOUNT, htlc_of
from protocols.bitcoin.test_json_rpc import answered, refused, scripted
from simnet.bitcoin.coins import NOW, REWARD, reward_of, spend, started_node

STANDARD_SIZE = 100_000
"""Virtual bytes of the largest transaction that nodes relay."""


def program_of(htlc: Htlc) -> bytes:
    assert isinstance(htlc.leg, BitcoinLeg)
    return htlc.leg.htlc.program


def pay(node: BitcoinNode, htlc: Htlc, reward: int, *amounts: int) -> Transaction:
    """A stranger pays these amounts to the leg's script, in one block."""
    outputs = [TxOut(amount, program_of(htlc)) for amount in amounts]
    rest = TxOut(REWARD - sum(amounts) - 100_000, ANYONE)
    inputs = (TxIn(reward_of(node, reward), 0xFFFF_FFFD, b"", ANYONE_WITNESS),)
    paid = Transaction(2, inputs, (*outputs, rest), 0)
    node.mine(1, [paid])
    return paid


def broadcast_of(act: Json) -> Broadcast:
    read = read_act(act)
    assert isinstance(read, Broadcast)
    return read


async def test_a_payee_that_pays_a_thousand_dust_outputs_to_the_script_does_not_stop_the_refund() -> None:
    # Otherwise no node would relay the refund. The payee would wait, and claim after the source was taken back.
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node, blocks=20)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        node.mine(2)
        pay(node, htlc, 2, *[330] * 1_200)
        node.mine(20)
        refund = await taker.legs.prepare(Verb.RECLAIM, htlc)
        made = broadcast_of(refund)
        assert made.transaction.virtual_size < STANDARD_SIZE // 5
        assert made.fee < 25_000, "the payer does not pay for the dust"
        await taker.legs.perform(refund)
        assert await taker.legs.act_status(refund) is ActStatus.UNDER_WAY
        node.mine(6)
        view = await taker.legs.observe(htlc, Side.PAYER)
        assert (view.state, view.over) == (LegState.RETURNED, True)


async def test_dust_that_is_not_worth_its_input_is_left_where_it_is() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node, blocks=20)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        node.mine(2)
        pay(node, htlc, 2, *[1_000] * 50)
        node.mine(20)
        node.set_fees(50_000)
        made = broadcast_of(await taker.legs.prepare(Verb.RECLAIM, htlc))
        assert len(made.coins) == 1
        assert made.fee < 50 * 160


async def test_a_pinned_claim_of_dust_does_not_hold_up_the_refund_of_the_rest() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node, blocks=20)
        assert isinstance(htlc.leg, BitcoinLeg)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        node.mine(2)
        dust = pay(node, htlc, 2, 5_000)
        node.mine(20)
        leg, keys = htlc.leg, provider.parts.keys
        # The payee's claim of the dust has a second input, which pays a fee that no honest refund would pay.
        both = Transaction(
            2,
            (TxIn(OutPoint(dust.hash, 0), 0xFFFF_FFFD), TxIn(reward_of(node, 3), 0xFFFF_FFFD, b"", ANYONE_WITNESS)),
            (TxOut(REWARD - 300_000, ANYONE),),
            0,
        )
        pinning = _signed_by_payee(both, leg, lambda digest: keys.sign(leg.payee, leg.payment_hash, digest))
        node.submit(pinning.encode())
        refund = await taker.legs.prepare(Verb.RECLAIM, htlc)
        await taker.legs.perform(refund)
        node.mine(6)
        assert await taker.legs.act_status(refund) is ActStatus.DONE
        assert (await taker.legs.observe(htlc, Side.PAYER)).over


def _signed_by_payee(bare: Transaction, leg: BitcoinLeg, sign: Sign) -> Transaction:
    digest = witness_sighash(bare, 0, leg.htlc.script, 5_000, SIGHASH_ALL)
    return bare.with_witness(0, leg.htlc.claim_witness(sign(digest) + bytes([SIGHASH_ALL]), PREIMAGE.secret))


async def test_a_release_covers_the_funding_and_stays_readable_whatever_others_pay() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        pay(node, htlc, 2, *[330] * 300)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        node.mine(2)
        signed = await provider.legs.prepare(Verb.RELEASE, htlc)
        assert await provider.legs.act_status(signed) is ActStatus.DONE
        await taker.legs.take_release(htlc, signed)
        pay(node, htlc, 3, 330)
        assert (await taker.legs.observe(htlc, Side.PAYER)).returnable
        await taker.legs.perform(await taker.legs.prepare(Verb.RECLAIM, htlc))
        node.mine(6)
        view = await taker.legs.observe(htlc, Side.PAYER)
        assert (view.state, view.over) == (LegState.RETURNED, True)


@pytest.mark.parametrize("amount", [2**64, 10**70, 21_000_000 * 10**8 + 1])
def test_a_release_of_more_than_there_is_is_not_read(amount: int) -> None:
    # It would raise an error that ends the task which fetches the releases of every provider.
    release = ReleaseSignatures(((Held(OutPoint(bytes(32), 0), amount), b"\x30\x82"),)).write()
    with pytest.raises(FormatError):
        read_act(release)


def coinbase_paying(amount: int) -> Transaction:
    return Transaction(2, (TxIn(OutPoint(bytes(32), 0xFFFF_FFFF), 0, b"\x01\x64"),), (TxOut(amount, HTLC.program),), 0)


@pytest.mark.parametrize(("depth", "state"), [(6, LegState.PENDING), (99, LegState.PENDING), (100, LegState.FUNDED)])
def test_a_miner_that_funds_with_its_reward_has_not_funded_until_it_can_be_claimed(depth: int, state: LegState) -> None:
    # A claim is not valid before the reward is mature, and the lock time can come first.
    leg = BitcoinLeg(
        prefix="bcrt",
        amount=AMOUNT,
        payer=HTLC.payer,
        payee=HTLC.payee,
        payee_release=HTLC.payee_release,
        payment_hash=HTLC.payment_hash,
        locktime=HTLC.locktime,
        issued_height=100,
        depth=6,
        fee_floor=1_000,
        finality=Finality.FINALIZED,
    )
    located = Located(coinbase_paying(AMOUNT), BlockId(100, bytes(32)))
    seen = Seen(outputs_of(HTLC.program, [located]), ClockReading(NOW, 99 + depth), 6, NOW)
    assert seen_leg(leg, seen, Side.PAYEE, by_others=False, is_voided=False, is_returnable=False).state is state


async def test_acts_on_coins_older_than_a_day_are_seen() -> None:
    node = started_node()
    async with two_parties(node) as (taker, provider):
        node.mine(200)
        htlc = await htlc_of(taker, provider, node)
        fund = await taker.legs.prepare(Verb.FUND, htlc)
        assert await taker.legs.act_status(fund) is ActStatus.UNSEEN
        await taker.legs.perform(fund)
        assert await taker.legs.act_status(fund) is ActStatus.UNDER_WAY
        node.mine(1)
        assert await taker.legs.act_status(fund) is ActStatus.DONE


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_void_of_a_coin_older_than_a_day_ends_the_funding(restarts: bool) -> None:
    # Otherwise the swap never ends, and a provider never releases its source.
    node = started_node()
    async with two_parties(node) as (taker, provider):
        node.mine(200)
        htlc = await htlc_of(taker, provider, node)
        fund = await taker.legs.prepare(Verb.FUND, htlc)
        await taker.legs.perform(fund)
        void = await taker.legs.prepare(Verb.VOID, htlc)
        await taker.legs.perform(void)
        if not restarts:
            assert await taker.legs.act_status(void) is ActStatus.UNDER_WAY
        node.mine(6)
        view = await taker.legs.observe(htlc, Side.PAYER)
        assert (view.state, view.over) == (LegState.NONE, True)
        assert await taker.legs.act_status(void) is ActStatus.DONE
        assert await taker.legs.act_status(fund) is ActStatus.FAILED


async def test_a_claim_that_a_large_mempool_holds_since_before_the_start_is_seen_once_it_is_sent_again() -> None:
    # Otherwise it stays at its first fee: what is not seen is sent again, and never with a higher fee.
    claim = spend(reward_of(started_node()), [50_000])
    ids = [claim.id, *(f"{number:064x}" for number in range(300))]
    answers = {
        "getrawmempool": answered(ids),
        "sendrawtransaction": refused(-27, "txn-already-in-mempool"),
    }
    async with scripted(answers) as source:
        assert list(await source.unconfirmed({ANYONE}, ())) == []
        await source.broadcast(claim)
        assert list(await source.unconfirmed({ANYONE}, ())) == [claim]
        answers["getrawmempool"] = answered(ids[1:])
        assert list(await source.unconfirmed({ANYONE}, ())) == []


async def test_a_source_that_invents_mainnet_s_chain_must_mine_it() -> None:
    node = started_node()
    async with served(node) as url:
        settings = BitcoinSettings(network="mainnet", esplora_url=url, poll_interval_ms=1)
        parts = BitcoinParts(settings, BitcoinSeed(WORDS["taker"]), MemoryRecords(), FixedClock())
        try:
            with pytest.raises(BadAnswer, match="less work than any recent one"):
                await parts.follower.read()
        finally:
            await parts.aclose()


def test_the_hash_of_a_batch_of_payments_is_not_calculated_for_each_of_its_outputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Its calculation takes as long as the transaction is: a large one would stop the party for seconds at each reading.
    batch = replace(coinbase_paying(AMOUNT), outputs=(TxOut(AMOUNT, HTLC.program),) * 500)
    hashes = []

    def counted(transaction: Transaction) -> bytes:
        hashes.append(transaction)
        return bytes(32)

    monkeypatch.setattr(Transaction, "hash", property(counted))
    follower = ChainFollower(None, 0.0, 0)  # type: ignore[arg-type]  # it is not asked
    follower._confirmed[HTLC.program] = [Located(batch, BlockId(100, bytes(32)))]
    assert len(outputs_of(HTLC.program, follower.located(HTLC.program))) == 500
    assert len(hashes) < 10


async def test_a_party_follows_no_script_of_a_swap_that_has_ended() -> None:
    # An Esplora server is asked about each script, and about 50 of them at once.
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node)
        fund = await taker.legs.prepare(Verb.FUND, htlc)
        await taker.legs.perform(fund)
        await taker.legs.perform(await taker.legs.prepare(Verb.VOID, htlc))
        await taker.legs.observe(htlc, Side.PAYER)
        await taker.legs.act_status(fund)
        assert taker.parts.follower._watched
        taker.legs.free(htlc)
        assert not taker.parts.follower._watched


async def test_a_release_of_a_stranger_s_payment_alone_returns_nothing() -> None:
    # A party takes its own funding back once. The act must not be used up by an output that the payee paid itself.
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node, blocks=20)
        pay(node, htlc, 2, 5_000)
        decoy = await provider.legs.prepare(Verb.RELEASE, htlc)
        await taker.legs.perform(await taker.legs.prepare(Verb.FUND, htlc))
        node.mine(2)
        await taker.legs.take_release(htlc, decoy)
        assert not (await taker.legs.observe(htlc, Side.PAYER)).returnable
        with pytest.raises(FundsRulesError, match="has not released"):
            await taker.legs.prepare(Verb.RECLAIM, htlc)
        node.mine(20)
        made = broadcast_of(await taker.legs.prepare(Verb.RECLAIM, htlc))
        assert len(made.coins) == 2


async def test_a_stranger_s_payment_is_not_refunded_before_the_funding_is_confirmed() -> None:
    # A funding that is confirmed after the refund of the decoy would stay in the script, for the payee.
    node = started_node()
    async with two_parties(node) as (taker, provider):
        htlc = await htlc_of(taker, provider, node, blocks=20)
        pay(node, htlc, 2, 5_000)
        fund = await taker.legs.prepare(Verb.FUND, htlc)
        node.mine(20)
        await taker.legs.perform(fund)
        with pytest.raises(FundsRulesError, match="no confirmed output"):
            await taker.legs.prepare(Verb.RECLAIM, htlc)
        node.mine(1)
        made = broadcast_of(await taker.legs.prepare(Verb.RECLAIM, htlc))
        assert len(made.coins) == 2
