"""A taker or provider that ends, falls silent, or cannot act, exactly where it acts on a layer.

``python -m networks.misbehaving MISBEHAVIOUR LAYER PROGRAM ...`` is PROGRAM, ``provider`` or ``taker``, with one fault
at its first act on LAYER (``bob`` or ``lightning``). Nothing is awaited between the act and the signal, so that the
fault is always at the same place.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from enum import Enum
from pathlib import Path
from typing import Any, assert_never

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType
from layer2.errors import InsufficientFunds
from layer2.interfaces import Json
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork
from layer2.provider import process

__all__ = ["Misbehaviour"]


class Misbehaviour(Enum):
    """What goes wrong at the first act on the layer."""

    DIES_BEFORE = "dies_before"
    """SIGKILL: the intent is durable, and nothing was sent."""
    DIES_AFTER = "dies_after"
    """SIGKILL: it was sent, and nothing is recorded of that."""
    FALLS_SILENT = "falls_silent"
    """SIGSTOP before it acts: the process is there, its connections too, and nothing happens any more."""
    CANNOT_PAY = "cannot_pay"
    """There is no money for the act when it comes to it."""


def misbehave(client: type[BobClient | LightningNetwork], how: Misbehaviour) -> None:
    """Give the client's class the fault."""
    perform, prepare = client.perform, client.prepare

    async def faulty_perform(self: Any, act: Json) -> None:
        match how:
            case Misbehaviour.DIES_BEFORE:
                os.kill(os.getpid(), signal.SIGKILL)
            case Misbehaviour.DIES_AFTER:
                await perform(self, act)
                os.kill(os.getpid(), signal.SIGKILL)
            case Misbehaviour.FALLS_SILENT:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Misbehaviour.CANNOT_PAY:
                await perform(self, act)
            case _:
                assert_never(how)

    async def faulty_prepare(self: Any, *arguments: Any) -> Json:
        if how is Misbehaviour.CANNOT_PAY:
            raise InsufficientFunds("the account is empty")
        return await prepare(self, *arguments)

    client.perform = faulty_perform  # type: ignore[method-assign]
    client.prepare = faulty_prepare  # type: ignore[method-assign,assignment]


async def transfer(config: Path, source: str, destination: str, amount: int) -> None:
    """A taker's whole program."""
    async with Layer2Manager(Layer2Config.load(config)) as layers:
        await layers.initialize_all_async()
        await layers.cross_layer_transfer_async(
            BTC, amount, Layer2ProtocolType(source), Layer2ProtocolType(destination), idempotency_key="the one"
        )


def main() -> None:
    how, layer, program, *arguments = sys.argv[1:]
    misbehave(BobClient if layer == "bob" else LightningNetwork, Misbehaviour(how))
    if program == "provider":
        sys.argv[1:] = arguments
        process.main()
    else:
        config, source, destination, amount = arguments
        asyncio.run(transfer(Path(config), source, destination, int(amount)))


if __name__ == "__main__":
    main()
