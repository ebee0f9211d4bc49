"""The macaroon that the client sends, and the node's certificate, which it pins."""

from __future__ import annotations

import ssl
from pathlib import Path

from layer2.errors import ConfigurationError
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["Credentials"]


class Credentials:
    """Reads both files on first use, and again after ``forget``.

    ``tls`` and ``macaroon`` raise ``ConfigurationError`` if the file cannot be read.

    Args:
        settings: names the files.
    """

    def __init__(self, settings: LightningSettings) -> None:
        self._certificate_file = settings.certificate_file
        self._macaroon_file = settings.macaroon_file
        self._tls: ssl.SSLContext | None = None
        self._macaroon: bytes | None = None

    def tls(self) -> ssl.SSLContext:
        """A TLS context that trusts the pinned certificate only."""
        if self._tls is None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # The certificate is trusted itself, even if it is not a certificate authority.
            tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            try:
                tls.load_verify_locations(cafile=self._certificate_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    f"certificate_file {self._certificate_file} cannot be read as PEM: {_kind(error)}",
                    protocol=LIGHTNING,
                    remedy="give the node's tls.cert",
                ) from None
            self._tls = tls
        return self._tls

    def macaroon(self) -> bytes:
        """The macaroon, a secret."""
        if self._macaroon is None:
            try:
                self._macaroon = Path(self._macaroon_file).read_bytes()
            except OSError as error:
                raise ConfigurationError(
                    f"macaroon_file {self._macaroon_file} cannot be read: {_kind(error)}",
                    protocol=LIGHTNING,
                    remedy="give a macaroon of this node (lncli bakemacaroon)",
                ) from None
        return self._macaroon

    def forget(self) -> None:
        """Read the files again on the next use: the node has refused these credentials."""
        self._tls = self._macaroon = None


def _kind(error: OSError) -> str:
    return error.strerror or type(error).__name__
