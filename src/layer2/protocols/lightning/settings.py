"""The settings of a Lightning client. The files that they name are read when the client connects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from yarl import URL

from layer2.legs.timelock_settings import TimelockSettings, settings_for
from layer2.net.client_settings import ClientSettings
from layer2.net.setting_rules import at_least

__all__ = ["LightningSettings"]

_PREFIXES: Final = {"mainnet": "bc", "testnet": "tb", "signet": "tbs", "regtest": "bcrt"}
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


def _rest_url(value: object) -> None:
    try:
        url = URL(str(value))
    except ValueError:
        raise ValueError("is not an address") from None
    if url.scheme != "https" or not url.host or url.user or url.path != "/" or url.query_string:
        raise ValueError("must be https://HOST:PORT, without path or query")


def _version(value: object) -> None:
    if not _VERSION.fullmatch(str(value)):
        raise ValueError("must be a version such as 0.19.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class LightningSettings(ClientSettings):
    """[lightning]: your lnd, through its REST interface.

    Raises:
        ConfigurationError: a value is not allowed.
    """

    rest_url: Annotated[str, _rest_url]
    """https address of lnd's REST interface"""
    certificate_file: str
    """lnd's tls.cert (PEM); no other certificate is accepted"""
    macaroon_file: str
    """a macaroon with the permissions in `layer2.protocols.lightning.PERMISSIONS`; it is sent to the node only"""
    poll_interval_ms: Annotated[int, at_least(1)] = 1000
    """milliseconds between reads of what has no stream"""
    payment_timeout_seconds: Annotated[int, at_least(1)] = 60
    """seconds for which lnd searches routes for one payment, unless the payment has its own limit"""
    fee_limit_ppm: Annotated[int, at_least(0)] = 5_000
    """maximum routing fee outside transfers, in millionths of the amount, unless the payment has its own limit"""
    minimum_version: Annotated[str, _version] = "0.19.0"
    """older versions of lnd are refused; before 0.19.0 lnd can lose funds by failing back too much"""
    lnurl_on_this_machine: bool = False
    """for tests: allow LNURL services on loopback addresses, also by http; otherwise the text of a recipient could send
    requests to servers of this machine"""
    max_payment_streams: Annotated[int, at_least(0)] = 128
    """maximum number of pending payments that are followed on a separate connection; the stream of all payments reports
    the others"""
    max_hold_streams: Annotated[int, at_least(0)] = 32
    """maximum number of hold invoices that are followed on a separate connection; the others are read in one list"""

    @property
    def invoice_prefix(self) -> str:
        """The network's prefix in invoices (BOLT 11)."""
        return _PREFIXES[self.network]

    @property
    def timelocks(self) -> TimelockSettings:
        """The timelock settings of the network; those of testnet for signet."""
        return settings_for("testnet" if self.network == "signet" else self.network)
