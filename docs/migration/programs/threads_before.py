"""A pool of threads pays orders through one manager."""

from concurrent.futures import ThreadPoolExecutor

from layer2 import BTC, Layer2Config, Layer2Error, Layer2Manager, Layer2ProtocolType


def pay(layers: Layer2Manager, order: str, satoshi: int) -> str:
    try:
        proof = layers.cross_layer_transfer_sync(
            BTC, satoshi, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, idempotency_key=order
        )
    except Layer2Error as error:
        return f"{order}: {error.code}"
    return f"{order}: {proof.outcome.value}"


def main() -> None:
    orders = {"order-1": 20_000, "order-2": -1, "order-3": 20_000}
    with Layer2Manager(Layer2Config.load("layer2.toml")) as layers, ThreadPoolExecutor(max_workers=2) as pool:
        layers.initialize_all_sync()
        for line in pool.map(lambda order: pay(layers, *order), orders.items()):
            print(line)


if __name__ == "__main__":
    main()
