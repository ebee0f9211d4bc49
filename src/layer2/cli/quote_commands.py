"""``layer2 pairs`` and ``quote``: the offers of the providers. No transfer is started."""

from __future__ import annotations

import time

from layer2.cli.following import opened, requested
from layer2.cli.output import Result, table
from layer2.cli.parameters import Move, Satoshi
from layer2.cli.session import InSession
from layer2.cli.transfer_wording import quote_data, quote_line
from layer2.cli.wording import duration, fields_of, sat
from layer2.provider_client import PairOffer

__all__ = ["pairs", "quote"]


async def pairs(*, session: InSession) -> Result:
    """Show the fee, the limits and the durations of each provider, for each pair of layers.

    They are not signed: only a quote binds a provider. 'collect within' is the time that you have to collect what
    arrives. 'back within' is the time after which your money is refunded if the provider disappears.
    """
    async with opened(session) as manager:
        with session.terminal.working("asking the providers"):
            offered = await manager.pairs_async()
    rows = tuple(
        (
            each.provider_name,
            f"{each.source.value} -> {each.destination.value}",
            f"{each.fee_ppm / 10_000:g} % + {sat(each.base_fee + each.network_fee)}",
            f"{each.min_amount:,} to {sat(each.max_amount)}",
            duration(each.collect_by),
            duration(each.worst),
        )
        for each in offered
    )
    columns = ("provider", "from -> to", ">fee", ">amount", ">collect within", ">back within")
    return Result(
        {"pairs": [_pair_data(each) for each in offered]},
        [table(columns, rows) if rows else "no provider serves a pair of layers"],
    )


def _pair_data(offer: PairOffer) -> dict[str, object]:
    return {
        "provider": offer.provider_name,
        **fields_of(offer, "source", "destination", "min_amount", "max_amount", "base_fee", "fee_ppm", "network_fee"),
        "collect_by_seconds": offer.collect_by,
        "known_seconds": offer.known,
        "source_deadline_seconds": offer.source_deadline,
        "worst_seconds": offer.worst,
    }


async def quote(amount: Satoshi | None = None, *, move: Move, session: InSession) -> Result:
    """Request quotes from all configured providers and show the cheapest. No transfer is started.

    Args:
        amount: The amount to arrive, in satoshi; or use --send.
    """
    request = move.request(amount)
    async with opened(session) as manager:
        with session.terminal.working("asking the providers"):
            # Not initialize_all_async, which would resume open transfers.
            for layer in dict.fromkeys((move.source, move.destination)):
                await (await manager.get_protocol_async(layer)).initialize_async()
            offer = await requested(manager, request)
    return Result(quote_data(offer), [quote_line(offer, time.time())])
