"""What a load leaves behind, as rows of the table."""

from __future__ import annotations

from figures import Figure, within

from load.holdings import Holdings

__all__ = ["left_behind"]


def left_behind(what: str, before: Holdings, quiet: Holdings, settled: Holdings, after: Holdings) -> list[Figure]:
    """Rows of what stays, which nothing should.

    Args:
        what: names the load.
        before: of a client that is not made yet.
        quiet: before the load.
        settled: when the load is over. Connections are kept then.
        after: when the client is closed.
    """
    when_quiet = [(kind, count) for kind, count in settled.over(quiet) if kind != "sockets"]
    return [
        *(within(f"{what}: {kind} over when it is quiet", kind, count, aim=0) for kind, count in when_quiet),
        *(within(f"{what}: {kind} over when it is closed", kind, count, aim=0) for kind, count in after.over(before)),
    ]
