"""``layer2 provider``: run a swap provider."""

from __future__ import annotations

import time
from pathlib import Path

from layer2.cli.local_config import READY_FILE
from layer2.cli.output import Result
from layer2.cli.session import EngineName, InSession, missing_extra
from layer2.cli.wording import until

__all__ = ["serve"]


async def serve(
    *,
    ready_file: Path | None = None,
    standby: bool = False,
    engine: EngineName = "process",
    session: InSession,
) -> Result:
    """Run a swap provider until SIGTERM or Ctrl-C. It then shows by when it must run again.

    Its configuration is provider.toml in the current directory, or the file of --config. It logs to stderr.

    Args:
        ready_file: The file to write when the provider serves, with url and identity_key. It is removed at the end.
            Default: provider-ready.json beside the configuration, where 'layer2 config init' looks for it.
        standby: While another process serves with the same journal, wait, and take over when it ends.
        engine: What carries out the swaps: this process, or Temporal workers that you start with 'layer2 worker'.
    """
    try:
        from layer2.provider.process import Engine
        from layer2.provider.process import serve as serve_provider
        from layer2.provider.settings import ProviderSettings
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    settings = ProviderSettings.load(session.config_file)
    beside = ProviderSettings.find(session.config_file).parent / READY_FILE
    stopped = await serve_provider(settings, ready_file=ready_file or beside, stand_by=standby, engine=Engine(engine))
    data = {"open_swaps": stopped.open_swaps, "must_be_back_by": stopped.must_be_back_by}
    ended = f"stopped; open swaps: {stopped.open_swaps}"
    if stopped.must_be_back_by is None:
        return Result(data, [f"{ended}; no money is at risk while the provider is down"])
    when = until(stopped.must_be_back_by, time.time())
    return Result(data, [f"{ended}; act before {when}, or money can be lost: {session.hint('provider', 'serve')}"])
