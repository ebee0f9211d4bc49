"""What every command is given: the options that hold everywhere, the terminal, and the configuration."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from layer2.cli.terminal import Terminal

if TYPE_CHECKING:
    from layer2.config import Layer2Config, LayerSettings

__all__ = ["InSession", "RoleName", "Session", "missing_extra", "settings_class"]

RoleName: TypeAlias = Literal["taker", "provider"]


@dataclass(slots=True)
class Session:
    """One run of the program."""

    terminal: Terminal
    config_file: Path | None
    """As given by ``--config``; None: ``LAYER2_CONFIG``, or the default name in the current directory."""
    verbose: bool
    """Hashes are shown whole."""
    under_way: set[str] = field(default_factory=set)
    """Ids of transfers that this run began or resumed and that have not ended, to show when it is interrupted."""

    def config(self) -> Layer2Config:
        """The checked configuration.

        Raises:
            ConfigurationError: names the key, the file, and what is allowed.
        """
        from layer2.config import Layer2Config

        return Layer2Config.load(self.config_file)

    def settings(self, role: RoleName) -> tuple[LayerSettings, Path]:
        """The checked configuration of a taker or of a provider, and its file.

        Raises:
            ConfigurationError: as ``config``; also where the provider's parts are not installed.
        """
        kind = settings_class(role)
        return kind.load(self.config_file), kind.find(self.config_file)

    def hint(self, *words: str) -> str:
        """A command line to be typed next: it addresses the same configuration as this one."""
        more = () if self.config_file is None else ("--config", str(self.config_file))
        return shlex.join(("layer2", *words, *more))


def settings_class(role: RoleName) -> type[LayerSettings]:
    """The class of a role's configuration file.

    Raises:
        ConfigurationError: the provider's parts are not installed.
    """
    if role == "taker":
        from layer2.config import Layer2Config

        return Layer2Config
    try:
        from layer2.provider.settings import ProviderSettings
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    return ProviderSettings


def missing_extra(error: ModuleNotFoundError) -> Exception:
    """The provider's parts are an extra of the package."""
    from layer2.errors import ConfigurationError

    return ConfigurationError(
        f"the provider needs {error.name}, which is not installed",
        code="missing_extra",
        remedy="install this package with its extra 'provider'",
    )


InSession: TypeAlias = Annotated[Session, Parameter(parse=False)]
"""The last parameter of every command: given by the program, not by the caller."""
