"""``layer2 balance``: your balances on each layer, of a taker or of a provider."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from layer2.assembly import journal_place, reading_client
from layer2.cli.exit_status import combined
from layer2.cli.journal_reading import held_coins
from layer2.cli.output import Result, table
from layer2.cli.session import InSession
from layer2.cli.wording import amount_of, fields_of
from layer2.errors import Layer2Error
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance
from layer2.ports.clock import SystemClock

__all__ = ["balance"]


async def balance(*, session: InSession) -> Result:
    """Show your balance on each configured layer, of a taker or of a provider.

    A layer that cannot be read does not hide the others.
    """
    settings, clock = session.settings(), SystemClock()

    async def owned(layer: Layer2ProtocolType) -> Mapping[AssetId, Balance] | Layer2Error:
        try:
            held = await held_coins(journal_place(settings), layer.value)
            async with reading_client(settings, layer, clock, held) as client:
                await client.initialize_async()
                return await client.balances_async()
        except Layer2Error as error:
            return error

    layers = tuple(settings.layers)
    with session.terminal.working("asking your nodes"):
        answers = dict(zip(layers, await asyncio.gather(*map(owned, layers)), strict=True))
    rows: list[tuple[str, ...]] = []
    balances: list[dict[str, object]] = []
    failures: dict[str, Layer2Error] = {}
    for layer, answer in answers.items():
        if isinstance(answer, Layer2Error):
            failures[layer.value] = answer
            continue
        for asset, one in sorted(answer.items(), key=lambda entry: entry[0].code):
            amounts = {"spendable": one.spendable, "reserved": one.reserved, "receivable": one.receivable}
            name, unit = (asset.code, "sat") if asset == BTC else (f"{asset.code} (gas)", "wei")
            shown = ["no limit" if amount is None else amount_of(asset, amount) for amount in amounts.values()]
            rows.append((layer.value, name, *shown))
            exact = {key: None if amount is None else str(amount) for key, amount in amounts.items()}
            balances.append({"layer": layer.value, "asset": asset.code, "unit": unit, **exact})
    unknown = [f"{layer}: unknown: {error.message}" for layer, error in failures.items()]
    return Result(
        {
            "balances": balances,
            "failures": {layer: fields_of(error, "code", "message") for layer, error in failures.items()},
        },
        [table(("layer", "asset", ">spendable", ">reserved", ">receivable"), rows), *unknown],
        problem=combined(failures),
    )
