"""Durable steps of DBOS. It is a separate program, because it runs in an environment of its own.

Arguments: the URL of the database, the steps of each writer by the number of writers as JSON, and what each step
returns as JSON. It writes the durable transitions per second by the number of writers, as JSON. The start and the end
of a workflow count as one each.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from typing import Any

import sqlalchemy
from dbos import DBOS  # type: ignore[import-not-found,unused-ignore]


@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "connect")
def make_durable(connection: object, _record: object) -> None:
    """As in the journal. DBOS sets neither, and SQLite's default would sync two files for each commit."""
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


@DBOS.step()  # type: ignore[untyped-decorator,unused-ignore]  # without DBOS's types where it is not installed
async def advance(number: int, act: Any) -> Any:
    return {"number": number, "act": act}


@DBOS.workflow()  # type: ignore[untyped-decorator,unused-ignore]
async def swap(steps: int, act: Any) -> int:
    for number in range(steps):
        await advance(number, act)
    return steps


async def rate(writers: int, steps: int, act: Any) -> float:
    async def writer() -> None:
        handle = await DBOS.start_workflow_async(swap, steps, act)
        await handle.get_result()

    start = time.perf_counter()
    await asyncio.gather(*[writer() for _ in range(writers)])
    return writers * (steps + 2) / (time.perf_counter() - start)


async def main(effort: dict[str, int], act: Any) -> None:
    print(json.dumps({writers: await rate(int(writers), steps, act) for writers, steps in effort.items()}))


if __name__ == "__main__":
    DBOS(
        config={
            "name": "transitions",
            "system_database_url": sys.argv[1],
            "run_migrations": True,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    asyncio.run(main(json.loads(sys.argv[2]), json.loads(sys.argv[3])))
    DBOS.destroy()
