"""A thread that runs the calls of one database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Thread
from typing import ParamSpec, TypeVar

__all__ = ["DatabaseThread"]

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseThread(Executor):
    """Runs calls in order in one daemon thread.

    The interpreter shuts a ``ThreadPoolExecutor`` down before it calls the functions registered with ``atexit``, so one
    of them could not close a manager. This thread runs until ``shutdown``, or until the process ends.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - the caller receives it
                    future.set_exception(error)

        self._calls.put(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        assert wait
        assert not cancel_futures
        self._calls.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (work := self._calls.get()) is not None:
            work()
            del work
