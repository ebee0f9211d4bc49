"""``layer2 worker``: run a Temporal worker."""

from __future__ import annotations

from pathlib import Path

from layer2.cli.output import Result
from layer2.cli.session import InSession, missing_extra

__all__ = ["worker"]


async def worker(*, ready_file: Path | None = None, session: InSession) -> Result:
    """Carry out swaps of a provider or of a taker until SIGTERM or Ctrl-C, together with its other workers.

    It needs the configuration and keys of the party, a journal on PostgreSQL, and a Temporal server. The provider
    itself is 'layer2 provider serve --engine temporal'. A taker's programs leave their transfers to workers if their
    configuration has the table [temporal]. It logs to stderr.

    Args:
        ready_file: The file to write when the worker works, with its process id. It is removed at the end.
    """
    try:
        from layer2.cli.worker import work
    except ModuleNotFoundError as error:
        raise missing_extra(error, "provider,temporal") from error
    await work(session.settings(), ready_file=ready_file)
    return Result({}, ["stopped; its swaps continue only while another worker runs"])
