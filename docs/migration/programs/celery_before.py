"""A task for each payout: it opens a manager, and keeps its worker busy until the transfer has ended."""

from celery import Celery
from celery.contrib.testing.worker import start_worker

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType

app = Celery("payouts", broker="memory://", backend="cache+memory://")


@app.task
def pay(order: str, satoshi: int) -> str:
    with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        layers.initialize_all_sync()
        layers.cross_layer_transfer_sync(
            BTC, satoshi, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, idempotency_key=order
        )
    return f"{order}: completed"


def main() -> None:
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR"):
        results = [pay.delay(order, 20_000) for order in ("order-1", "order-2")]
        for result in results:
            print(result.get(timeout=60))


if __name__ == "__main__":
    main()
