"""The tables of a configuration file that are not a client's settings, or more than these."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from layer2.errors import ConfigurationError
from layer2.net.setting_rules import address_of
from layer2.ports.signing import EvmSigner
from layer2.protocols.bitcoin.settings import BitcoinSettings
from layer2.protocols.bob import BobSettings
from layer2.protocols.evm.settings import EvmSettings
from layer2.protocols.rootstock import RootstockSettings
from layer2.signers.bitcoin import BitcoinSeed
from layer2.signers.software import SoftwareEvmSigner

__all__ = [
    "BitcoinSection",
    "BobSection",
    "EvmSection",
    "JournalSection",
    "NetworkName",
    "ProviderSection",
    "RootstockSection",
    "Section",
    "TemporalSection",
]

_KEY: Final = re.compile("(0x)?[0-9a-fA-F]{64}")
NetworkName: TypeAlias = Literal["mainnet", "testnet", "regtest"]


class Section(BaseModel):
    """One table of a configuration file. Unknown keys are refused, and values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class JournalSection(Section):
    """[journal]: the durable record of transfers and sends."""

    path: Path = Path("layer2-journal.sqlite")
    """SQLite file, created with mode 0600; default: in the directory of this file"""
    url: SecretStr | None = None
    """PostgreSQL database instead of a file: postgresql://USER@HOST/DATABASE"""
    register_file: Path | None = None
    """SQLite file that shows whether the journal is an old copy, and restores a lost one; best on another disk. Default
    for a journal in a file: PATH.register. A PostgreSQL journal has no default"""
    register_url: SecretStr | None = None
    """PostgreSQL database for the same purpose; best on another server"""

    @model_validator(mode="after")
    def _one_register(self) -> Self:
        if self.register_file is not None and self.register_url is not None:
            raise ValueError("give one of register_file and register_url, not both")
        return self


class TemporalSection(Section):
    """[temporal]: the Temporal server whose workers carry out the swaps. A taker uses workers if it has this table, a
    provider with `--engine temporal`."""

    address: str = "127.0.0.1:7233"
    """host and port of the server"""
    namespace: str = "default"
    """namespace on the server"""
    task_queue: str = Field(default="layer2", min_length=1, max_length=200)
    """name of the task queue; each journal needs a name of its own"""
    turns: int = Field(default=100, ge=1)
    """turns of swaps that one worker has at the same time, and as many again of swaps that have begun"""


def _key(value: object) -> None:
    if not isinstance(value, SecretStr) or not _KEY.fullmatch(value.get_secret_value()):
        raise ValueError("must be a SecretStr with 64 hex digits")


# Without slots: two bases with slots of their own cannot be combined.
@dataclass(frozen=True, kw_only=True)
class EvmSection(EvmSettings):
    """The table of an EVM layer: the settings of its client, and the key of the account."""

    key_file: Path | None = None
    """file with the account's private key, 64 hex digits, mode 0600"""
    key: Annotated[SecretStr | None, _key] = None
    """the private key itself; prefer key_file"""

    def __post_init__(self) -> None:
        EvmSettings.__post_init__(self)
        if (self.key is None) == (self.key_file is None):
            raise ConfigurationError("give exactly one of key_file and key", code="wrong_value")

    def signer(self) -> EvmSigner:
        """The account's key.

        Raises:
            SignerError: the file cannot be read, or the key is not valid.
        """
        if self.key is not None:
            return SoftwareEvmSigner(bytes.fromhex(self.key.get_secret_value().removeprefix("0x")))
        assert self.key_file is not None
        return SoftwareEvmSigner.from_file(self.key_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class BobSection(BobSettings, EvmSection):
    """[bob]: the BOB node, the account, and the token that represents bitcoin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootstockSection(RootstockSettings, EvmSection):
    """[rootstock]: the Rootstock node, the account, and the contract. Bitcoin is Rootstock's own coin."""

    def __post_init__(self) -> None:
        RootstockSettings.__post_init__(self)
        EvmSection.__post_init__(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class BitcoinSection(BitcoinSettings):
    """[bitcoin]: where Bitcoin's chain is read, and the wallet."""

    seed_file: Path
    """file with the wallet's BIP 39 mnemonic, mode 0600"""

    def seed(self) -> BitcoinSeed:
        """The wallet's seed.

        Raises:
            SignerError: the file cannot be read, or does not hold a mnemonic.
        """
        return BitcoinSeed.from_file(self.seed_file)


class ProviderSection(Section):
    """[[providers]]: a swap provider that you accept."""

    name: str = Field(min_length=1, max_length=64)
    """a name of your choice"""
    url: str
    """its address: https, or http on this machine"""
    identity_key: str = Field(pattern="^([0-9a-f]{64}|0[23][0-9a-f]{64})$")
    """the public key of its signatures: 64 hex digits (BIP 340), or 66 (ECDSA)"""

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        address_of("http", "https")(value)
        return value.rstrip("/")
