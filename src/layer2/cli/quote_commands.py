"""``layer2 pairs`` and ``quote``: the offers of the providers. No transfer is started."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from layer2.cli.amounts import Satoshi
from layer2.cli.envelope import Result, Table
from layer2.cli.following import opened
from layer2.cli.layer_names import Destination, Source
from layer2.cli.session import InSession
from layer2.cli.transfer_wording import quote_data, quote_line
from layer2.cli.wording import duration, sat
from layer2.errors import InvalidRequest
from layer2.model.money import BTC

if TYPE_CHECKING:
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
        [Table(columns, rows) if rows else "no provider serves a pair of layers"],
    )


def _pair_data(offer: PairOffer) -> dict[str, Any]:
    return {
        "provider": offer.provider_name,
        "source": offer.source.value,
        "destination": offer.destination.value,
        "min_amount": offer.min_amount,
        "max_amount": offer.max_amount,
        "base_fee": offer.base_fee,
        "fee_ppm": offer.fee_ppm,
        "network_fee": offer.network_fee,
        "collect_by_seconds": offer.collect_by,
        "known_seconds": offer.known,
        "source_deadline_seconds": offer.source_deadline,
        "worst_seconds": offer.worst,
    }


async def quote(
    amount: Satoshi | None = None,
    *,
    source: Source,
    destination: Destination,
    send: Satoshi | None = None,
    recipient: str | None = None,
    max_fee: Satoshi | None = None,
    session: InSession,
) -> Result:
    """Request quotes from all configured providers and show the cheapest. No transfer is started.

    Args:
        amount: The amount to arrive, in satoshi; or use --send.
        source: The layer that pays.
        destination: The layer that receives.
        send: The amount to leave the source, in satoshi, instead of the amount to arrive.
        recipient: A BOLT 11 invoice of another party. Default: you receive the money.
        max_fee: The maximum fee in satoshi: what leaves the source less what arrives. Default: 1 % plus twice the
            estimated network costs.
    """
    if (amount is None) == (send is None):
        raise InvalidRequest("use exactly one of AMOUNT (to arrive) and --send (to leave)", code="usage")
    async with opened(session) as manager:
        with session.terminal.working("asking the providers"):
            # Not initialize_all_async, which would resume open transfers.
            for layer in dict.fromkeys((source, destination)):
                await (await manager.get_protocol_async(layer)).initialize_async()
            offer = await manager.quote_transfer_async(
                BTC, amount, source, destination, recipient=recipient, max_fee=max_fee, send_amount=send
            )
    return Result(quote_data(offer), [quote_line(offer, time.time())])
