"""The address and the key of a provider."""

from __future__ import annotations

from dataclasses import dataclass

from yarl import URL

from layer2.errors import ConfigurationError
from layer2.net.http_client import is_this_machine

__all__ = ["ProviderEndpoint"]


@dataclass(frozen=True, slots=True)
class ProviderEndpoint:
    """The address of a provider, and the key with which it must sign.

    Args:
        name: a name of the caller's choice, for messages.
        url: ``https://``, or ``http://`` on this machine. User and password are removed: a provider needs none.
        identity_key: 32 bytes (BIP 340, x-only), or 33 (ECDSA).

    Raises:
        ConfigurationError: the address has another form, or the key another length.
    """

    name: str
    url: str
    identity_key: bytes

    def __post_init__(self) -> None:
        try:
            url = URL(self.url)
        except ValueError:
            raise ConfigurationError(f"provider {self.name!r}: the url is not valid") from None
        if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
            raise ConfigurationError(
                f"provider {self.name!r}: the address must be https://HOST[:PORT][/PATH] without a query"
            )
        if url.scheme == "http" and not is_this_machine(url.host):
            raise ConfigurationError(
                f"provider {self.name!r}: plain http is allowed on this machine only", remedy="use https"
            )
        if len(self.identity_key) not in (32, 33):
            raise ConfigurationError(f"provider {self.name!r}: an identity key has 32 bytes (BIP 340) or 33 (ECDSA)")
        object.__setattr__(self, "url", str(url.with_user(None)).rstrip("/"))
