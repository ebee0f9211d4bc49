"""Pay two orders, one after the other."""

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType


def pay(layers: Layer2Manager, order: str) -> str:
    proof = layers.cross_layer_transfer_sync(
        BTC, 20_000, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, max_fee=1_000, idempotency_key=order
    )
    return f"{order}: {proof.outcome.value}"


def main() -> None:
    with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        layers.initialize_all_sync()
        for order in ("order-1", "order-2"):
            print(pay(layers, order))


if __name__ == "__main__":
    main()
