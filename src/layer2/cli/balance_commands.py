"""``layer2 balance``: what you own on each layer; one that fails does not hide the others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from layer2.cli.envelope import Line, Result, Table
from layer2.cli.following import opened
from layer2.cli.session import InSession
from layer2.cli.transfer_wording import balance_rows
from layer2.errors import InitializationError, Layer2Error
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, AssetId, Balance

__all__ = ["balance"]


async def balance(*, session: InSession) -> Result:
    """Show what you own on each configured layer. A layer that cannot be read hides no other."""
    async with opened(session) as manager:

        async def owned(layer: Layer2ProtocolType) -> Mapping[AssetId, Balance] | Layer2Error:
            try:
                client = await manager.get_protocol_async(layer)
                # Not initialize_all_async, which would resume open transfers: this command only reads.
                await client.initialize_async()
                return await client.balances_async()
            except Layer2Error as error:
                return error

        layers = tuple(manager.config.layers)
        with session.terminal.working("asking your nodes"):
            answers = dict(zip(layers, await asyncio.gather(*map(owned, layers)), strict=True))
    failures = {layer: answer for layer, answer in answers.items() if isinstance(answer, Layer2Error)}
    rows = balance_rows({layer: answer for layer, answer in answers.items() if not isinstance(answer, Layer2Error)})
    lines: list[Line] = [Table(("layer", "asset", ">can be sent", ">bound", ">can be received"), rows.text)]
    lines += [f"{layer.value}: not known: {error.message}" for layer, error in failures.items()]
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
