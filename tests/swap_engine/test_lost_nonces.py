"""An act whose nonce another worker has taken is not performed: it is prepared again, or it has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from layer2.errors import JournalError, NodeUnreachable, NonceTaken, Outcome
from layer2.ports.journal import Delivery, Intent, SwapRecord
from layer2.ports.nonces import NonceClaim, NonceUse
from swap_engine.test_acts import deliveries
from swap_engine.two_parties import Scene
from swap_engine.virtual_time import run


def test_an_act_whose_nonce_was_taken_before_it_was_journaled_is_prepared_again_at_once() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        taker, advance = scene.taker, scene.taker.journal.advance
        refused: list[Sequence[Intent]] = []

        async def taken_once(record: SwapRecord, **values: Any) -> SwapRecord:
            if values.get("intents") and not refused:
                refused.append(values["intents"])
                raise NonceTaken("another transaction has the nonce")
            return await advance(record, **values)

        taker.journal.advance = taken_once  # type: ignore[method-assign]  # the injected fault
        await taker.runner.resume()
        await asyncio.sleep(0.3)
        assert taker.source.calls.count("discard") == 1
        assert await deliveries(taker) == [("fund", Delivery.TAKEN)]
        acts = [intent.act for intent in await taker.journal.intents(taker.record.swap_id)]
        assert acts != [intent.act for intent in refused[0]]
        await scene.close()

    run(story())


def test_an_act_that_lost_its_nonce_after_it_was_journaled_is_not_sent_and_counts_as_refused() -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        taker = scene.taker

        async def taken(
            record: SwapRecord, intent: Intent, attempt: str, *, nonces: Sequence[NonceClaim] = ()
        ) -> Delivery:
            raise NonceTaken("another transaction has the nonce")

        async def fault(when: str, what: str) -> None:
            await asyncio.sleep(0)
            assert what != "perform", "the act must not be sent"

        taker.journal.begin_delivery = taken  # type: ignore[method-assign]  # the injected fault
        taker.source.fault = fault
        await taker.runner.resume()
        await asyncio.sleep(0.3)
        assert await deliveries(taker) == [("fund", Delivery.REJECTED)]
        assert not scene.chain.pool
        await scene.close()

    run(story())


@pytest.mark.parametrize("fails", ["before perform", "after delivery leaving"], ids=["send", "answer of the journal"])
def test_the_nonce_of_an_act_that_was_certainly_not_sent_counts_as_not_sent_again(fails: str) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        taker, record_delivery = scene.taker, scene.taker.journal.record_delivery
        claims = [NonceClaim(NonceUse("BOB", "0x11", nonce, f"0x{nonce}", b"", "one", is_out=True)) for nonce in (0, 1)]
        returned: list[Sequence[NonceClaim]] = []

        async def recorded(record: SwapRecord, number: int, delivery: Delivery, **given: Any) -> Delivery:
            if delivery is Delivery.UNSENT:
                returned.append(given["nonces"])
            return await record_delivery(record, number, delivery, **given)

        async def fault(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if f"{when} {what}" == fails and not returned:
                raise (NodeUnreachable if what == "perform" else JournalError)("the node is down")

        taker.source.nonces = lambda act, *, is_journaled: claims  # type: ignore[method-assign]  # the fake has none
        taker.journal.record_delivery = recorded  # type: ignore[method-assign]  # watched
        taker.on_fault(fault)
        await taker.runner.resume()
        await asyncio.sleep(0.3)
        # The first one may be shared with another act that has been sent.
        assert returned == [claims[1:]]
        await scene.close()

    run(story())


@pytest.mark.parametrize("error", [NonceTaken, JournalError], ids=["nonce taken", "read-only journal"])
def test_a_claim_that_is_repeated_leaves_without_the_journal_and_is_made_again_if_its_nonce_was_taken(
    error: type[JournalError],
) -> None:
    async def story() -> None:
        scene = await Scene.to_lightning()
        provider, begin = scene.provider, scene.provider.journal.begin_delivery
        lost: list[int] = []

        async def fault(when: str, what: str) -> None:
            await asyncio.sleep(0)
            if (when, what) == ("before", "perform") and not lost:
                lost.append(0)
                raise NodeUnreachable("the answer was lost", outcome=Outcome.UNKNOWN)

        async def refused(record: SwapRecord, intent: Intent, attempt: str, **given: Any) -> Delivery:
            if intent.delivery is Delivery.UNKNOWN:
                lost.append(intent.number)
                provider.source.given.clear()  # type: ignore[attr-defined]  # the other transaction is not in this world
                raise error("not written")
            return await begin(record, intent, attempt, **given)

        provider.source.fault = fault
        provider.journal.begin_delivery = refused  # type: ignore[method-assign]  # the injected fault
        await scene.play()
        assert lost == [0, 2]
        claims = [each for each in await provider.journal.intents(provider.record.swap_id) if each.verb == "collect"]
        assert len(claims) == (2 if error is NonceTaken else 1)
        assert scene.states == ("completed", "completed")
        await scene.close()

    run(story())
