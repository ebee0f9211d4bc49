"""LNURL-pay (LUD-06): from a service's URL, or a Lightning address (LUD-16), to an invoice that may be paid.

Two GET requests. The service learns the amount and the address that the requests come from, and nothing else. It is a
stranger who names URLs that are then asked from inside the operator's network, so: https only, no redirects, public
addresses only, no cookies, little text and little time.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

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
from layer2.net.http_client import is_this_machine
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.recipients.public_addresses import PublicSockets
from layer2.protocols.lightning.recipients.recipient import Lnurl
from layer2.protocols.lightning.recipients.resolver import StrangersResolver

__all__ = ["LnurlPay"]

MOST_BYTES: Final = 256 * 1024
"""Of one answer. LUD-06 lets metadata hold an image of 136,536 characters."""
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}


class LnurlPay:
    """Gets invoices from services.

    Args:
        prefix: of the own node's network, as invoices name it.
        this_machine_too: whether services on loopback addresses are asked, by http too and at any port. For tests.
        seconds: within which both requests must be answered.
        resolver: what looks names up; None is the system's, on threads of its own. It is closed with this.
        authorities: what certificates are checked with; None is the system's.
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
        self._resolver = StrangersResolver() if resolver is None else resolver
        self._authorities = authorities

    async def aclose(self) -> None:
        """Let the threads go that names are looked up on."""
        await self._resolver.close()

    async def invoice(self, payee: Lnurl | LightningAddress, amount_msat: int) -> Bolt11Invoice:
        """Ask the service for an invoice over exactly this amount.

        Returns:
            An invoice of the own network over ``amount_msat`` whose description hash is that of the service's metadata.
            It is the domain's owner who is believed as to whose it is.

        Raises:
            FormatError: the URL is not one that may be asked.
            InvalidAmount: the service does not take this amount.
            NodeUnreachable, AuthenticationFailed: there is no such service, or none that may be asked.
            NodeRefused: its own words.
            BadAnswer: it does not keep to LUD-06. Nothing may be paid.
        """
        url = self._first_url(payee)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._ask(url, payee, amount_msat)
        except TimeoutError:
            raise _of(NodeUnreachable, url, f"no answer within {self._seconds:g} s") from None

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
                    f"the LNURL service at {url.host} takes from {offer.least_msat} to {offer.most_msat} msat; "
                    f"the transfer is over {amount_msat} msat",
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
        url, problem = self._judged(text)
        if url is None:
            raise FormatError(f"the recipient's URL {problem}", protocol=LIGHTNING)
        return url

    def _callback(self, offer: PayOffer, asked: ServiceUrl, amount_msat: int) -> ServiceUrl:
        url, problem = self._judged(lnurl.with_amount(offer.callback, amount_msat))
        if url is None:
            raise _of(BadAnswer, asked, f"the callback that it names {problem}")
        return url

    def _judged(self, text: str) -> tuple[ServiceUrl | None, str]:
        """The URL where it may be asked, and otherwise why not."""
        try:
            url = lnurl.read_url(text)
        except FormatError:
            return None, "is not one of a web service"
        if url.has_user:
            return None, "has a user or a password in it"
        if url.is_onion:
            return None, "leads to an onion address, which is not reached in this version"
        if self._this_machine_too and is_this_machine(url.host):
            return url, ""
        if url.scheme != "https":
            return None, "is not https"
        if url.port != 443:
            return None, f"leads to port {url.port}; only 443 is asked"
        return url, ""

    def _read_offer(self, data: bytes, url: ServiceUrl, payee: Lnurl | LightningAddress) -> PayOffer:
        try:
            offer = lnurl.read_offer(data)
        except FormatError as error:
            raise _of(BadAnswer, url, error.message) from error
        if isinstance(offer, ServiceError):
            raise _refusal(url, offer)
        if isinstance(payee, LightningAddress) and offer.identifiers:
            names = {identifier.lower() for identifier in offer.identifiers}
            # A tag is the payee's own affair, and may be left out.
            if not names & {str(payee), str(payee.without_tag)}:
                raise _of(BadAnswer, url, f"it answers as {printable(offer.identifiers[0])}, not as {payee}")
        return offer

    def _read_invoice(self, data: bytes, url: ServiceUrl, offer: PayOffer, amount_msat: int) -> Bolt11Invoice:
        try:
            text = lnurl.read_invoice_answer(data)
            if isinstance(text, ServiceError):
                raise _refusal(url, text)
            invoice = bolt11.decode(text)
        except FormatError as error:
            raise _of(BadAnswer, url, error.message) from error
        if invoice.prefix != self._prefix:
            raise _of(BadAnswer, url, f"its invoice is for the network {invoice.prefix!r}, not {self._prefix!r}")
        if invoice.amount_msat != amount_msat:
            asked = "leaves the amount open" if invoice.amount_msat is None else f"is over {invoice.amount_msat} msat"
            raise _of(BadAnswer, url, f"its invoice {asked}; {amount_msat} msat were asked for")
        if invoice.description_hash != offer.description_hash:
            raise _of(BadAnswer, url, "its invoice is not bound to what it said that is paid for (metadata)")
        return invoice


async def _get(session: aiohttp.ClientSession, sockets: PublicSockets, url: ServiceUrl) -> bytes:
    """The body of an answer. Its status and headers mean nothing (LUD-01), but a redirect is not followed."""
    try:
        async with session.get(URL(url.text, encoded=True), allow_redirects=False) as response:
            if 300 <= response.status < 400:
                raise _of(BadAnswer, url, "it redirects to somewhere else, which is not followed")
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > MOST_BYTES:
                    response.close()
                    raise _of(BadAnswer, url, f"its answer is longer than {MOST_BYTES} bytes")
            return bytes(body)
    # An error of aiohttp is not kept as the cause: it holds the URL, which may hold what only the payer should know.
    except aiohttp.ClientConnectorCertificateError:
        raise _of(AuthenticationFailed, url, "its certificate is not one that is trusted") from None
    except aiohttp.ClientConnectorError as error:
        if sockets.has_refused:
            raise _never(url, "it is at an address that is not public, which is not asked") from None
        problem = f"no connection ({printable(error.strerror or type(error).__name__)})"
        raise _of(NodeUnreachable, url, problem) from None
    except ValueError:
        # A host that no name can have, such as a wrong internationalized one.
        raise _never(url, "its URL does not name a host as the web does") from None
    except (aiohttp.ClientError, OSError) as error:
        raise _of(NodeUnreachable, url, f"the connection broke ({type(error).__name__})") from None


def _of(kind: type[NodeError], url: ServiceUrl, problem: str) -> NodeError:
    # The host alone is named: path and query may hold what only the payer should know.
    return kind(f"the LNURL service at {url.host}: {problem}", protocol=LIGHTNING, operation="LNURL-pay")


def _never(url: ServiceUrl, problem: str) -> NodeError:
    error = _of(NodeUnreachable, url, problem)
    error.retryable = False
    return error


def _refusal(url: ServiceUrl, error: ServiceError) -> NodeRefused:
    return NodeRefused(
        f"the LNURL service at {url.host} refused: {error.reason}",
        node_message=error.reason,
        protocol=LIGHTNING,
        operation="LNURL-pay",
    )
