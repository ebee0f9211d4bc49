"""An act whose nonce another worker has taken is not performed: it is prepared again, or it has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from layer2.errors import NonceTaken
from layer2.ports.journal import Delivery, Intent, SwapRecord
from layer2.ports.nonces import NonceClaim
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
