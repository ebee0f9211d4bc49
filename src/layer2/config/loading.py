"""Loads settings from arguments, the environment and a TOML file. An error names the key and the allowed values."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from layer2.config.definitions import SHARED, settings_of
from layer2.config.sections import BitcoinSection, BobSection, JournalSection, NetworkName, RootstockSection, Section
from layer2.errors import ConfigurationError
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.net.client_settings import DEFAULT_TIMEOUT_MS, ClientSettings, ConnectionPoolConfig
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["LayerSettings"]

Values: TypeAlias = Mapping[str, object]
"""Settings that are not checked yet, nested as in the file."""
_ENV_PREFIX: Final = "LAYER2_"
_UNKNOWN_KEY: Final = ("extra_forbidden", "unexpected_keyword_argument")


class LayerSettings(Section):
    """The common part of takers' and providers' files: the network, and a table for each layer.

    The values in ``network``, ``default_timeout_ms`` and ``connection_pool`` become those of each layer's table. A
    table made in Python keeps its own network, and the others that differ from their defaults.
    """

    default_file_name: ClassVar[str]
    default_journal: ClassVar[str] = "layer2-journal.sqlite"

    network: NetworkName
    """mainnet, testnet or regtest; every node must be on it"""
    default_timeout_ms: int = Field(default=DEFAULT_TIMEOUT_MS, ge=1)
    """time limit of one call in milliseconds, if the caller sets no timeout"""
    connection_pool: ConnectionPoolConfig = ConnectionPoolConfig()
    journal: JournalSection = JournalSection()
    bob: BobSection | None = None
    rootstock: RootstockSection | None = None
    lightning: LightningSettings | None = None
    bitcoin: BitcoinSection | None = None

    if not TYPE_CHECKING:

        def __init__(self, **values: object) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _explained(error, type(self), type(self).__name__) from None

    @classmethod
    def load(cls, path: str | Path | None = None, **arguments: object) -> Self:
        """Load the settings. Arguments override the environment, which overrides the file.

        Without a file, the environment is enough if it has ``LAYER2_NETWORK``.

        Args:
            path: the TOML file; omitted, ``LAYER2_CONFIG``, or the default name in the current directory.
            arguments: values nested as in the file.

        Raises:
            ConfigurationError: names the key, the file and the allowed values.
        """
        file = cls.find(path)
        values: Values = {"journal": {"path": file.parent.absolute() / cls.default_journal}}
        for layer in (_absolute(cls._read(file), file.parent), cls._environment(), arguments):
            values = _over(values, layer)
        try:
            return cls(**values)  # type: ignore[arg-type]  # checked there
        except ConfigurationError as error:
            raise ConfigurationError(
                error.message.replace(f"{cls.__name__}: ", f"{file}: ", 1), code=error.code, remedy=error.remedy
            ) from None

    @classmethod
    def find(cls, path: str | Path | None = None) -> Path:
        """The file that ``load`` reads.

        Raises:
            ConfigurationError: ``path`` is not a path.
        """
        if path is not None and not isinstance(path, str | Path):
            raise ConfigurationError(
                f"a configuration is loaded from a path, not from {type(path).__name__}",
                code="config_type",
                remedy='pass a str or a pathlib.Path, such as "layer2.toml"',
            )
        return Path(path or os.environ.get(f"{_ENV_PREFIX}CONFIG") or cls.default_file_name)

    @classmethod
    def origins(cls, path: str | Path | None = None) -> dict[str, str]:
        """The origin of each given value: ``{"bob.rpc_url": "environment", ...}``. All other values are defaults."""
        file = cls.find(path)
        found = dict.fromkeys(_leaves(cls._read(file)), str(file))
        return found | dict.fromkeys(_leaves(cls._environment()), "environment")

    @classmethod
    def keys_in(cls, file: Path) -> Set[str]:
        """The top-level keys and tables of a file; empty if there is no file.

        Raises:
            ConfigurationError: the file is not TOML, or cannot be read.
        """
        return _read_toml(file).keys() if file.exists() else frozenset()

    @property
    def layers(self) -> Mapping[Layer2ProtocolType, ClientSettings]:
        """The tables of the configured layers. A table's name is the layer's name in lower case."""
        tables = {layer: getattr(self, layer.value.lower(), None) for layer in LAYERS}
        return MappingProxyType({layer: table for layer, table in tables.items() if table is not None})

    @classmethod
    def _read(cls, file: Path) -> Values:
        if not file.exists() and file == Path(cls.default_file_name) and "network" in cls._environment():
            return {}
        return _read_toml(file)

    @classmethod
    def _environment(cls) -> Values:
        """``LAYER2_BOB__RPC_URL`` is ``rpc_url`` in ``[bob]``. Lists and whole tables are JSON."""
        values: Values = {}
        for variable in sorted(os.environ):
            key = variable.upper()
            first, *rest = key.removeprefix(_ENV_PREFIX).lower().split("__")
            if key.startswith(_ENV_PREFIX) and first in cls.model_fields:
                value: object = _json_or_text(os.environ[variable])
                for name in reversed(rest):
                    value = {name: value}
                values = _over(values, {first: value})
        return values

    @model_validator(mode="before")
    @classmethod
    def _share(cls, values: Values) -> Values:
        shared = {name: values[name] for name in SHARED & values.keys()}
        result = dict(values)
        for name in [layer.value.lower() for layer in LAYERS]:
            table = values.get(name)
            if isinstance(table, Mapping):
                for key in sorted(SHARED & table.keys()):
                    raise ConfigurationError(f'[{name}] has no key "{key}"; it is for all layers', code="unknown_key")
                result[name] = {**table, **shared}
            elif isinstance(table, ClientSettings):
                # Made in Python: a shared value is used where it keeps the default. The network has none.
                own = {each.name: getattr(table, each.name) for each in fields(table)}
                added = {each.name for each in fields(ClientSettings) if own[each.name] == each.default} & shared.keys()
                result[name] = own | {key: shared[key] for key in added} if added else table
        return result

    @model_validator(mode="after")
    def _on_this_network(self) -> Self:
        for layer, table in self.layers.items():
            name = layer.value.lower()
            if self.network not in LAYERS[layer].clients_on:
                allowed = " and ".join(sorted(LAYERS[layer].clients_on))
                raise ValueError(f"[{name}] is available on {allowed} only")
            if table.network != self.network:
                raise ValueError(f"[{name}] is for {table.network}, not for {self.network}")
        return self


def _read_toml(file: Path) -> Values:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no configuration file {file}, and the environment does not set LAYER2_NETWORK",
            code="no_configuration",
            remedy="create one: layer2 config init",
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file}: not TOML: {error}", code="not_toml") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}", code="unreadable_file") from error


def _json_or_text(text: str) -> object:
    if text.startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:
            pass
    return text


def _absolute(values: Values, directory: Path) -> Values:
    """Resolve the paths in a file relative to the file: keys that end in ``_file``, and ``path``."""

    def resolved(key: str, value: object) -> object:
        match value:
            case dict():
                return _absolute(value, directory)
            case list():
                return [resolved("", item) for item in value]
            case str() if key == "path" or key.endswith("_file"):
                return str((directory / Path(value).expanduser()).absolute())
            case _:
                return value

    return {key: resolved(key, value) for key, value in values.items()}


def _over(values: Values, layer: Values) -> Values:
    result = dict(values)
    for key, value in layer.items():
        below = result.get(key)
        result[key] = _over(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


def _leaves(values: Values, prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _explained(error: ValidationError, kind: type, origin: str) -> ConfigurationError:
    """Turn pydantic's errors into sentences with key, origin and allowed values. Never shows a value."""
    complaints = error.errors(include_url=False, include_input=False)
    unknown = [_problem(each, kind) for each in complaints if each["type"] in _UNKNOWN_KEY]
    rest = [each for each in complaints if each["type"] not in _UNKNOWN_KEY and not _is_misspelt(each, unknown)]
    problems = [*unknown, *(_problem(each, kind) for each in rest)]
    first = problems[0]
    if len(problems) == 1:
        return ConfigurationError(f"{origin}: {first.message}", code=first.code)
    listed = "; ".join(f"({number}) {each.message}" for number, each in enumerate(problems, start=1))
    return ConfigurationError(f"{origin}: {len(problems)} problems: {listed}", code=first.code)


