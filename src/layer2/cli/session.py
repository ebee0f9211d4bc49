"""One run of the program: its options, terminal and configuration, and its remedies as commands for the shell."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from layer2.cli.output import Terminal
from layer2.errors import (
    AsyncTimeout,
    ConfigurationError,
    InitializationError,
    Layer2Error,
    NodeUnreachable,
    TransferLost,
)

if TYPE_CHECKING:
    from layer2.config import Layer2Config, LayerSettings

__all__ = ["EngineName", "InSession", "RoleName", "Session", "for_shell", "missing_extra", "role_of", "settings_class"]

RoleName: TypeAlias = Literal["taker", "provider"]
EngineName: TypeAlias = Literal["process", "temporal"]
"""The values of ``layer2.provider.process.Engine``, which needs the provider's extra."""
_PROVIDER_KEY = "identity_key_file"
"""The key that every provider's file has, and no taker's."""
_COMMAND = re.compile(
    r"\blayer2 (config (?:check|show)|journal (?:show|add|renew-register|release-register)|provider serve|doctor|"
    r"list|show|wait|resume|rescue|restore)\b"
)
"""Commands in remedies that read a configuration."""


@dataclass(slots=True)
class Session:
    """One run of the program."""

    terminal: Terminal
    config_file: Path | None
    """The file of ``--config``; None: ``LAYER2_CONFIG``, or the default name in the current directory."""
    verbose: bool
    """Show whole hashes."""
    under_way: set[str] = field(default_factory=set)
    """Ids of open transfers that this run started or resumed, to show if it is interrupted."""
    resume_with: str | None = None
    """The command that continues all of them; None: ``resume``, or ``wait`` for one."""
    down: set[str] = field(default_factory=set)
    """Names of layers that were shown as down and not as up again."""
    began: float = field(default_factory=time.monotonic)
    """The start of the run, in seconds of ``time.monotonic``."""

    @property
    def role(self) -> RoleName:
        """The party whose configuration this run addresses.

        Raises:
            ConfigurationError: the file is not TOML, or cannot be read.
        """
        return role_of(self.config_file)

    @property
    def file(self) -> Path:
        """The configuration file that this run addresses. It may not exist."""
        return settings_class(self.role).find(self.config_file)

    def settings(self) -> LayerSettings:
        """The checked configuration, of a taker or of a provider.

        Raises:
            ConfigurationError: names the key, the file and the allowed values; or the provider extra is missing.
        """
        return settings_class(self.role).load(self.config_file)

    def config(self) -> Layer2Config:
        """The checked configuration of a taker.

        Raises:
            ConfigurationError: as ``settings``; also if the file is a provider's.
        """
        from layer2.config import Layer2Config

        if self.role == "provider":
            raise ConfigurationError(
                f"{self.file} is the configuration of a provider, and this command is for a taker",
                code="provider_file",
                remedy="name the taker's file: --config layer2.toml",
            )
        return Layer2Config.load(self.config_file)

    @property
    def has_workers(self) -> bool:
        """Whether the configuration leaves transfers to workers."""
        try:
            return self.config().temporal is not None
        except Layer2Error:
            return False

    def hint(self, *words: str) -> str:
        """A command line for the user to enter next, with the same configuration as this run."""
        return shlex.join(("layer2", *words, *self._options))

    def addressed(self, text: str) -> str:
        """The text, with the configuration of this run added to each command line in it."""
        options = shlex.join(self._options)
        if not options or "--config" in text:
            return text
        return _COMMAND.sub(lambda found: f"{found[0]} {options}", text)

    @property
    def _options(self) -> tuple[str, ...]:
        return () if self.config_file is None else ("--config", str(self.config_file))


def role_of(config_file: Path | None) -> RoleName:
    """The party whose configuration a file is.

    Raises:
        ConfigurationError: the file is not TOML, or cannot be read.
    """
    from layer2.config import Layer2Config

    file = Layer2Config.find(config_file)
    return "provider" if file.name == "provider.toml" or _PROVIDER_KEY in Layer2Config.keys_in(file) else "taker"


def settings_class(role: RoleName) -> type[LayerSettings]:
    """The class of a role's configuration file.

    Raises:
        ConfigurationError: the provider extra is not installed.
    """
    if role == "taker":
        from layer2.config import Layer2Config

        return Layer2Config
    try:
        from layer2.provider.settings import ProviderSettings
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    return ProviderSettings


def missing_extra(error: ModuleNotFoundError, extra: str = "provider") -> ConfigurationError:
    """The error for a command whose extra is not installed. ``extra`` can name several, as in ``provider,temporal``."""
    return ConfigurationError(
        f"this command needs {error.name}, which is not installed",
        code="missing_extra",
        remedy=f"install layer2 again, from where you got it, with its extra '{extra}'",
    )


def for_shell(error: Layer2Error, session: Session) -> Layer2Error:
    """Change the remedy of an error into a command with the configuration of this run; return the same error.

    An error that ends a run with one open transfer names that transfer.
    """
    if error.transfer_id is None and len(session.under_way) == 1:
        (error.transfer_id,) = session.under_way
    if error.code == "transfer_timeout" and error.transfer_id is not None:
        error.message = f"the time limit has passed, and transfer {error.transfer_id} is still open"
    remedy = _remedy(error, session)
    if remedy is not None:
        error.remedy = session.addressed(remedy)
    if isinstance(error, InitializationError):
        for failure in error.failures.values():
            for_shell(failure, session)
    return error


def _remedy(error: Layer2Error, session: Session) -> str | None:
    match error.code:
        case "transfer_timeout" if error.transfer_id is not None:
            return _wait(error.transfer_id, session)
        case "max_fee_required":
            return "set the maximum fee in satoshi: --max-fee"
        case "max_fee":
            return "set a higher maximum fee in satoshi: --max-fee"
        case "no_configuration":
            role = " --role provider" if "provider.toml" in error.message else ""
            return f"create one: layer2 config init{role}; or name it: --config"
        case "unknown_transfer":
            return f"check the id or key, and journal.path of the configuration; list all: {session.hint('list')}"
        case "initialization":
            return f"find the cause: {session.hint('doctor')}"
        case _ if isinstance(error, TransferLost):
            return error.remedy
        case _ if error.transfer_id in session.under_way and (error.remedy is None or "await " in error.remedy):
            return _wait(error.transfer_id or "", session)
        case _ if isinstance(error, AsyncTimeout):
            return f"find out which node is slow or down: {session.hint('doctor')}"
        case _ if isinstance(error, NodeUnreachable) and error.remedy is None:
            return f"try again, or find the cause: {session.hint('doctor')}"
        case _ if error.remedy is not None and "await " in error.remedy:
            return f"see the open transfers: {session.hint('list', '--open')}"
        case _:
            return error.remedy


def _wait(transfer_id: str, session: Session) -> str:
    wait = session.hint("wait", transfer_id)
    if session.has_workers:
        return f"it continues while a worker runs: {wait}; or find out whether one does: {session.hint('doctor')}"
    return f"it continues only while layer2 runs: {wait}"


InSession: TypeAlias = Annotated[Session, Parameter(parse=False)]
"""The last parameter of every command. The program passes it; it is not an option."""
