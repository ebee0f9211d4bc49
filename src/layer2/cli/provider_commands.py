"""``layer2 provider``: be the other side of transfers."""

from __future__ import annotations

from pathlib import Path

from layer2.cli.local_config import READY_FILE
from layer2.cli.session import InSession, missing_extra

__all__ = ["serve"]


async def serve(*, ready_file: Path | None = None, session: InSession) -> None:
    """Run a swap provider until SIGTERM or Ctrl-C; it then shows by when it must run again.

    Its configuration is provider.toml in the current directory, or the file of --config. It logs to stderr.

    Args:
        ready_file: Written once it serves and removed when it ends, with url and identity_key; omitted, it is
            provider-ready.json beside the configuration, where 'layer2 config init' looks for it.
    """
    try:
        from layer2.provider.process import serve as serve_provider
        from layer2.provider.settings import ProviderSettings
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    settings = ProviderSettings.load(session.config_file)
    beside = ProviderSettings.find(session.config_file).parent / READY_FILE
    await serve_provider(settings, ready_file=ready_file or beside)
