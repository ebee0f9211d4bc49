"""A task for each payout: it starts the transfer, and looks again later; one manager for the worker process."""

import atexit
import threading
from contextlib import ExitStack

from celery import Celery, Task
from celery.contrib.testing.worker import start_worker

from layer2 import BTC, Layer2Config, Layer2Manager, Layer2ProtocolType, TransferState
from layer2.errors import InitializationError

app = Celery("payouts", broker="memory://", backend="cache+memory://")
_opening = threading.Lock()
_closing = ExitStack()
_managers: list[Layer2Manager] = []


def layers() -> Layer2Manager:
    """The manager of this process, opened by the first task: after any fork, and once."""
    with _opening:
        if not _managers:
            with ExitStack() as opening:  # closes the manager after an error, so that the next task can open another
                manager = opening.enter_context(Layer2Manager(Layer2Config.load("layer2.toml")))
                try:
                    manager.initialize_all_sync()
                except InitializationError as error:
                    if not error.retryable:
                        raise
                    print(error)  # a node is down: its layer joins later
                _closing.push(opening.pop_all())
                _managers.append(manager)
    return _managers[0]


atexit.register(_closing.close)


@app.task(bind=True, acks_late=True, max_retries=None)
def pay(self: Task, order: str, satoshi: int) -> str:
    transfer = layers().get_transfer_by_key_sync(order)
    if transfer is None or transfer.state is TransferState.ABANDONED:
        quote = layers().quote_transfer_sync(BTC, satoshi, Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING)
        transfer = layers().start_transfer_sync(quote, idempotency_key=order)
    if not transfer.state.is_final:
        raise self.retry(countdown=0.2)  # the thread is free meanwhile, and the transfer continues
    return f"{order}: {transfer.state.value}"


def main() -> None:
    # As: celery --app payouts worker --pool threads --concurrency 4
    with start_worker(app, pool="threads", concurrency=4, perform_ping_check=False, loglevel="ERROR"):
        results = [pay.delay(order, 20_000) for order in ("order-1", "order-2")]
        for result in results:
            print(result.get(timeout=60))


if __name__ == "__main__":
    main()
