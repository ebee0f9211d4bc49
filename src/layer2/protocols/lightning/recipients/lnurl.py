"""LNURL-pay (LUD-06): gets an invoice from a service's URL or a Lightning address (LUD-16).

It takes two GET requests. The service learns the amount and the sender's IP address only. Its URLs are untrusted and
are requested from inside the operator's network. Therefore: https only, public addresses only, no redirects, no
cookies, and limits on size and time.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from layer2.aio.time_limit import time_limit
from layer2.errors import (
    AuthenticationFailed,
    BadAnswer,
    FormatError,
    InvalidAmount,
    NodeError,
    NodeRefused,
    NodeUnreachable,
)
from layer2.formats import bolt11, lnurl
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.formats.lnurl import LightningAddress, PayOffer, ServiceError, ServiceUrl
from layer2.formats.printable import printable
from layer2.net.http_client import connection_failure, is_this_machine, read_body
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.recipients.public_addresses import PublicSockets
from layer2.protocols.lightning.recipients.recipient import Lnurl
from layer2.protocols.lightning.recipients.resolver import UntrustedNamesResolver

__all__ = ["LnurlPay"]

MAX_BYTES: Final = 256 * 1024
"""Limit of one answer. LUD-06 allows metadata with an image of 136,536 characters."""
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}


class LnurlPay:
    """Gets invoices from services.

    Args:
        prefix: of the payer's network, as in invoices.
        this_machine_too: whether services on loopback addresses are allowed, also by http and at any port. For tests.
        seconds: time limit for both requests.
        resolver: looks names up; None is the system's resolver on its own threads. It is closed with this object.
        authorities: verifies certificates; None is the system's authorities.
    """

    def __init__(
        self,
        prefix: str,
        *,
        this_machine_too: bool = False,
        seconds: float = 10.0,
        resolver: AbstractResolver | None = None,
        authorities: ssl.SSLContext | None = None,
    ) -> None:
        self._prefix = prefix
        self._this_machine_too = this_machine_too
        self._seconds = seconds
        self._resolver = UntrustedNamesResolver() if resolver is None else resolver
        self._authorities = authorities

    async def aclose(self) -> None:
        """Close the resolver."""
        await self._resolver.close()

    async def invoice(self, payee: Lnurl | LightningAddress, amount_msat: int) -> Bolt11Invoice:
        """Ask the service for an invoice over exactly this amount.

        Returns:
            An invoice on the payer's network over ``amount_msat``, with the hash of the service's metadata as its
            description hash. Nothing but the service itself shows that the payee is the right one.

        Raises:
            FormatError: the URL is not allowed.
            InvalidAmount: the service does not accept this amount.
            NodeUnreachable, AuthenticationFailed: the service cannot be reached, or its address is not allowed.
            NodeRefused: the service refused, with its reason.
            BadAnswer: the service violates LUD-06; nothing must be paid.
        """
        url = self._first_url(payee)
        late = _error(NodeUnreachable, url, f"no answer within {self._seconds:g} s")
        async with time_limit(asyncio.timeout(self._seconds), lambda: late):
            return await self._ask(url, payee, amount_msat)

    async def _ask(self, url: ServiceUrl, payee: Lnurl | LightningAddress, amount_msat: int) -> Bolt11Invoice:
        sockets = PublicSockets(this_machine_too=self._this_machine_too)
        connector = aiohttp.TCPConnector(
            ssl=True if self._authorities is None else self._authorities,
            resolver=self._resolver,
            use_dns_cache=False,
            socket_factory=sockets,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            skip_auto_headers=["User-Agent"],
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        ) as session:
            offer = self._read_offer(await _get(session, sockets, url), url, payee)
            if not offer.least_msat <= amount_msat <= offer.most_msat:
                raise InvalidAmount(
                    f"the LNURL service at {url.host} accepts {offer.least_msat} to {offer.most_msat} msat; "
                    f"the transfer is of {amount_msat} msat",
                    protocol=LIGHTNING,
                )
            callback = self._callback(offer, url, amount_msat)
            return self._read_invoice(await _get(session, sockets, callback), callback, offer, amount_msat)

    def _first_url(self, payee: Lnurl | LightningAddress) -> ServiceUrl:
        if isinstance(payee, LightningAddress):
            host = payee.domain.partition(":")[0]
            scheme = "http" if self._this_machine_too and is_this_machine(host) else "https"
            text = f"{scheme}://{payee.domain}/.well-known/lnurlp/{payee.name}"
        else:
            text = payee.url
        url, problem = self._allowed(text)
        if url is None:
            raise FormatError(f"the recipient's URL {problem}", protocol=LIGHTNING)
        return url

    def _callback(self, offer: PayOffer, asked: ServiceUrl, amount_msat: int) -> ServiceUrl:
        url, problem = self._allowed(lnurl.with_amount(offer.callback, amount_msat))
        if url is None:
            raise _error(BadAnswer, asked, f"its callback URL {problem}")
        return url

    def _allowed(self, text: str) -> tuple[ServiceUrl | None, str]:
        """Return the URL if it is allowed, otherwise None and the reason."""
        try:
            url = lnurl.read_url(text)
        except FormatError:
            return None, "is not the URL of a web service"
        if url.has_user:
            return None, "contains a user name or a password"
        if url.is_onion:
            return None, "leads to an onion address, which this version does not support"
        if self._this_machine_too and is_this_machine(url.host):
            return url, ""
        if url.scheme != "https":
            return None, "is not https"
        if url.port != 443:
            return None, f"leads to port {url.port}; only 443 is allowed"
        return url, ""

    def _read_offer(self, data: bytes, url: ServiceUrl, payee: Lnurl | LightningAddress) -> PayOffer:
        try:
            offer = lnurl.read_offer(data)
        except FormatError as error:
            raise _error(BadAnswer, url, error.message) from error
        if isinstance(offer, ServiceError):
            raise _refusal(url, offer)
        if isinstance(payee, LightningAddress) and offer.identifiers:
            names = {identifier.lower() for identifier in offer.identifiers}
            # The service may leave out the tag of an address.
            if not names & {str(payee), str(payee.without_tag)}:
                raise _error(BadAnswer, url, f"it answers for {printable(offer.identifiers[0])}, not for {payee}")
        return offer

    def _read_invoice(self, data: bytes, url: ServiceUrl, offer: PayOffer, amount_msat: int) -> Bolt11Invoice:
        try:
            text = lnurl.read_invoice_answer(data)
            if isinstance(text, ServiceError):
                raise _refusal(url, text)
            invoice = bolt11.decode(text)
        except FormatError as error:
            raise _error(BadAnswer, url, error.message) from error
        if invoice.prefix != self._prefix:
            raise _error(BadAnswer, url, f"its invoice is for the network {invoice.prefix!r}, not {self._prefix!r}")
        if invoice.amount_msat != amount_msat:
            asked = "has no amount" if invoice.amount_msat is None else f"is over {invoice.amount_msat} msat"
            raise _error(BadAnswer, url, f"its invoice {asked}; {amount_msat} msat were requested")
        if invoice.description_hash != offer.description_hash:
            raise _error(BadAnswer, url, "its invoice does not have the hash of the metadata")
        return invoice


async def _get(session: aiohttp.ClientSession, sockets: PublicSockets, url: ServiceUrl) -> bytes:
    """Return the body of an answer. Status and headers have no meaning (LUD-01), except that redirects are refused."""
    try:
        async with session.get(URL(url.text, encoded=True), allow_redirects=False) as response:
            if 300 <= response.status < 400:
                raise _error(BadAnswer, url, "it redirects, which is not followed")
            body = await read_body(response, MAX_BYTES)
            if body is None:
                raise _error(BadAnswer, url, f"its answer is longer than {MAX_BYTES} bytes")
            return bytes(body)
    # aiohttp's error is not kept as the cause: it has the URL, which may contain a secret of the payer.
    except aiohttp.ClientConnectorCertificateError:
        raise _error(AuthenticationFailed, url, "its certificate is not trusted") from None
    except ValueError:
        # The host cannot be a name, for example a wrong internationalized one.
        raise _error(NodeUnreachable, url, "the host in its URL is not valid", retryable=False) from None
    except (aiohttp.ClientError, OSError) as error:
        if sockets.has_refused and isinstance(error, aiohttp.ClientConnectorError):
            problem = "its address is not public, so it is not contacted"
            raise _error(NodeUnreachable, url, problem, retryable=False) from None
        raise _error(NodeUnreachable, url, connection_failure(error, session.timeout.total or 0).problem) from None


def _error(kind: type[NodeError], url: ServiceUrl, problem: str, *, retryable: bool | None = None) -> NodeError:
    # Only the host is shown: path and query may contain a secret of the payer.
    message = f"the LNURL service at {url.host}: {problem}"
    return kind(message, protocol=LIGHTNING, operation="LNURL-pay", retryable=retryable)


def _refusal(url: ServiceUrl, error: ServiceError) -> NodeRefused:
    return NodeRefused(
        f"the LNURL service at {url.host} refused: {error.reason}",
        node_message=error.reason,
        protocol=LIGHTNING,
        operation="LNURL-pay",
    )
