"""Loads settings from arguments, the environment and a TOML file. An error names the key and the allowed values."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from layer2.config.sections import (
    BobSection,
    ConnectionPoolSection,
    JournalSection,
    LayerSection,
    LightningSection,
    NetworkName,
    RootstockSection,
)
from layer2.errors import ConfigurationError
from layer2.model.layers import LAYERS, Layer2ProtocolType

__all__ = ["FileSettings", "LayerSettings"]

_ENV_PREFIX = "LAYER2_"
_NESTED = "__"


class FileSettings(BaseSettings):
    """A configuration file. Takers and providers have a subclass each."""

    model_config = SettingsConfigDict(
        env_prefix=_ENV_PREFIX,
        env_nested_delimiter=_NESTED,
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )
    default_file_name: ClassVar[str]

    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _explained(error, type(self), type(self).__name__) from None

    @classmethod
    def load(cls, path: str | Path | None = None, **arguments: Any) -> Self:
        """Load the settings. Arguments override the environment, which overrides the file.

        Without a file, the environment is enough if it has ``LAYER2_NETWORK``.

        Args:
            path: the TOML file; omitted, ``LAYER2_CONFIG``, or the default name in the current directory.
            arguments: values nested as in the file.

        Raises:
            ConfigurationError: names the key, the file and the allowed values.
        """
        file = cls.find(path)
        values = cls.merged(file, arguments)
        values = _over({"journal": {"path": file.parent.absolute() / JournalSection.default_name}}, values)
        try:
            return cls(**values)
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
    def merged(cls, file: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """All given values, before they are checked."""
        values = _absolute(cls._read(file), file.parent)
        for layer in (cls._environment(), arguments):
            values = _over(values, layer)
        return values

    @classmethod
    def origins(cls, path: str | Path | None = None, **arguments: Any) -> dict[str, str]:
        """The origin of each given value: ``{"bob.rpc_url": "environment", ...}``. All other values are defaults."""
        file = cls.find(path)
        found: dict[str, str] = {}
        for name, layer in (
            (str(file), cls._read(file)),
            ("environment", cls._environment()),
            ("argument", arguments),
        ):
            found.update(dict.fromkeys(_leaves(layer), name))
        return found

    @classmethod
    def keys_in(cls, file: Path) -> Set[str]:
        """The top-level keys and tables of a file; empty if there is no file.

        Raises:
            ConfigurationError: the file is not TOML, or cannot be read.
        """
        return _read_toml(file).keys() if file.exists() else frozenset()

    @classmethod
    def _read(cls, file: Path) -> dict[str, Any]:
        if not file.exists() and file == Path(cls.default_file_name) and "network" in cls._environment():
            return {}
        return _read_toml(file)

    @classmethod
    def _environment(cls) -> dict[str, Any]:
        return dict(EnvSettingsSource(cls, env_prefix=_ENV_PREFIX, env_nested_delimiter=_NESTED)())


class LayerSettings(FileSettings):
    """The common part of takers' and providers' files: the network, and a table for each layer."""

    network: NetworkName = Field(description="mainnet, testnet or regtest; every node must be on it")
    default_timeout_ms: int = Field(
        default=30_000, ge=1, description="time limit of one call in milliseconds, if the caller sets no timeout"
    )
    connection_pool: ConnectionPoolSection = ConnectionPoolSection()
    journal: JournalSection = JournalSection()
    bob: BobSection | None = None
    rootstock: RootstockSection | None = None
    lightning: LightningSection | None = None

    @property
    def layers(self) -> Mapping[Layer2ProtocolType, LayerSection]:
        """The tables of the configured layers."""
        tables = {kind.protocol_type: getattr(self, _table_name(kind)) for kind in _LAYER_TABLES}
        return MappingProxyType({layer: table for layer, table in tables.items() if table is not None})

    @model_validator(mode="after")
    def _on_this_network(self) -> Self:
        for layer, table in self.layers.items():
            if self.network not in LAYERS[layer].clients_on:
                allowed = " and ".join(sorted(LAYERS[layer].clients_on))
                raise ValueError(f"[{_table_name(type(table))}] is available on {allowed} only")
        return self


_LAYER_TABLES: Final[tuple[type[LayerSection], ...]] = (BobSection, RootstockSection, LightningSection)
"""The tables of all layers."""


def _table_name(kind: type[LayerSection]) -> str:
    return kind.protocol_type.value.lower()


def _read_toml(file: Path) -> dict[str, Any]:
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


def _absolute(values: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Resolve the paths in a file relative to the file: keys that end in ``_file``, and ``path``."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            result[key] = _absolute(value, directory)
        elif isinstance(value, list):
            result[key] = [_absolute(item, directory) if isinstance(item, dict) else item for item in value]
        elif isinstance(value, str) and (key == "path" or key.endswith("_file")):
            result[key] = str((directory / Path(value).expanduser()).absolute())
        else:
            result[key] = value
    return result


def _over(values: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for key, value in layer.items():
        below = result.get(key)
        result[key] = _over(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _explained(error: ValidationError, model: type[BaseModel], origin: str) -> ConfigurationError:
    """Turn pydantic's first error into one sentence with key, origin and allowed values. Never shows a value."""
    complaints = error.errors(include_url=False, include_context=False, include_input=False)
    # A misspelt key is often the reason why another key is missing.
    first = next((each for each in complaints if each["type"] == "extra_forbidden"), complaints[0])
    *tables, key = [str(part) for part in first["loc"]] or [""]
    table = f"[{'.'.join(tables)}] " if tables else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, tables)
        close = difflib.get_close_matches(key, known, n=1)
        hint = f'did you mean "{close[0]}"?' if close else f"known keys: {', '.join(sorted(known))}"
        return ConfigurationError(f'{origin}: {table}has no key "{key}"; {hint}', code="unknown_key")
    if first["type"] == "missing":
        return ConfigurationError(f'{origin}: {table}needs the key "{key}"', code="missing_key")
    message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if first["type"] == "tuple_type":
        message = 'not a list; write ["...", "..."]'
    if message[:2].istitle():
        message = message[:1].lower() + message[1:]
    named = f'{table}"{key}": ' if key else table
    return ConfigurationError(f"{origin}: {named}{message}", code="wrong_value")


def _fields_at(model: type[BaseModel], tables: list[str]) -> list[str]:
    for table in tables:
        field = model.model_fields.get(table)
        if field is None:
            continue
        for candidate in [field.annotation, *getattr(field.annotation, "__args__", ())]:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
                break
    return list(model.model_fields)
