"""The tables of a configuration file, and the settings of a client that each contains."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from layer2.errors import FormatError, SignerError
from layer2.formats.evm_address import parse_address
from layer2.model.layers import Layer2ProtocolType
from layer2.net.pool import ConnectionPoolConfig
from layer2.protocols.bob import BobSettings
from layer2.protocols.lightning.settings import LightningSettings
from layer2.protocols.rootstock import RootstockSettings
from layer2.signers.software import SoftwareEvmSigner

__all__ = [
    "BobSection",
    "ConnectionPoolSection",
    "EvmSection",
    "JournalSection",
    "LayerSection",
    "LightningSection",
    "NetworkName",
    "ProviderSection",
    "RootstockSection",
    "Section",
]

NetworkName: TypeAlias = Literal["mainnet", "testnet", "regtest"]
_EvmArguments: TypeAlias = dict[str, Any]


class Section(BaseModel):
    """One table of a configuration file. Unknown keys are refused, and values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class LayerSection(Section):
    """The table of one layer. Its name is the layer's name in lower case."""

    protocol_type: ClassVar[Layer2ProtocolType]


class ConnectionPoolSection(Section):
    """[connection_pool]: the connections of each client to one node."""

    max_connections: int = Field(default=16, ge=1, le=1000, description="maximum number of open connections per node")
    keepalive_seconds: float = Field(default=30.0, ge=0, description="seconds after which an idle connection is closed")
    max_response_bytes: int | None = Field(
        default=None,
        ge=1024,
        description="bytes; a longer answer is refused; "
        "without it the limit is 8 MiB for an EVM node and 32 MiB for lnd",
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file with the trusted certificate authorities; default: those of the system"
    )
    max_batch_calls: int = Field(
        default=100, ge=1, le=1000, description="maximum number of JSON-RPC calls in one request"
    )
    max_batch_bytes: int = Field(
        default=1_000_000, ge=1024, description="maximum size in bytes of a request with several calls"
    )
    max_calls_per_second: float | None = Field(
        default=None, gt=0, description="maximum rate of JSON-RPC calls to a node; without it there is no limit"
    )
    retry_seconds: float = Field(
        default=2.0, ge=0, description="seconds for which a JSON-RPC read is retried if the node is busy or down"
    )

    def settings(self) -> ConnectionPoolConfig:
        """The settings of a client's connections."""
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
        default=Path(default_name),
        description="SQLite file, created with mode 0600; default: in the directory of this file",
    )


