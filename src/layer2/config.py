"""Settings from arguments, the environment and a TOML file, in that order; wrong ones are named exactly.

Every value has one of four origins, the first that has it wins: an argument (or command-line flag), the environment
(``LAYER2_BOB__RPC_URL``), the file, the default. Paths in a file are relative to the file. Secrets can be given by
file everywhere (``key_file``), and are never shown.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from layer2.errors import ConfigurationError, FormatError, SignerError
from layer2.formats.evm_address import parse_address
from layer2.protocols.bob import BobSettings
from layer2.protocols.lightning.settings import LightningSettings
from layer2.settings import ConnectionPoolConfig
from layer2.signers.software import SoftwareEvmSigner

__all__ = [
    "BobSection",
    "ConnectionPoolSection",
    "FileSettings",
    "JournalSection",
    "Layer2Config",
    "LightningSection",
    "NetworkName",
    "ProviderSection",
]

NetworkName = Literal["mainnet", "testnet", "regtest"]
_ENV_PREFIX = "LAYER2_"
_NESTED = "__"


class Section(BaseModel):
    """One table of the file. Unknown keys are refused, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class ConnectionPoolSection(Section):
    """[connection_pool]: how each client keeps its connections to one node."""

    max_connections: int = Field(default=16, ge=1, le=1000, description="connections open at once, per node")
    keepalive_seconds: float = Field(default=30.0, ge=0, description="seconds that an idle connection is kept")
    max_response_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, description="bytes; a longer answer is refused")
    ca_file: Path | None = Field(
        default=None, description="PEM file with the only authorities that may certify a server; else the system's"
    )
    max_batch_calls: int = Field(default=100, ge=1, le=1000, description="most JSON-RPC calls in one request")
    max_batch_bytes: int = Field(default=1_000_000, ge=1024, description="most bytes in one request of several calls")
    max_calls_per_second: float | None = Field(
        default=None, gt=0, description="JSON-RPC calls that a node is asked at most; without it there is no limit"
    )
    retry_seconds: float = Field(
        default=2.0, ge=0, description="seconds for which a JSON-RPC read is repeated while the node is busy or away"
    )

    def settings(self) -> ConnectionPoolConfig:
        """What a client is told."""
        return ConnectionPoolConfig(
            max_connections=self.max_connections,
            keepalive_seconds=self.keepalive_seconds,
            max_response_bytes=self.max_response_bytes,
            ca_file=None if self.ca_file is None else str(self.ca_file),
            max_batch_calls=self.max_batch_calls,
            max_batch_bytes=self.max_batch_bytes,
            max_calls_per_second=self.max_calls_per_second,
            retry_seconds=self.retry_seconds,
        )


class JournalSection(Section):
    """[journal]: the durable record of transfers and sends."""

    default_name: ClassVar[str] = "layer2-journal.sqlite"

    path: Path = Field(
        default=Path(default_name), description="SQLite file; made with mode 0600; by default beside the file"
    )