def _is_misspelt(complaint: ErrorDetails, unknown: Sequence[ConfigurationError]) -> bool:
    """Whether it reports a misspelt key once more, as a missing one."""
    return complaint["type"] == "missing" and any(f'"{complaint["loc"][-1]}"?' in each.message for each in unknown)


def _problem(complaint: ErrorDetails, kind: type) -> ConfigurationError:
    *tables, key = [str(part) for part in complaint["loc"]] or [""]
    cause = complaint.get("ctx", {}).get("error")
    if isinstance(cause, ConfigurationError):
        # It is about the whole table.
        table = f"[{'.'.join([*tables, key])}] " if key else ""
        return ConfigurationError(f"{table}{cause.message}", code=cause.code)
    table = f"[{'.'.join(tables)}] " if tables else ""
    if complaint["type"] in _UNKNOWN_KEY:
        known = _keys_at(kind, tables)
        close = difflib.get_close_matches(key, known, n=1)
        hint = f'did you mean "{close[0]}"?' if close else f"known keys: {', '.join(sorted(known))}"
        return ConfigurationError(f'{table}has no key "{key}"; {hint}', code="unknown_key")
    if complaint["type"] == "missing":
        return ConfigurationError(f'{table}needs the key "{key}"', code="missing_key")
    named = f'{table}"{key}": ' if key else table
    return ConfigurationError(f"{named}{_message(complaint)}", code="wrong_value")


def _message(complaint: ErrorDetails) -> str:
    if complaint["type"] == "tuple_type":
        return 'not a list; write ["...", "..."]'
    message = complaint["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:] if message[:2].istitle() else message


def _keys_at(kind: type, tables: list[str]) -> list[str]:
    for table in tables:
        found = {setting.name: setting.table for setting in settings_of(kind)}.get(table)
        # A number is a place in a list of tables.
        kind = kind if found is None else found
    return [setting.name for setting in settings_of(kind)]
