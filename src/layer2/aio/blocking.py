"""Blocking twins of async methods, for callers in other threads than the event loop's.

Every public ``name_async`` has a twin ``name_sync`` that is one typed line, ``name_sync = twin(name_async)``. The twin
is a plain function, so type checkers keep parameters, overloads and results. It dispatches by name, so a subclass that
overrides the async method changes the twin too.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from layer2.errors import AsyncRuntimeError

__all__ = ["HasPortal", "Portal", "iterator_twin", "twin"]

P = ParamSpec("P")
R = TypeVar("R")


class Portal:
    """Runs coroutines in one event loop from other threads.

    ``Portal.here()`` uses the running loop. ``Portal.with_own_thread()`` starts a loop in a new thread, which ``close``
    ends. A portal belongs to the process that created it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread | None) -> None:
        self.loop = loop
        self._thread = thread
        self._process_id = os.getpid()

    @classmethod
    def here(cls) -> Portal:
        """A portal to the running loop. Closing the portal does not affect the loop."""
        return cls(asyncio.get_running_loop(), None)

    @classmethod
    def with_own_thread(cls) -> Portal:
        """A portal to a new loop in a new thread; ``close`` ends both.

        Raises:
            AsyncRuntimeError: a loop is already running in this thread: use ``async with``.
        """
        _refuse_inside_a_loop("with", "async with")
        loop = asyncio.new_event_loop()
        started = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(started.set)
            loop.run_forever()

        thread = threading.Thread(target=serve, name="layer2-loop", daemon=True)
        thread.start()
        started.wait()
        return cls(loop, thread)

    def run(self, operation: str, start: Callable[[], Coroutine[object, None, R]]) -> R:
        """Run a coroutine in the portal's loop and wait for its result in this thread.

        An exception in this thread during the wait (KeyboardInterrupt) cancels the coroutine.

        Args:
            operation: the name of the async method, for error messages.
            start: makes the coroutine; called only if the call is allowed.

        Raises:
            AsyncRuntimeError: the call is inside a running loop, after a fork, or after the loop was closed.
        """
        _refuse_inside_a_loop(operation.removesuffix("_async") + "_sync", f"await {operation}")
        self.check_process()
        if self.loop.is_closed() or not self.loop.is_running():
            raise AsyncRuntimeError(f"{operation}: the event loop of this object has ended; create a new object")
        future: Future[R] = asyncio.run_coroutine_threadsafe(start(), self.loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
            raise

    def check_process(self) -> None:
        """Check that the process was not forked: the loop and its sockets belong to the parent.

        Raises:
            AsyncRuntimeError: another process created the portal.
        """
        if os.getpid() != self._process_id:
            raise AsyncRuntimeError(
                "this object was created before a fork and belongs to the parent process; create a new one here"
            )

    def check_loop(self) -> None:
        """Check that the portal's event loop is the running one.

        Raises:
            AsyncRuntimeError: another loop is running.
        """
        self.check_process()
        if asyncio.get_running_loop() is not self.loop:
            raise AsyncRuntimeError(
                "this object belongs to the event loop that entered it; "
                "create another one in this loop, or call the _sync methods from a thread without a loop"
            )

    def close(self) -> None:
        """End the loop and the thread that the portal started: pending tasks are cancelled and awaited."""
        if self._thread is None or os.getpid() != self._process_id:
            return
        thread, self._thread = self._thread, None
        asyncio.run_coroutine_threadsafe(_end_tasks(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        thread.join()
        self.loop.close()


class HasPortal(Protocol):
    """The interface of a twin's first argument."""

    def blocking_portal(self) -> Portal:
        """The portal of this object.

        Raises:
            AsyncRuntimeError: the object was not entered.
        """
        ...


S = TypeVar("S", bound=HasPortal)


def twin(
    method: Callable[Concatenate[S, P], Coroutine[object, None, R]],
) -> Callable[Concatenate[S, P], R]:
    """The blocking form of an async method whose name ends in ``_async``."""
    name = method.__name__

    @functools.wraps(method)
    def blocking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        _refuse_inside_a_loop(name.removesuffix("_async") + "_sync", f"await {name}")
        start: Callable[..., Coroutine[object, None, R]] = getattr(self, name)
        return self.blocking_portal().run(name, lambda: start(*args, **kwargs))

    _describe(blocking, method)
    return blocking


def iterator_twin(
    method: Callable[Concatenate[S, P], AsyncIterator[R]],
) -> Callable[Concatenate[S, P], Iterator[R]]:
    """The blocking form of a method that returns an async iterator. Leaving the loop early closes the iterator."""
    name = method.__name__

    @functools.wraps(method)
    def blocking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        portal = self.blocking_portal()
        start: Callable[..., AsyncIterator[R]] = getattr(self, name)

        async def begin() -> AsyncIterator[R]:
            return start(*args, **kwargs)

        items = portal.run(name, begin)
        try:
            while True:
                try:
                    yield portal.run(name, lambda: _next(items))
                except StopAsyncIteration:
                    return
        finally:
            closing = getattr(items, "aclose", None)
            if closing is not None:
                portal.run(name, closing)

    _describe(blocking, method)
    return blocking


async def _next(items: AsyncIterator[R]) -> R:
    return await anext(items)


async def _end_tasks() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    await asyncio.get_running_loop().shutdown_default_executor()


def _describe(blocking: Callable[..., object], method: Callable[..., object]) -> None:
    # The twin is not a coroutine function, so inspection must not follow it to the async method.
    del blocking.__dict__["__wrapped__"]
    # The twin of an abstract method is complete: it calls the subclass's method.
    blocking.__dict__.pop("__isabstractmethod__", None)
    blocking.__name__ = method.__name__.removesuffix("_async") + "_sync"
    blocking.__qualname__ = method.__qualname__.removesuffix("_async") + "_sync"
    signature = inspect.signature(method)
    if isinstance(signature.return_annotation, str):
        result = signature.return_annotation.replace("AsyncIterator[", "Iterator[")
        signature = signature.replace(return_annotation=result)
    blocking.__dict__["__signature__"] = signature
    first_line = (method.__doc__ or "").strip()
    blocking.__doc__ = f"Blocking twin of ``{method.__name__}``. {first_line}"


def _refuse_inside_a_loop(called: str, instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise AsyncRuntimeError(f"{called} would block the running event loop; use {instead}")
