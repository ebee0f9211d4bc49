"""``layer2 balance``: your balances on each layer, of a taker or of a provider."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from layer2.cli.envelope import Line, Result, Table
from layer2.cli.session import InSession
from layer2.cli.transfer_wording import balance_rows
from layer2.errors import InitializationError, Layer2Error
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance

__all__ = ["balance"]


async def balance(*, session: InSession) -> Result:
    """Show your balance on each configured layer, of a taker or of a provider.

    A layer that cannot be read does not hide the others.
    """
    from layer2.assembly import reading_client
    from layer2.ports.clock import SystemClock

    settings, clock = session.settings(), SystemClock()

    async def owned(layer: Layer2ProtocolType) -> Mapping[AssetId, Balance] | Layer2Error:
        try:
            async with reading_client(settings, layer, clock) as client:
                await client.initialize_async()
                return await client.balances_async()
        except Layer2Error as error:
            return error

    layers = tuple(settings.layers)
    with session.terminal.working("asking your nodes"):
        answers = dict(zip(layers, await asyncio.gather(*map(owned, layers)), strict=True))
    failures = {layer: answer for layer, answer in answers.items() if isinstance(answer, Layer2Error)}
    rows = balance_rows({layer: answer for layer, answer in answers.items() if not isinstance(answer, Layer2Error)})
    lines: list[Line] = [Table(("layer", "asset", ">spendable", ">reserved", ">receivable"), rows.text)]
    lines += [f"{layer.value}: unknown: {error.message}" for layer, error in failures.items()]
    return Result(
        {
            "balances": [
                {
                    "layer": layer.value,
                    "asset": asset.code,
                    "unit": "sat" if asset == BTC else "wei",
                    "spendable": str(one.spendable),
                    "reserved": str(one.reserved),
                    "receivable": None if one.receivable is None else str(one.receivable),
                }
                for layer, asset, one in rows.entries
            ],
            "failures": {
                layer.value: {"code": error.code, "message": error.message} for layer, error in failures.items()
            },
        },
        lines,
        problem=_problem(failures),
    )


def _problem(failures: Mapping[Layer2ProtocolType, Layer2Error]) -> Layer2Error | None:
    if len(failures) == 1:
        return next(iter(failures.values()))
    return InitializationError({layer.value: error for layer, error in failures.items()}) if failures else None
