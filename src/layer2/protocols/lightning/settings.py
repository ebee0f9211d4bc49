"""Where a party's lnd is, and what its client may do. Frozen; files are named here and read when connecting."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

from layer2.errors import ConfigurationError
from layer2.legs.timelock_settings import TimelockSettings, settings_for
from layer2.net.pool import ConnectionPoolConfig

__all__ = ["LightningSettings"]

_PREFIXES: Final = {"mainnet": "bc", "testnet": "tb", "signet": "tbs", "regtest": "bcrt"}
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


@dataclass(frozen=True, slots=True)
class LightningSettings:
    """One lnd, reached by its REST interface.

    Args:
        rest_url: ``https://HOST:PORT``.
        certificate_file: the node's ``tls.cert`` (PEM). No other certificate is accepted.
        macaroon_file: a macaroon that allows what ``PERMISSIONS`` names. What is in it is sent to the node and shown
            nowhere.
        network: ``mainnet``, ``testnet``, ``signet`` or ``regtest``; the node must be on it.
        default_timeout_ms: for calls that are given no ``timeout``.
        connection_pool: how the connections for calls are kept.
        payment_timeout_seconds: how long the node looks for routes, unless a payment says otherwise.
        fee_limit_ppm: most that a payment may cost in routing, in millionths of its amount, unless it says otherwise.
        max_payment_streams: how many payments that this client sent are followed, each on its own stream; others are
            told by the stream of all payments. As many connections may be open for them, and ``max_connections`` more
            to send.
        max_hold_streams: how many invoices that may be held are followed each on its own stream; others are looked up
            in turn. As many connections may be open for them, besides those of all invoices and all payments.
        minimum_version: an older lnd is refused. Before 0.19.0 lnd can lose funds by failing back too much.
        poll_interval_seconds: how often is asked for what no stream tells.
        lnurl_on_this_machine: whether LNURL services and Lightning addresses on loopback addresses are asked, by http
            too. For tests: who names a recipient could otherwise have this machine's own servers asked.

    Raises:
        ConfigurationError: a value that cannot be.
    """

    rest_url: str
    certificate_file: str
    macaroon_file: str
    network: str
    default_timeout_ms: int = 30_000
    connection_pool: ConnectionPoolConfig = field(default_factory=ConnectionPoolConfig)
    payment_timeout_seconds: int = 60
    fee_limit_ppm: int = 5_000
    max_payment_streams: int = 128
    max_hold_streams: int = 32
    minimum_version: str = "0.19.0"
    poll_interval_seconds: float = 1.0
    lnurl_on_this_machine: bool = False

    def __post_init__(self) -> None:
        try:
            url = URL(self.rest_url)
        except ValueError:
            raise ConfigurationError("rest_url cannot be read") from None
        if url.scheme != "https" or not url.host or url.user or url.path != "/" or url.query_string:
            # The text is not repeated: who puts a password into it does not want to see it in a log.
            raise ConfigurationError("rest_url must be https://HOST:PORT and no more")
        if self.network not in _PREFIXES:
            raise ConfigurationError(f"network is {self.network!r}; it must be one of {', '.join(_PREFIXES)}")
        if not _VERSION.fullmatch(self.minimum_version):
            raise ConfigurationError(f"minimum_version is {self.minimum_version!r}; it must be like 0.19.0")
        for name in ("default_timeout_ms", "payment_timeout_seconds", "poll_interval_seconds"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} must be positive")
        for name in ("fee_limit_ppm", "max_payment_streams", "max_hold_streams"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} cannot be negative")

    @property
    def invoice_prefix(self) -> str:
        """The network as invoices name it (BOLT 11)."""
        return _PREFIXES[self.network]

    @property
    def timelocks(self) -> TimelockSettings:
        """The named durations of the network; signet counts as a testnet."""
        return settings_for("testnet" if self.network == "signet" else self.network)

    @property
    def default_timeout(self) -> float:
        """Seconds."""
        return self.default_timeout_ms / 1000
