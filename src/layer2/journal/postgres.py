"""Connects to a database of a PostgreSQL server, with psycopg."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import (
    URL,
    Boolean,
    Connection,
    Engine,
    ExceptionContext,
    create_engine,
    event,
    literal_column,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from layer2.errors import ConfigurationError, JournalError
from layer2.journal.database import DatabaseKind

if TYPE_CHECKING:
    from psycopg import Connection as ServerConnection
    from psycopg.abc import PQGen

__all__ = ["POSTGRES", "cause", "connection_engine", "server_engine", "server_name", "unreachable_remedy"]

T = TypeVar("T")
_SCHEMES: Final = ("postgresql", "postgres")
_OLDEST: Final = 14
"""The first version with ``idle_session_timeout``."""
_REPEATED: Final = ("40001", "40P01", "55P03")
"""A serialisation failure, a deadlock, and a lock that another transaction keeps for longer than ``lock_timeout``."""
_ANSWER_SECONDS: Final = 30.0
"""A server that does not answer one request for this long counts as lost. A slow fsync takes less: a COMMIT that is
given up has to be looked up."""
_CONNECTING: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    # A request that the server does not acknowledge for this long ends the connection, in milliseconds.
    "tcp_user_timeout": 15_000,
}
_SETTINGS: Final = (
    # A process that was stopped in a transaction must not keep its locks.
    "SET idle_in_transaction_session_timeout = '10s'",
    # A frozen session can keep a row; the wait for it must not look like a server that does not answer.
    "SET lock_timeout = '10s'",
    "SET client_min_messages = warning",
)


def _sqlstate(error: SQLAlchemyError) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _is_temporary(error: SQLAlchemyError) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    state = _sqlstate(error)
    if state is None:
        # Without an answer of the server: the connection was lost or could not be made, or the driver refuses a value.
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    # The server restarts, or a network is down.
    return error.connection_invalidated or state in _REPEATED or state[:2] == "08" or state[:3] == "57P"


def cause(error: SQLAlchemyError) -> str:
    """A description of an error. The server's details would show values, and SQLAlchemy's message the statement's."""
    orig = getattr(error, "orig", None)
    message: str | None = getattr(getattr(orig, "diag", None), "message_primary", None)
    if message is None:
        message = str(orig).partition("\n")[0] if orig is not None and _sqlstate(error) is None else None
    return message or type(error).__name__


def unreachable_remedy(error: SQLAlchemyError) -> str:
    """What to do if a database cannot be opened."""
    return _remedy(error) or "check that the server runs, and that the database and the user exist there"


def _remedy(error: SQLAlchemyError) -> str | None:
    state = _sqlstate(error)
    if state == "53100":
        return "free space on the disk of the server; the journal continues by itself"
    # A replica refuses SERIALIZABLE, and everything else that a reader does not need.
    if state in ("25006", "0A000"):
        return "name the server that accepts writes in journal.url"
    return None


_LIVE_WORKER: Final = (
    "EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND pg_locks.database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND classid::bigint = hashtext('layer2 worker')::bigint & 4294967295 "
    "AND objid::bigint = hashtext(sessions.session_id)::bigint & 4294967295)"
)
"""``ServerGuard`` takes this lock for each worker."""

