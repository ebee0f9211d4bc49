"""What every command is given: the options that hold everywhere, the terminal, and the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from layer2.cli.terminal import Terminal

if TYPE_CHECKING:
    from layer2.config import Layer2Config

__all__ = ["InSession", "Session"]


@dataclass(slots=True)
class Session:
    """One run of the program."""

    terminal: Terminal
    config_file: Path | None
    """As given by ``--config``; None: ``LAYER2_CONFIG``, or the default name in the current directory."""
    verbose: bool
    """Hashes are shown whole."""
    under_way: set[str] = field(default_factory=set)
    """Ids of transfers that this run has begun or goes on with, and that have not ended: for who interrupts it."""

    def config(self) -> Layer2Config:
        """The checked configuration.

        Raises:
            ConfigurationError: names the key, the file, and what is allowed.
        """
        from layer2.config import Layer2Config

        return Layer2Config.load(self.config_file)


InSession: TypeAlias = Annotated[Session, Parameter(parse=False)]
"""The last parameter of every command: given by the program, not by the caller."""
