"""Durable access to an SQL database in a separate thread. Writes that wait at the same time share a commit."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar, cast

from sqlalchemy import ColumnElement, Connection, Engine, bindparam, delete, not_, select, update
from sqlalchemy.exc import SQLAlchemyError

from layer2.errors import JournalBusy, JournalError, Outcome
from layer2.journal.database_thread import DatabaseThread
from layer2.journal.rows import insert_or_keep
from layer2.journal.schema import sessions

__all__ = ["Database", "DatabaseKind"]

Given = TypeVar("Given")
T = TypeVar("T")
_PAUSES: Final = (0.0, 0.05, 0.3, 1.0)
"""Seconds before each attempt of a transaction that another one, or the server, has ended."""
_WRITE_NUMBER: Final = (
    update(sessions)
    .where(sessions.c.session_id == bindparam("of"), sessions.c.number >= bindparam("committed"))
    .values(number=bindparam("new"))
)
_LOOK_UP_PAUSES: Final = (*_PAUSES, 2.0, 4.0)
"""Seconds before each attempt to find out whether a transaction was made. A server that restarts needs some."""


@dataclass(frozen=True, slots=True)
class DatabaseKind:
    """What differs between kinds of database."""

    reading: Mapping[str, Any]
    """Options of a connection that reads a consistent view."""
    writing: Mapping[str, Any]
    """Options of a connection whose transactions are as if made one after the other."""
    is_temporary: Callable[[SQLAlchemyError], bool]
    """Whether an error ended a transaction that can be repeated."""
    cause: Callable[[SQLAlchemyError], str]
    """A description of an error that does not contain any value."""
    remedy: Callable[[SQLAlchemyError], str | None]
    """What an operator can do about an error, if that is known."""
    is_live_worker: ColumnElement[bool]
    """A condition on the rows of ``sessions``: whether a worker that holds the guard has the row."""
    lock_nonces: str | None = None
    """A statement with which a transaction waits for others that have made it. None: a transaction is always alone."""
    lock_acceptances: str | None = None
    """Another such statement."""


@dataclass(frozen=True, slots=True)
class _Write:
    make: Callable[[Connection, Sequence[Any]], Sequence[object]]
    given: object
    locks_nonces: bool = False
    locks_acceptances: bool = False


@dataclass(slots=True)
class _Attempt:
    """How far a transaction came."""

    is_at_work: bool = False
    """The statements of the writes are being made."""
    is_committing: bool = False
    """Its COMMIT has begun, and it is not known whether it was made."""


class Database:
    """A journal's database. Work runs in order, in the database's thread.

    Writes that wait at the same time share one commit, and so one wait for the disk. A transaction that the database
    refused because of another one is repeated. A COMMIT whose answer was lost is looked up: each transaction writes its
    number to the row of this object in ``sessions``. A row that lacks a number that was written shows that the server
    continues with an old copy: then no transaction is made. A database belongs to the event loop in which it was
    opened.

    Args:
        name: of the database, for messages, such as "the journal PATH".
        engine: its connections.
        kind: what differs between kinds of database.
        thread: the thread in which all work runs.

    Raises, all methods: JournalError when the database cannot be opened, read or written.
    """

    def __init__(self, name: str, engine: Engine, kind: DatabaseKind, thread: DatabaseThread) -> None:
        self.name = name
        self._engine = engine
        self._kind = kind
        self._thread = thread
        self._closed = False
        self._waiting: list[tuple[_Write, asyncio.Future[Any]]] = []
        """With the future of the caller, whose cancellation prevents a write that is not begun."""
        self._is_writing = False
        self._session_id = secrets.token_hex(16)
        self._number = 0
        """The number of the last transaction that this object began."""
        self._committed = 0
        """The number of the last transaction that is known to be durable."""
        self._has_row = False

    @classmethod
    async def open(cls, name: str, open_engine: Callable[[], Engine], kind: DatabaseKind) -> Self:
        """Open a database in a thread of its own.

        Args:
            open_engine: opens the database and migrates its schema. It is called in that thread.
        """
        thread = DatabaseThread(f"layer2 {name}")
        try:
            engine = await asyncio.get_running_loop().run_in_executor(thread, open_engine)
        except BaseException:
            thread.shutdown()
            raise
        return cls(name, engine, kind, thread)

    async def aclose(self) -> None:
        """Finish pending work, close the database, and end the thread. Can be repeated."""
        if self._closed:
            return
        self._closed = True
        self._start_writing()
        # The thread has at most a few transactions left, so this wait is short.
        self._thread.submit(self._end_session)
        self._thread.submit(self._engine.dispose)
        self._thread.shutdown()

    async def write(self, work: Callable[[Connection], T], *, locks_nonces: bool = False) -> T:
        """Run ``work`` and return when its changes are durable. If it raises, only its own changes are rolled back.

        ``work`` may run several times, each time after a rollback. If the caller is cancelled, the write is either
        complete or never started.

        Args:
            locks_nonces: as for ``write_together``.

        Raises:
            JournalBusy: another process has taken over; nothing was written.
            JournalError: code ``old_copy``: the server continues with a copy that lacks earlier writes of this object;
                nothing was written. Outcome UNKNOWN: it cannot be found out whether the changes were made.
        """
        return await self.write_together(_each, work, locks_nonces=locks_nonces)

    async def write_together(
        self,
        make: Callable[[Connection, Sequence[Given]], Sequence[T | Exception]],
        given: Given,
        *,
        locks_nonces: bool = False,
        locks_acceptances: bool = False,
    ) -> T:
        """As ``write``, with one call of ``make`` for all writes of its kind in a transaction.

        Args:
            make: returns a result for each of the given values, in order. Instead of a result it can return the error
                that the caller gets; then it must have written nothing for that value.
            given: the value of this write.
            locks_nonces: the transaction does not overlap with others that change nonces. Otherwise most of those of
                several workers would be refused and repeated, because each needs the next nonce.
            locks_acceptances: the same for swaps that are accepted, because each depends on all earlier ones.
        """
        self.check_open()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((_Write(make, given, locks_nonces, locks_acceptances), done))
        if not self._is_writing:
            self._is_writing = True
            # Deferred, so that other writes of this tick share the commit.
            loop.call_soon(self._start_writing)
        return await done

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on a consistent view of the database."""
        self.check_open()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read_in_thread, work)

    @property
    def session_id(self) -> str:
        """The id of this object's row in ``sessions``."""
        return self._session_id

    async def take_over(self, is_held: Callable[[Connection], bool], *, shared: bool = False) -> None:
        """Exclude every earlier object that acted: from now on its transactions fail. Can be repeated.

        Args:
            is_held: whether the guard is held. A process that lost it since, because it was stopped, must not exclude
                the one that has it.
            shared: keep the workers that hold the guard, too.

        Raises:
            JournalBusy: the guard was lost, or another process has taken over.
        """
        own = select(sessions.c.acts).where(sessions.c.session_id == self._session_id)
        others = sessions.c.session_id != self._session_id
        gone = others & not_(self._kind.is_live_worker) if shared else others

        def work(connection: Connection) -> None:
            if connection.execute(own).scalar():
                # No other process has excluded this one.
                return
            if not is_held(connection):
                raise JournalBusy(f"this process has lost the lock of {self.name}", remedy="try again")
            connection.execute(delete(sessions).where(sessions.c.acts, gone))
            connection.execute(update(sessions).where(~others).values(acts=True))

        await self.write(work)

    def has_other_workers(self, connection: Connection) -> bool:
        """Whether workers hold the guard, apart from this object. It is called in a transaction of this database."""
        others = sessions.c.session_id != self._session_id
        return connection.execute(select(sessions).where(others, self._kind.is_live_worker)).first() is not None

    def live_workers(self, connection: Connection) -> frozenset[str]:
        """The rows of ``sessions`` of the workers that hold the guard."""
        query = select(sessions.c.session_id).where(sessions.c.acts, self._kind.is_live_worker)
        return frozenset(connection.execute(query).scalars())

    async def why_it_cannot_write(self) -> JournalError | None:
        """The error of every later write, if it is known; None otherwise, and before the first write."""
        query = select(sessions.c.number).where(sessions.c.session_id == self._session_id)

        def work(connection: Connection) -> JournalError | None:
            # In the thread, so that no transaction is made between the two.
            return self._problem(connection.execute(query).scalar()) if self._has_row else None

        try:
            return await self.read(work)
        except JournalError:
            return None

    def write_in_this_thread(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` as ``write`` does, but in the calling thread. Nothing else may be written meanwhile."""
        (result,) = self._made([_Write(_each, work)])
        if isinstance(result, Exception):
            raise result
        return cast("T", result)

    def check_open(self) -> None:
        """Check that the database is open.

        Raises:
            JournalError: it is closed.
        """
        if self._closed:
            raise JournalError(f"{self.name} is closed", remedy="use it, and the clients, while their manager is open")

    def _start_writing(self) -> None:
        """Write everything that waits, and afterwards what waits then."""
        begun, self._waiting = [(write, done) for write, done in self._waiting if not done.done()], []
        self._is_writing = bool(begun)
        if begun:
            writes = [write for write, _ in begun]
            made = asyncio.get_running_loop().run_in_executor(self._thread, self._made, writes)
            made.add_done_callback(lambda ended: self._end_writing([done for _, done in begun], ended))

    def _end_writing(self, callers: Sequence[asyncio.Future[Any]], ended: asyncio.Future[Sequence[object]]) -> None:
        """Pass the results on, all in one turn of the loop, and write what waits."""
        for done, result in zip(callers, ended.result(), strict=True):
            # A caller that was cancelled meanwhile gets nothing; its write is made.
            if done.done():
                continue
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(result)
        self._start_writing()

    # In the thread

    @contextmanager
    def _transaction(self, options: Mapping[str, Any]) -> Iterator[Connection]:
        with self._engine.connect().execution_options(**options) as connection:
            try:
                with connection.begin():
                    yield connection
            except SQLAlchemyError:
                # A failed commit can leave SQLite's transaction open although SQLAlchemy considers it ended.
                connection.invalidate()
                raise

    def _read_in_thread(self, work: Callable[[Connection], T]) -> T:
        for is_last, pause in _attempts():
            time.sleep(pause)
            try:
                with self._transaction(self._kind.reading) as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                if is_last or not self._kind.is_temporary(error):
                    raise self._journal_error(error) from error
        raise AssertionError("the last attempt returns or raises")

    def _made(self, writes: Sequence[_Write]) -> Sequence[object]:
        """Make the writes in one transaction. If one of several raises, make each in a transaction of its own.

        Returns:
            For each write its result, or the error that its caller gets.
        """
        attempt = _Attempt()
        try:
            return self._commit(writes, attempt)
        except Exception as error:  # noqa: BLE001 - the callers receive it
            if attempt.is_at_work and len(writes) > 1:
                return [self._made([write])[0] for write in writes]
            # A separate error for each write, because raising adds a traceback to an error.
            return [self._seen_by_caller(error, attempt) for _ in writes]

    def _commit(self, writes: Sequence[_Write], attempt: _Attempt) -> Sequence[object]:
        """The results of the writes, which are durable."""
        results: list[object] = []
        for is_last, pause in _attempts():
            time.sleep(pause)
            attempt.is_at_work = attempt.is_committing = False
            self._number += 1
            try:
                with self._transaction(self._kind.writing) as connection:
                    # Before anything else, so that what the other transactions wrote is seen. Always in this order.
                    if self._kind.lock_nonces is not None and any(write.locks_nonces for write in writes):
                        connection.exec_driver_sql(self._kind.lock_nonces)
                    if self._kind.lock_acceptances is not None and any(write.locks_acceptances for write in writes):
                        connection.exec_driver_sql(self._kind.lock_acceptances)
                    self._write_number(connection)
                    attempt.is_at_work = True
                    results = _make(connection, writes)
                    attempt.is_at_work, attempt.is_committing = False, True
            except SQLAlchemyError as error:
                if attempt.is_committing:
                    if self._was_committed():
                        break
                    attempt.is_committing = False
                if is_last or not self._kind.is_temporary(error):
                    raise
            else:
                break
        self._has_row, self._committed = True, self._number
        return results

    def _write_number(self, connection: Connection) -> None:
        """Write the transaction's number to the session's row.

        Raises:
            JournalBusy: the row is gone, because another process has taken over.
            JournalError: code ``old_copy``: the row lacks a number that was written.
        """
        if not self._has_row:
            row = {"session_id": self._session_id, "number": 0, "acts": False}
            # The row may exist already, if the answer to an earlier COMMIT was lost and not found.
            connection.execute(insert_or_keep(connection, sessions).values(row))
        numbers = {"of": self._session_id, "committed": self._committed, "new": self._number}
        if connection.execute(_WRITE_NUMBER, numbers).rowcount != 1:
            of_this = sessions.c.session_id == self._session_id
            problem = self._problem(connection.execute(select(sessions.c.number).where(of_this)).scalar())
            assert problem is not None
            raise problem

    def _problem(self, number: int | None) -> JournalError | None:
        """Why this object cannot write.

        Args:
            number: in its row; None if the row is gone.
        """
        if number is None:
            return JournalBusy(
                f"another process has taken over {self.name}; nothing was written", remedy="end this process"
            )
        if number < self._committed:
            return JournalError(
                f"{self.name} is now an old copy, which lacks what this process has written; nothing was written",
                code="old_copy",
                remedy="start this process again: it then compares the copy with the journal's register",
            )
        return None

    def _was_committed(self) -> bool:
        """Whether the transaction whose COMMIT failed was made. A transaction that is not over holds the row, so this
        waits for its end.

        Raises:
            SQLAlchemyError: that cannot be found out, so the transaction must not be made again.
        """
        query = select(sessions.c.number).where(sessions.c.session_id == self._session_id).with_for_update()
        for is_last, pause in _attempts(_LOOK_UP_PAUSES):
            time.sleep(pause)
            try:
                with self._transaction(self._kind.writing) as connection:
                    return connection.execute(query).scalar() == self._number
            except SQLAlchemyError:
                if is_last:
                    raise
        raise AssertionError("the last attempt returns")

    def _end_session(self) -> None:
        if not self._has_row:
            return
        try:
            with self._transaction(self._kind.writing) as connection:
                connection.execute(delete(sessions).where(sessions.c.session_id == self._session_id))
        except SQLAlchemyError:
            # The next process that acts deletes the row.
            return

    def _seen_by_caller(self, error: Exception, attempt: _Attempt) -> Exception:
        if isinstance(error, SQLAlchemyError):
            journal_error = self._journal_error(error)
            if attempt.is_committing:
                # It could not be found out whether the transaction was made. A caller that takes it for not made would,
                # for example, pay again what another worker finds in the journal and sends.
                journal_error.outcome = Outcome.UNKNOWN
            return journal_error
        if attempt.is_at_work or isinstance(error, JournalError):
            return error
        return JournalError(f"{self.name} could not be written: unexpected {type(error).__name__}")

    def _journal_error(self, error: SQLAlchemyError) -> JournalError:
        journal_error = JournalError(
            f"{self.name} could not be read or written: {self._kind.cause(error)}", remedy=self._kind.remedy(error)
        )
        journal_error.__cause__ = error
        return journal_error


def _attempts(pauses: Sequence[float] = _PAUSES) -> Iterator[tuple[bool, float]]:
    """For each attempt, whether it is the last one, and the seconds before it."""
    for number, pause in enumerate(pauses):
        yield number == len(pauses) - 1, pause


def _make(connection: Connection, writes: Sequence[_Write]) -> list[object]:
    """Make the writes, those of a kind together, and return their results in the order of the writes."""
    kinds: dict[Callable[[Connection, Sequence[Any]], Sequence[object]], list[int]] = {}
    for index, write in enumerate(writes):
        kinds.setdefault(write.make, []).append(index)
    results: dict[int, object] = {}
    for make, indices in kinds.items():
        results.update(zip(indices, make(connection, [writes[index].given for index in indices]), strict=True))
    return [results[index] for index in range(len(writes))]


def _each(connection: Connection, works: Sequence[Callable[[Connection], T]]) -> list[T | Exception]:
    return [work(connection) for work in works]
