"""The sending of acts: durable before the first byte, never repeated wrongly, and independent of the other leg."""

from __future__ import annotations

import asyncio

import pytest

from layer2.errors import BadAnswer, JournalBusy, JournalError, NodeUnreachable, Outcome, TransactionError
from layer2.ports.journal import Delivery
from swap_engine.faults import Killed, breathe
from swap_engine.two_parties import PAIR_IDS, PAIRS, Party, Scene
from swap_engine.virtual_time import run
from swap_rules.example_terms import FEE, SWAP_ID

ANSWERS = [
    (NodeUnreachable("no connection", outcome=Outcome.NOT_SENT), Delivery.UNSENT),
    (NodeUnreachable("no answer", outcome=Outcome.UNKNOWN), Delivery.UNKNOWN),
    (TransactionError("refused", outcome=Outcome.REJECTED), Delivery.REJECTED),
    # There was an answer, so something was sent.
    (BadAnswer("not JSON"), Delivery.UNKNOWN),
    (ZeroDivisionError(), Delivery.UNKNOWN),
]


async def deliveries(party: Party) -> list[tuple[str, Delivery]]:
    return [(one.verb, one.delivery) for one in await party.journal.intents(SWAP_ID)]


@pytest.mark.parametrize(("error", "expected"), ANSWERS, ids=lambda one: getattr(one, "value", type(one).__name__))
def test_what_is_known_of_an_act_is_journaled_before_it_leaves_and_after_the_answer(
    error: Exception, expected: Delivery
) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        before: list[tuple[str, Delivery]] = []

        async def fault(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if (when, what) == ("before", "perform"):
                before.extend(await deliveries(scene.taker))
                raise error

        scene.taker.source.fault = fault
        await scene.taker.runner.resume()
        await asyncio.sleep(0.3)
        assert before == [("fund", Delivery.LEAVING)]
        assert await deliveries(scene.taker) == [("fund", expected)]
        await scene.close()

    run(story())


def test_an_act_does_not_leave_while_it_cannot_be_journaled_as_leaving() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()

        async def fault(when: str, what: str) -> None:
            await asyncio.sleep(0)
            assert what != "act_status", "what surely did not leave is not asked about"
            if what == "delivery leaving":
                raise JournalError("the disk is full")

        scene.taker.journal.fault = scene.taker.source.fault = fault
        await scene.taker.runner.resume()
        await asyncio.sleep(20)
        assert await deliveries(scene.taker) == [("fund", Delivery.INTENDED)]
        assert scene.chain.pool == []
        assert scene.chain.blocks == []
        scene.taker.journal.fault = scene.taker.source.fault = breathe
        await scene.provider.runner.resume()
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        await scene.close()

    run(story())


def test_an_act_that_the_register_refused_does_not_count_as_possibly_sent_after_a_restart() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()

        async def fault(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if (when, what) == ("after", "delivery leaving"):
                raise JournalError("the register cannot be written")

        scene.provider.journal.fault = fault
        await scene.taker.runner.resume()
        await scene.provider.runner.resume()
        await asyncio.sleep(60)
        # A payment that may have been sent is never sent again.
        assert await deliveries(scene.provider) == [("fund", Delivery.UNSENT)]
        await scene.close()

    run(story())


def test_a_funding_is_not_repeated_by_a_process_that_can_no_longer_write() -> None:
    """Another process may have taken over, and may have decided that the funding is over."""

    async def story() -> None:
        scene = await Scene.to_lightning()
        is_replaced = False
        repeated = 0

        async def fault(when: str, what: str) -> None:
            nonlocal is_replaced, repeated
            await asyncio.sleep(0)
            if is_replaced and what.startswith("delivery"):
                raise JournalBusy("another process has taken over")
            if (when, what) == ("before", "perform"):
                repeated += is_replaced
                raise NodeUnreachable("no answer", outcome=Outcome.UNKNOWN)
            if (when, what) == ("after", "delivery unknown"):
                is_replaced = True

        scene.taker.journal.fault = scene.taker.source.fault = fault
        await scene.taker.runner.resume()
        await asyncio.sleep(60)
        assert is_replaced
        assert repeated == 0
        assert scene.chain.pool == []
        scene.taker.journal.fault = scene.taker.source.fault = breathe
        await scene.provider.runner.resume()
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        await scene.close()

    run(story())


def test_an_act_that_was_cancelled_on_its_way_out_may_have_left() -> None:
    async def story() -> None:
        scene = await Scene.to_bob()

        async def hang(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if (when, what) == ("before", "perform"):
                await asyncio.sleep(10**6)

        scene.taker.source.fault = hang
        await scene.taker.runner.resume()
        await asyncio.sleep(5)
        await scene.taker.runner.aclose()
        assert await deliveries(scene.taker) == [("fund", Delivery.LEAVING)]
        scene.taker.source.fault = breathe
        await scene.taker.restart()
        await asyncio.sleep(60)
        # It is not sent a second time, although the node shows no payment.
        assert scene.invoice.sends == 0
        await scene.close()

    run(story())


@pytest.mark.parametrize("first", [Outcome.UNKNOWN, None], ids=["no answer", "killed"])
def test_an_act_that_may_have_left_is_not_unsent_because_the_next_attempt_is(first: Outcome | None) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        error: BaseException = Killed() if first is None else NodeUnreachable("no answer", outcome=first)

        async def fault(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if (when, what) == ("before", "perform"):
                raise error

        scene.taker.source.fault = fault
        await scene.taker.runner.resume()
        await asyncio.sleep(0.3)
        expected = Delivery.LEAVING if first is None else Delivery.UNKNOWN
        assert await deliveries(scene.taker) == [("fund", expected)]
        error = NodeUnreachable("no connection", outcome=Outcome.NOT_SENT)
        await scene.taker.restart()
        await asyncio.sleep(10)
        assert await deliveries(scene.taker) == [("fund", Delivery.UNKNOWN)]
        await scene.close()

    run(story())


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
def test_a_funding_that_cannot_be_prepared_now_is_prepared_later(pair: tuple[str, str]) -> None:
    async def story() -> None:
        scene = await Scene.of(*pair)
        count = 0

        async def fault(when: str, what: str) -> None:
            nonlocal count
            await asyncio.sleep(0)
            count += what == "prepare"
            if what == "prepare" and count < 4:
                raise NodeUnreachable("no connection")

        for layer in (scene.taker.source, scene.provider.destination):
            layer.fault = fault
        await scene.play()
        assert scene.states == ("completed", "completed")
        await scene.close()

    run(story())


def test_an_act_that_could_not_be_journaled_is_taken_back_and_not_performed() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()

        async def fault(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if (when, what) == ("before", "funding"):
                raise JournalError("the disk is full")

        scene.taker.journal.fault = fault
        await scene.taker.runner.resume()
        await asyncio.sleep(20)
        assert scene.taker.state == "agreed"
        assert set(scene.taker.source.calls) == {"discard"}
        assert scene.chain.pool == []
        scene.taker.journal.fault = breathe
        await scene.provider.runner.resume()
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        # The later transactions used the nonces that were returned.
        assert [block.transaction.nonce for block in scene.chain.blocks if block.transaction.sender == "taker"] == [0]
        await scene.close()

    run(story())


def test_an_act_that_was_journaled_in_spite_of_an_error_is_performed_and_not_taken_back() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        count = 0

        async def fault(when: str, what: str) -> None:
            nonlocal count
            await asyncio.sleep(0)
            count += (when, what) == ("after", "funding")
            if (when, what, count) == ("after", "funding", 1):
                raise JournalError("the answer of the disk was lost")

        scene.taker.journal.fault = fault
        await scene.play()
        assert scene.states == ("completed", "completed")
        assert scene.taker.source.calls == []
        assert [verb for verb, _ in await deliveries(scene.taker)] == ["fund", "collect"]
        await scene.close()

    run(story())


def test_a_claim_that_its_node_refused_and_does_not_know_is_made_again() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        count = 0

        async def refuse(when: str, what: str) -> None:
            nonlocal count
            await asyncio.sleep(0)
            if (when, what) == ("before", "perform"):
                count += 1
                if count == 1:
                    raise TransactionError("fee too low", outcome=Outcome.REJECTED)

        scene.provider.source.fault = refuse
        await scene.play()
        assert scene.states == ("completed", "completed")
        claims = [one for one in await deliveries(scene.provider) if one[0] == "collect"]
        assert claims == [("collect", Delivery.REJECTED), ("collect", Delivery.TAKEN)]
        await scene.close()

    run(story())


def test_a_claim_that_waits_for_a_better_price_is_offered_at_one_as_its_next_attempt() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.begin()
        scene.chain.inclusion_seconds = lambda: 4
        await scene.provider.until("collecting")
        await asyncio.sleep(0.1)
        scene.chain.price = 3
        scene.chain.restart_pool()
        await scene.both_final()
        assert scene.states == ("completed", "completed")
        numbers = [one.number for one in await scene.provider.journal.intents(SWAP_ID)]
        assert numbers == [1, 2, 3]
        assert [verb for verb, _ in await deliveries(scene.provider)] == ["fund", "collect", "collect"]
        assert scene.gains == (-FEE, FEE)
        await scene.close()

    run(story())


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "is silent"])
def test_a_dead_layer_does_not_slow_down_what_is_done_on_the_other(pair: tuple[str, str], silent: bool) -> None:
    """The taker has funded and revealed the preimage; from then on the provider's destination node is unreachable."""

    async def story() -> None:
        scene = await Scene.of(*pair)
        await scene.begin()
        await scene.provider.until("collecting")

        async def dead(when: str, what: str) -> None:
            await asyncio.sleep(10**6 if silent else 0)
            raise ConnectionError

        scene.provider.destination.fault = dead
        source = scene.terms.source
        await scene.when(lambda: scene.provider.state == "completed")
        assert scene.provider.source.layer is source.protocol
        await scene.both_final()
        assert scene.gains == (-FEE, FEE)
        await scene.close()

    run(story())


def test_a_dead_layer_is_asked_less_and_less_often_while_the_other_one_moves() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.taker.runner.resume()
        await scene.taker.until("funded")
        asked = {"dead": 0, "alive": 0}

        async def dead(when: str, what: str) -> None:
            asked["dead"] += 1
            raise ConnectionError

        async def alive(when: str, what: str) -> None:
            await asyncio.sleep(0)
            asked["alive"] += what == "observe"

        scene.taker.destination.fault, scene.taker.source.fault = dead, alive
        for second in range(0, 600, 2):
            scene.world.later(second)
        await asyncio.sleep(600)
        assert asked["alive"] >= 300
        assert asked["dead"] <= 600 / 30 + 8
        await scene.close()

    run(story())


def test_a_node_that_fails_occasionally_needs_no_attention() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.taker.runner.resume()
        await scene.taker.until("funded")
        await scene.sleep_until(scene.terms.counter_fund_by + 60)
        count = 0

        async def flaky(when: str, what: str) -> None:
            nonlocal count
            await asyncio.sleep(0)
            count += what == "observe"
            if what == "observe" and count % 3 != 0:
                raise ConnectionError

        scene.taker.destination.fault = flaky
        await asyncio.sleep(600)
        assert count > 10
        events = [one["event"] for one in await scene.taker.journal.events(SWAP_ID)]
        assert "needs attention" not in events
        await scene.close()

    run(story())


def test_a_layer_that_is_back_is_used_at_once_and_a_human_learns_when_it_was_away() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        await scene.taker.runner.resume()
        await scene.taker.until("funded")
        destination = scene.terms.destination.protocol
        gone = scene.taker.legs.pop(destination)
        await scene.sleep_until(scene.terms.counter_fund_by + 60)
        assert "LIGHTNING node cannot be read" in str(scene.taker.record.attention)
        scene.taker.legs[destination] = gone
        await asyncio.sleep(60)
        assert scene.taker.record.attention is None
        events = [one["event"] for one in await scene.taker.journal.events(SWAP_ID)]
        assert events[-2:] == ["needs attention", "attention ended"]
        await scene.close()

    run(story())
