"""Pay two orders at once."""

import asyncio

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType


async def pay(layers: Layer2Manager, order: str) -> str:
    proof = await layers.cross_layer_transfer_async(
        BTC, 20_000, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, max_fee=1_000, idempotency_key=order
    )
    return f"{order}: {proof.outcome.value}"


async def main() -> None:
    async with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        await layers.initialize_all_async()
        orders = ("order-1", "order-2")
        for line in await asyncio.gather(*(pay(layers, order) for order in orders)):
            print(line)


if __name__ == "__main__":
    asyncio.run(main())
