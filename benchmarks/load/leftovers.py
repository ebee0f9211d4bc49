"""Leaks after a load, as rows of the table."""

from __future__ import annotations

from figures import Figure, within

from load.holdings import Holdings

__all__ = ["left_behind"]


def left_behind(what: str, before: Holdings, quiet: Holdings, settled: Holdings, after: Holdings) -> list[Figure]:
    """Rows for leaked resources; each should be zero.

    Args:
        what: names the load.
        before: before the client was created.
        quiet: before the load.
        settled: after the load. Connections are still open then.
        after: after the client was closed.
    """
    when_quiet = [(kind, count) for kind, count in settled.over(quiet) if kind != "sockets"]
    return [
        *(within(f"{what}: {kind} over when it is quiet", kind, count, aim=0) for kind, count in when_quiet),
        *(within(f"{what}: {kind} over when it is closed", kind, count, aim=0) for kind, count in after.over(before)),
    ]