POSTGRES: Final = DatabaseKind(
    reading={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    # None: the server's default. An operator makes a server read-only so that nothing is written there.
    writing={"isolation_level": "SERIALIZABLE", "postgresql_readonly": None},
    is_temporary=_is_temporary,
    cause=cause,
    remedy=_remedy,
    is_live_worker=literal_column(_LIVE_WORKER, Boolean),
    # Unlike a query, it takes no snapshot: the transaction sees what was committed before it got the lock.
    lock_nonces="LOCK TABLE nonces IN SHARE ROW EXCLUSIVE MODE",
    # This mode conflicts with itself and with no write. The table is small and seldom vacuumed.
    lock_acceptances="LOCK TABLE lineage IN SHARE UPDATE EXCLUSIVE MODE",
)


def server_name(url: str) -> str:
    """The address of a database without its password, for messages.

    Raises:
        ConfigurationError: it is not the URL of a PostgreSQL database, or psycopg is not installed.
    """
    shown = _parsed(url).set(drivername="postgresql").difference_update_query(["password", "sslpassword"])
    return shown.render_as_string(hide_password=True)


def connection_engine(url: str, name: str, settings: tuple[str, ...] = ()) -> Engine:
    """An engine whose connections have this package's settings, one at a time and without a pool.

    Args:
        url: ``postgresql://USER:PASSWORD@HOST/DATABASE``; what is missing comes from libpq's environment and files.
        name: of this use, which the server shows as the application's name.
        settings: more SQL for each new connection.
    """
    engine = create_engine(
        _parsed(url), poolclass=NullPool, hide_parameters=True, connect_args={**_CONNECTING, "application_name": name}
    )
    _prepare(engine, (*_SETTINGS, *settings))
    return engine


def server_engine(url: str, title: str, prepare: Callable[[Connection], None]) -> Engine:
    """Connect to the database, check what durability needs, and bring the schema up to date.

    Args:
        title: what the database is, for messages.
        prepare: brings the schema up to date, while no other process does it.

    Raises:
        ConfigurationError: as ``server_name``; code ``not_durable``: the server's fsync is off.
        JournalError: the server cannot be reached, or is too old; and what ``prepare`` raises.
    """
    engine = create_engine(
        _parsed(url),
        hide_parameters=True,
        pool_size=1,
        max_overflow=1,
        connect_args={**_CONNECTING, "application_name": "layer2 journal"},
    )
    _prepare(engine, _SETTINGS)
    try:
        # Each statement sees what another process has migrated meanwhile, regardless of the server's isolation level.
        options = {"isolation_level": "READ COMMITTED", "postgresql_readonly": None}
        with engine.connect().execution_options(**options) as connection, connection.begin():
            _check_server(title, connection)
            # One process at a time migrates; the others find the schema that it made.
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('layer2 schema'))"))
            prepare(connection)
    except SQLAlchemyError as error:
        engine.dispose()
        raise JournalError(f"{title} cannot be opened: {cause(error)}", remedy=unreachable_remedy(error)) from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The error would show the URL, which may contain a password.
        parsed = None
    if parsed is None or parsed.drivername not in _SCHEMES:
        raise ConfigurationError(
            "the URL of a database is not postgresql://USER@HOST/DATABASE",
            code="wrong_value",
            remedy="correct journal.url, journal.register_url or the argument of the command",
        )
    try:
        import psycopg  # noqa: F401 - an extra
    except ImportError as error:
        raise ConfigurationError(
            "a journal on PostgreSQL needs psycopg",
            code="missing_extra",
            remedy="install layer2 again, from where you got it, with its extra 'postgres'",
        ) from error
    return parsed.set(drivername="postgresql+psycopg")


def _prepare(engine: Engine, settings: tuple[str, ...]) -> None:
    def connected(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            for setting in settings:
                cursor.execute(setting)
            cursor.execute("SHOW synchronous_commit")
            if cursor.fetchone() == ("off",):
                cursor.execute("SET synchronous_commit = on")
        connection.commit()

    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", connected)
    event.listen(engine, "handle_error", _hide_values)


def _connect(_dialect: object, _record: object, arguments: Any, options: Any) -> ServerConnection[Any]:
    return _bounded_connection().connect(*arguments, **options)


@cache
def _bounded_connection() -> type[ServerConnection[Any]]:
    """The driver's connection with a limit to each wait for the server.

    The kernel of a frozen server, such as a virtual machine that is paused below it, can still acknowledge. So no limit
    of TCP ends the wait, and no timeout of the server can.
    """
    import psycopg

    class BoundedConnection(psycopg.Connection[Any]):
        def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
            began, limit = time.monotonic(), _ANSWER_SECONDS if timeout is None else timeout
            try:
                return super().wait(gen, interval, limit)
            except psycopg.OperationalError as error:
                if timeout is not None or time.monotonic() - began < limit:
                    raise
                self.pgconn.finish()
                raise psycopg.OperationalError(f"the server has not answered for {limit:.0f} s") from error

    return BoundedConnection


def _hide_values(context: ExceptionContext) -> None:
    """Keep only the cause of an error. A traceback shows it, and the server's details show rows with preimages."""
    seen = context.sqlalchemy_exception
    if seen is not None and _sqlstate(seen) is not None:
        seen.args = context.original_exception.args = (cause(seen),)


def _check_server(title: str, connection: Connection) -> None:
    version, fsync = connection.execute(
        text("SELECT current_setting('server_version_num')::int / 10000, current_setting('fsync')")
    ).one()
    if version < _OLDEST:
        raise JournalError(f"the server of {title} is PostgreSQL {version}", remedy=f"use version {_OLDEST} or newer")
    if fsync != "on":
        raise ConfigurationError(
            f"the server of {title} has fsync = {fsync}, so a power failure would lose swaps",
            code="not_durable",
            remedy="set fsync = on",
        )