class EvmSection(LayerSection):
    """An EVM layer: the node, the account, and the token that represents bitcoin."""

    rpc_url: str = Field(description="JSON-RPC address of your node, http or https", repr=False)
    fallback_rpc_urls: tuple[str, ...] = Field(
        default=(), repr=False, description="other nodes of the same chain, used in this order while yours is down"
    )
    websocket_url: str | None = Field(
        default=None,
        repr=False,
        description="address of the same node's websocket, ws or wss; with it new blocks arrive immediately, "
        "without it within poll_interval_ms",
    )
    chain_id: int = Field(ge=1, description="the chain id; the node must have it")
    token_address: str = Field(
        description="the ERC-20 token that you accept as BTC; several exist, so there is no default"
    )
    token_decimals: int = Field(
        description="decimals of the token (WBTC 8, tBTC 18); must match the contract", ge=0, le=36
    )
    key_file: Path | None = Field(
        default=None, description="file with the account's private key, 64 hex digits, mode 0600"
    )
    key: SecretStr | None = Field(default=None, description="the private key itself; prefer key_file")
    poll_interval_ms: int = Field(default=1000, ge=10, description="milliseconds between reads of the newest block")
    head_life_ms: int = Field(
        default=200,
        ge=0,
        description="milliseconds for which status calls use a cached head; receipts are never cached",
    )
    stale_after_seconds: int = Field(
        default=120,
        ge=1,
        description="seconds; if the newest block is older, the chain is stale, and no new transfer starts",
    )
    max_fee_per_gas_wei: int = Field(
        default=5_000_000_000, ge=1, description="wei; sends and locks above it are refused, claims and refunds are not"
    )
    native_price_sat: int | None = Field(
        default=None,
        ge=1,
        description="price in satoshi of one coin that pays gas; without it there is no estimate of network costs in "
        "satoshi, and every transfer needs max_fee",
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

    def _common(self, network: NetworkName, default_timeout_ms: int, pool: ConnectionPoolSection) -> _EvmArguments:
        return {
            "rpc_url": self.rpc_url,
            "fallback_rpc_urls": self.fallback_rpc_urls,
            "websocket_url": self.websocket_url,
            "chain_id": self.chain_id,
            "token": self.token_address,
            "token_decimals": self.token_decimals,
            "network": network,
            "poll_interval_seconds": self.poll_interval_ms / 1000,
            "head_life_seconds": self.head_life_ms / 1000,
            "default_timeout_ms": default_timeout_ms,
            "connection_pool": pool.settings(),
            "max_fee_per_gas": self.max_fee_per_gas_wei,
            "max_tip_age": self.stale_after_seconds,
            "native_price_sat": self.native_price_sat,
        }

    def signer(self) -> SoftwareEvmSigner:
        """The account's key.

        Raises:
            SignerError: the file cannot be read, or the key is not valid.
        """
        if self.key_file is not None:
            return SoftwareEvmSigner.from_file(self.key_file)
        assert self.key is not None
        try:
            return SoftwareEvmSigner(bytes.fromhex(self.key.get_secret_value().removeprefix("0x")))
        except ValueError:
            raise SignerError(f"{self.protocol_type.value.lower()}.key is not 64 hex digits") from None


class BobSection(EvmSection):
    """[bob]: the BOB node, the account, and the token that represents bitcoin."""

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.BOB

    chain_id: int = Field(default=60808, ge=1, description="60808 is BOB mainnet, 808813 BOB Sepolia")

    def settings(self, network: NetworkName, default_timeout_ms: int, pool: ConnectionPoolSection) -> BobSettings:
        """The settings of a ``BobClient``."""
        return BobSettings(**self._common(network, default_timeout_ms, pool))


class RootstockSection(EvmSection):
    """[rootstock]: the Rootstock node, the account, and the token that represents bitcoin. On regtest only."""

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.ROOTSTOCK

    chain_id: int = Field(default=33, ge=1, description="33 is Rootstock's regtest")

    def settings(self, network: NetworkName, default_timeout_ms: int, pool: ConnectionPoolSection) -> RootstockSettings:
        """The settings of a ``RootstockClient``."""
        return RootstockSettings(**self._common(network, default_timeout_ms, pool))


class LightningSection(LayerSection):
    """[lightning]: your lnd, through its REST interface."""

    protocol_type: ClassVar[Layer2ProtocolType] = Layer2ProtocolType.LIGHTNING

    rest_url: str = Field(description="https address of lnd's REST interface")
    certificate_file: Path = Field(description="lnd's tls.cert; no other certificate is accepted")
    macaroon_file: Path = Field(
        description="a macaroon with the permissions in `layer2.protocols.lightning.PERMISSIONS`"
    )
    poll_interval_ms: int = Field(default=1000, ge=10, description="milliseconds between reads of what has no stream")
    payment_timeout_seconds: int = Field(
        default=60, ge=1, description="seconds for which lnd searches routes for one payment"
    )
    fee_limit_ppm: int = Field(
        default=5000, ge=0, description="maximum routing fee outside transfers, in millionths of the amount"
    )
    minimum_version: str = Field(
        default="0.19.0",
        pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$",
        description="older versions of lnd are refused; before 0.19.0 lnd can lose funds",
    )
    lnurl_on_this_machine: bool = Field(
        default=False, description="for tests: allow LNURL services on loopback addresses, also by http"
    )
    max_payment_streams: int = Field(
        default=128, ge=0, description="maximum number of pending payments that are followed on a separate connection"
    )
    max_hold_streams: int = Field(
        default=32, ge=0, description="maximum number of hold invoices that are followed on a separate connection"
    )

    @field_validator("rest_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return _checked_url(value, ("https",))

    def settings(self, network: NetworkName, default_timeout_ms: int, pool: ConnectionPoolSection) -> LightningSettings:
        """The settings of a ``LightningNetwork``."""
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
    """[[providers]]: a swap provider that you accept."""

    name: str = Field(min_length=1, max_length=64, description="a name of your choice")
    url: str = Field(description="its address: https, or http on this machine")
    identity_key: str = Field(
        pattern="^([0-9a-f]{64}|0[23][0-9a-f]{64})$",
        description="the public key of its signatures: 64 hex digits (BIP 340), or 66 (ECDSA)",
    )

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return _checked_url(value, ("http", "https"))


def _checked_url(value: str, schemes: tuple[str, ...]) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in schemes or not rest:
        raise ValueError(f"must be an address that begins with {' or '.join(f'{each}://' for each in schemes)}")
    return value.rstrip("/")
