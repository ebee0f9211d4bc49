"""More takers at once than a provider serves: all are accepted in the end, and none waits for an answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from layer2.errors import QuoteRefused
from layer2.legs.leg import Htlc
from layer2.legs.views import Side
from layer2.manager.quoting import asked_pause
from layer2.model.money import BTC, Balance
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.provider.pricing import PriceList
from layer2.provider_client import ProviderClient, ProviderEndpoint
from layer2.swap_rules.agreement import SwapRequest
from layer2.terms.documents import SignedTerms
from provider.made_providers import PRICE, served, world

SWAPS = 50
# The exposure would expire some of the quotes.
PRICES = PriceList(default=PRICE, safe_from=10**9, finalized_from=10**9)


async def test_of_many_takers_at_once_all_are_accepted_and_none_meets_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, Any] = dict.fromkeys(
        ("max_open_swaps", "max_open_swaps_per_taker", "max_unfinished_swaps"), SWAPS
    )
    async with (
        world(tmp_path, prices=PRICES, max_acceptances=2, **limits) as made,
        served(made) as (url, _),
    ):
        made.lightning.balances = {BTC: Balance(10**9, receivable=0)}
        requests = [await made.request(number) for number in range(SWAPS)]
        check, most, refusals = made.bob.check_can_finish, 0, 0

        async def slow(htlc: Htlc, side: Side) -> None:
            nonlocal most
            most = max(most, len([each for each in made.book._swaps.values() if each.version == 0]))
            await asyncio.sleep(0.02)
            await check(htlc, side)

        monkeypatch.setattr(made.bob, "check_can_finish", slow)
        endpoint = ProviderEndpoint("alice", url, made.identity.public_key)
        # Shorter than the time that all swaps take together.
        client = ProviderClient(endpoint, ConnectionPoolConfig(max_connections=200), 2_000)

        async def accepted(request: SwapRequest) -> SignedTerms:
            nonlocal refusals
            while True:
                try:
                    return await client.open_swap(request, made.quotes[request.quote_id])
                except QuoteRefused as error:
                    if error.code != "busy":
                        raise
                    refusals += 1
                    # The pause of the protocol is in whole seconds; a test is faster.
                    await asyncio.sleep(asked_pause(error) / 20)

        try:
            async with asyncio.timeout(60):
                terms = await asyncio.gather(*(accepted(request) for request in requests))
        finally:
            await client.aclose()
        assert {each.terms.swap_id for each in terms} == {each.swap_id for each in await made.records()}
        assert len(terms) == SWAPS
        assert refusals > 0
        assert most <= 2
