"""``layer2 pairs`` and ``quote``: what the providers offer. Nothing is begun."""

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
    """Show what each provider asks, takes and how long it binds your money, for each pair of layers.

    None of it is signed: only a quote binds a provider. 'collect within' is the time that you have to collect what
    arrives, 'back within' the time after which your money is surely back if the provider vanishes.
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
        [Table(columns, rows) if rows else "no provider offers a pair of layers"],
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
    """Ask all configured providers for a price and show the cheapest. Nothing is begun.

    Args:
        amount: What has to arrive, in satoshi; or give --send.
        source: The layer that pays.
        destination: The layer that receives.
        send: What leaves the source, in satoshi, instead of what has to arrive.
        recipient: A BOLT 11 invoice of someone else that is to be paid; omitted, the money comes to you.
        max_fee: Most that may leave the source beyond what arrives, in satoshi; omitted, 1 % and twice the estimated
            network costs.
    """
    if (amount is None) == (send is None):
        raise InvalidRequest("give exactly one of AMOUNT, what arrives, and --send, what leaves", code="usage")
    async with opened(session) as manager:
        with session.terminal.working("asking the providers"):
            # This command resumes no open transfers: asking for a price is no act.
            for layer in dict.fromkeys((source, destination)):
                await (await manager.get_protocol_async(layer)).initialize_async()
            offer = await manager.quote_transfer_async(
                BTC, amount, source, destination, recipient=recipient, max_fee=max_fee, send_amount=send
            )
    return Result(quote_data(offer), [quote_line(offer, time.time())])
