"""In between: the program is async, and functions that are still blocking run in threads."""

import asyncio

from layer2 import BTC, Layer2Config, Layer2Error, Layer2Manager, Layer2ProtocolType


def pay(layers: Layer2Manager, order: str, satoshi: int) -> str:
    """As before. In a thread without an event loop, a twin runs its call in the loop of the manager."""
    try:
        proof = layers.cross_layer_transfer_sync(
            BTC, satoshi, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, idempotency_key=order
        )
    except Layer2Error as error:
        return f"{order}: {error.code}"
    return f"{order}: {proof.outcome.value}"


async def main() -> None:
    orders = {"order-1": 20_000, "order-2": -1, "order-3": 20_000}
    async with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        await layers.initialize_all_async()
        calls = [asyncio.to_thread(pay, layers, order, satoshi) for order, satoshi in orders.items()]
        for line in await asyncio.gather(*calls):
            print(line)


if __name__ == "__main__":
    asyncio.run(main())