class BobSection(Section):
    """[bob]: the BOB node, the account, and which token is bitcoin there."""

    rpc_url: str = Field(description="JSON-RPC address of your node, http or https", repr=False)
    fallback_rpc_urls: tuple[str, ...] = Field(
        default=(), repr=False, description="other nodes of the same chain, asked while yours is away, in this order"
    )
    websocket_url: str | None = Field(
        default=None,
        repr=False,
        description="address of the same node's websocket, ws or wss; with it new blocks are noticed at once, "
        "without it within poll_interval_ms",
    )
    chain_id: int = Field(default=60808, ge=1, description="60808 is BOB mainnet, 808813 BOB Sepolia")
    token_address: str = Field(description="the ERC-20 that is BTC for you; several exist, so there is no default")
    token_decimals: int = Field(
        description="decimals of that token (WBTC 8, tBTC 18); compared with the contract", ge=0, le=36
    )
    key_file: Path | None = Field(
        default=None, description="file with the account's private key, 64 hex digits, mode 0600"
    )
    key: SecretStr | None = Field(default=None, description="the private key itself; better by key_file")
    poll_interval_ms: int = Field(default=1000, ge=10, description="milliseconds between looks at the newest block")
    head_life_ms: int = Field(
        default=200, ge=0, description="milliseconds for which the heads serve status calls; receipts are never kept"
    )
    stale_after_seconds: int = Field(
        default=120,
        ge=1,
        description="seconds; a newest block older than that is a stale tip, and no new transfer starts",
    )
    max_fee_per_gas_wei: int = Field(
        default=5_000_000_000, ge=1, description="wei; sends and locks above it are refused, claims and refunds never"
    )

    @field_validator("token_address")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            parse_address(value)
        except FormatError as error:
            raise ValueError(error.message) from error
        return value

    @field_validator("rpc_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return _checked_url(value, ("http", "https"))

    @field_validator("fallback_rpc_urls")
    @classmethod
    def _urls(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple([_checked_url(value, ("http", "https")) for value in values])

    @field_validator("websocket_url")
    @classmethod
    def _websocket(cls, value: str | None) -> str | None:
        return None if value is None else _checked_url(value, ("ws", "wss"))

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.key is None) == (self.key_file is None):
            raise ValueError("give exactly one of key_file and key")
        return self

    def settings(self, network: NetworkName, default_timeout_ms: int, pool: ConnectionPoolSection) -> BobSettings:
        """What a ``BobClient`` is told."""
        return BobSettings(
            rpc_url=self.rpc_url,
            fallback_rpc_urls=self.fallback_rpc_urls,
            websocket_url=self.websocket_url,
            chain_id=self.chain_id,
            token=self.token_address,
            token_decimals=self.token_decimals,
            network=network,
            poll_interval_seconds=self.poll_interval_ms / 1000,
            head_life_seconds=self.head_life_ms / 1000,
            default_timeout_ms=default_timeout_ms,
            connection_pool=pool.settings(),
            max_fee_per_gas=self.max_fee_per_gas_wei,
            max_tip_age=self.stale_after_seconds,
        )

    def signer(self) -> SoftwareEvmSigner:
        """The account's key.

        Raises:
            SignerError: the file cannot be read, or the key is none.
        """
        if self.key_file is not None:
            return SoftwareEvmSigner.from_file(self.key_file)
        assert self.key is not None
        try:
            return SoftwareEvmSigner(bytes.fromhex(self.key.get_secret_value().removeprefix("0x")))
        except ValueError:
            raise SignerError("bob.key is not 64 hex digits") from None


class LightningSection(Section):
    """[lightning]: your lnd, by its REST interface."""

    rest_url: str = Field(description="https address of lnd's REST interface")
    certificate_file: Path = Field(description="lnd's tls.cert; only this certificate is accepted")
    macaroon_file: Path = Field(
        description="a macaroon that allows what `PERMISSIONS` of `layer2.protocols.lightning` names"
    )
    poll_interval_ms: int = Field(
        default=1000, ge=10, description="milliseconds between looks where there is no stream"
    )
    payment_timeout_seconds: int = Field(
        default=60, ge=1, description="seconds that lnd tries to find routes for one payment"
    )
    fee_limit_ppm: int = Field(
        default=5000, ge=0, description="millionths of the amount; most that routing may cost outside transfers"
    )
    minimum_version: str = Field(
        default="0.19.0",
        pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$",
        description="an older lnd is refused; before 0.19.0 it can lose funds",
    )
    lnurl_on_this_machine: bool = Field(
        default=False, description="for tests: LNURL services on loopback addresses are asked too, also by http"
    )
    max_payment_streams: int = Field(
        default=128, ge=0, description="payments under way that are followed on a connection of their own"
    )
    max_hold_streams: int = Field(
        default=32, ge=0, description="invoices that may be held and are followed on a connection of their own"
    )

    @field_validator("rest_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return _checked_url(value, ("https",))

    def settings(self, network: NetworkName, default_timeout_ms: int, pool: ConnectionPoolSection) -> LightningSettings:
        """What a ``LightningNetwork`` is told."""
        return LightningSettings(
            rest_url=self.rest_url,
            certificate_file=str(self.certificate_file),
            macaroon_file=str(self.macaroon_file),
            network=network,
            default_timeout_ms=default_timeout_ms,
            connection_pool=pool.settings(),
            payment_timeout_seconds=self.payment_timeout_seconds,
            fee_limit_ppm=self.fee_limit_ppm,
            minimum_version=self.minimum_version,
            max_payment_streams=self.max_payment_streams,
            max_hold_streams=self.max_hold_streams,
            poll_interval_seconds=self.poll_interval_ms / 1000,
            lnurl_on_this_machine=self.lnurl_on_this_machine,
        )


class ProviderSection(Section):
    """[[providers]]: a swap provider that you are willing to deal with."""

    name: str = Field(min_length=1, max_length=64, description="your name for it")
    url: str = Field(description="its address, https (http on this machine only)")
    identity_key: str = Field(
        pattern="^[0-9a-f]{64}$", description="its BIP 340 key, 64 hex digits; what it signs is checked with this key"
    )

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return _checked_url(value, ("http", "https"))


class FileSettings(BaseSettings):
    """A whole configuration file; each program has a subclass of its own."""

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
        """Read the file, the environment, and the arguments, which win in the reverse order.

        Args:
            path: the TOML file; omitted, ``LAYER2_CONFIG`` or the program's default name in the current directory.
            arguments: values that win over everything, nested as in the file.

        Raises:
            ConfigurationError: names the key, the file, and what is allowed.
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
        """The file that ``load`` reads for these arguments."""
        return Path(path or os.environ.get(f"{_ENV_PREFIX}CONFIG") or cls.default_file_name)

    @classmethod
    def merged(cls, file: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """All values that are given, before they are checked."""
        values = _absolute(_read_toml(file), file.parent)
        for layer in (cls._environment(), arguments):
            values = _over(values, layer)
        return values

    @classmethod
    def origins(cls, path: str | Path | None = None, **arguments: Any) -> dict[str, str]:
        """Where each given value comes from: ``{"bob.rpc_url": "environment", ...}``; the rest are defaults."""
        file = cls.find(path)
        found: dict[str, str] = {}
        for name, layer in (
            (str(file), _read_toml(file)),
            ("environment", cls._environment()),
            ("argument", arguments),
        ):
            found.update(dict.fromkeys(_leaves(layer), name))
        return found

    @classmethod
    def _environment(cls) -> dict[str, Any]:
        return dict(EnvSettingsSource(cls, env_prefix=_ENV_PREFIX, env_nested_delimiter=_NESTED)())


class Layer2Config(FileSettings):
    """Everything that a ``Layer2Manager`` needs to know.

    Example: ``Layer2Config.load("layer2.toml")``, or ``Layer2Config(network="regtest", bob=BobSection(...))``.
    """

    default_file_name: ClassVar[str] = "layer2.toml"

    network: NetworkName = Field(description="mainnet, testnet or regtest; every node is checked against it")
    swap_seed_file: Path | None = Field(
        default=None,
        description="32 bytes as hex, mode 0600, made by 'layer2 config init'; without it no transfer. Back it up.",
    )
    least_finality: Literal["latest", "safe", "finalized"] = Field(
        default="latest",
        description="for transfers to BOB: quotes whose lock may be claimed while it is less settled are refused; "
        "a preimage shown for a lock that a reorganisation removes is a loss",
    )
    max_concurrency: int = Field(
        default=100, ge=1, le=100_000, description="calls to nodes at once, for the whole manager; others queue fairly"
    )
    default_timeout_ms: int = Field(
        default=30_000, ge=1, description="milliseconds for one call where no timeout is given"
    )
    connection_pool: ConnectionPoolSection = ConnectionPoolSection()
    journal: JournalSection = JournalSection()
    bob: BobSection | None = None
    lightning: LightningSection | None = None
    providers: tuple[ProviderSection, ...] = Field(
        default=(), description="asked for quotes; the cheapest healthy one is taken"
    )

    @model_validator(mode="after")
    def _distinct_providers(self) -> Self:
        for field in ("name", "identity_key"):
            values = [getattr(provider, field) for provider in self.providers]
            if len(set(values)) != len(values):
                raise ValueError(f"two providers have the same {field}")
        return self


def _checked_url(value: str, schemes: tuple[str, ...]) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in schemes or not rest:
        raise ValueError(f"not an address that begins with {' or '.join(f'{each}://' for each in schemes)}")
    return value.rstrip("/")


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no configuration file {file}", code="no_configuration", remedy="make one: layer2 config init"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file}: not TOML: {error}", code="not_toml") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}", code="unreadable_file") from error


def _absolute(values: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Make the file's paths relative to the file: keys that end in ``_file``, and ``path``."""
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
    """Turn pydantic's first complaint into one sentence with key, origin and what is allowed. Never shows a value."""
    complaints = error.errors(include_url=False, include_context=False, include_input=False)
    # A misspelt key is the cause where another one is missing.
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
