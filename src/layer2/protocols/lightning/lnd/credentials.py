"""What a client shows and what it trusts: the macaroon, and the node's pinned certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

from layer2.errors import ConfigurationError
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["Credentials"]


class Credentials:
    """Reads both from their files when they are first needed, and anew after ``forget``.

    Args:
        settings: where the files are.

    Raises, both methods that read: ConfigurationError: the file cannot be read.
    """

    def __init__(self, settings: LightningSettings) -> None:
        self._certificate_file = settings.certificate_file
        self._macaroon_file = settings.macaroon_file
        self._tls: ssl.SSLContext | None = None
        self._macaroon: bytes | None = None

    def tls(self) -> ssl.SSLContext:
        """Trusts that certificate and no other."""
        if self._tls is None:
            self._tls = self._read_certificate()
        return self._tls

    def macaroon(self) -> bytes:
        """A secret."""
        if self._macaroon is None:
            self._macaroon = self._read_macaroon()
        return self._macaroon

    def forget(self) -> None:
        """The node refused them: the files may be others by now."""
        self._tls = self._macaroon = None

    def _read_certificate(self) -> ssl.SSLContext:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The file is trusted as it is, also where it is no certificate authority.
        tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            tls.load_verify_locations(cafile=self._certificate_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"certificate_file {self._certificate_file} cannot be read as PEM: {_kind(error)}",
                protocol=LIGHTNING,
                remedy="give the node's tls.cert",
            ) from None
        return tls

    def _read_macaroon(self) -> bytes:
        try:
            return Path(self._macaroon_file).read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"macaroon_file {self._macaroon_file} cannot be read: {_kind(error)}",
                protocol=LIGHTNING,
                remedy="give a macaroon that the node has baked",
            ) from None


def _kind(error: OSError) -> str:
    return error.strerror or type(error).__name__
