"""Tasks instead of threads; a semaphore instead of the size of a pool."""

import asyncio

from layer2 import BTC, Layer2Config, Layer2Error, Layer2Manager, Layer2ProtocolType


async def pay(layers: Layer2Manager, at_once: asyncio.Semaphore, order: str, satoshi: int) -> str:
    try:
        async with at_once:
            proof = await layers.cross_layer_transfer_async(
                BTC, satoshi, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, idempotency_key=order
            )
    except Layer2Error as error:
        return f"{order}: {error.code}"
    return f"{order}: {proof.outcome.value}"


async def main() -> None:
    orders = {"order-1": 20_000, "order-2": -1, "order-3": 20_000}
    at_once = asyncio.Semaphore(2)
    async with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        await layers.initialize_all_async()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(pay(layers, at_once, *order)) for order in orders.items()]
        for task in tasks:
            print(task.result())


if __name__ == "__main__":
    asyncio.run(main())
