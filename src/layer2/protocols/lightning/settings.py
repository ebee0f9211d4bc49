"""The settings of a Lightning client. The files that they name are read when the client connects."""

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
        macaroon_file: a macaroon with the permissions in ``PERMISSIONS``. Its contents are sent to the node only.
        network: ``mainnet``, ``testnet``, ``signet`` or ``regtest``; the node must be on it.
        default_timeout_ms: for calls without a ``timeout``.
        connection_pool: limits of the connections for calls.
        payment_timeout_seconds: seconds for which the node looks for routes, unless the payment has its own value.
        fee_limit_ppm: maximum routing fee of a payment, in millionths of its amount, unless the payment has its own
            limit.
        max_payment_streams: number of payments sent by this client that are followed on a stream of their own. The
            stream of all payments reports the others. The client opens at most this many connections for them, and
            ``max_connections`` more to send.
        max_hold_streams: number of invoices that may be held and are followed on a stream of their own. The others are
            looked up in turn. The client opens at most this many connections for them, apart from the streams of all
            invoices and all payments.
        minimum_version: an older lnd is refused. Before 0.19.0, lnd can lose funds by failing back too much.
        poll_interval_seconds: interval of look-ups for what no stream reports.
        lnurl_on_this_machine: whether to ask LNURL services and Lightning addresses on loopback addresses, also by
            http. For tests only: otherwise the text of a recipient could send requests to servers of this machine.

    Raises:
        ConfigurationError: a value is not allowed.
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
            # The text is not repeated: it may hold a password.
            raise ConfigurationError("rest_url must be https://HOST:PORT, without path or query")
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
        """The network's prefix in invoices (BOLT 11)."""
        return _PREFIXES[self.network]

    @property
    def timelocks(self) -> TimelockSettings:
        """The timelock settings of the network; those of testnet for signet."""
        return settings_for("testnet" if self.network == "signet" else self.network)

    @property
    def default_timeout(self) -> float:
        """``default_timeout_ms`` in seconds."""
        return self.default_timeout_ms / 1000
