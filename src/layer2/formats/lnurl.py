"""LNURL-pay: its texts and messages. Pure: nothing here requests a service, or decides which address is allowed.

Answers are read as LUD-06 defines them. Images, success actions and comments are ignored. The service receives only
the amount, so a service that requires data about the payer (LUD-18) is refused.

Sources: LUD-01, LUD-06, LUD-16, LUD-18.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

from layer2.errors.base import FormatError
from layer2.formats import bech32, canonical_json
from layer2.formats.bitcoin_uri import read_parameters
from layer2.formats.printable import printable

__all__ = [
    "LightningAddress",
    "PayOffer",
    "ServiceError",
    "ServiceUrl",
    "decode",
    "encode",
    "read_address",
    "read_invoice_answer",
    "read_offer",
    "read_url",
    "with_amount",
]

MAX_URL_LENGTH: Final = 2_000
MAX_LENGTH: Final = 3_250
"""Characters of an LNURL: ``MAX_URL_LENGTH`` bytes in groups of five bits, with the prefix and the checksum."""
_PREFIX: Final = "lnurl"
_NAME: Final = re.compile(r"(?=.*[a-z0-9])[a-z0-9._+-]{1,64}")
"""At least one letter or digit: a name of dots only would lead to another path."""
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?:localhost|(?:{_LABEL}\.)+{_LABEL})(?::[1-9][0-9]{{0,4}})?")
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<user>[^/?@]*@)?(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/[^?]*)?(?:\?(?P<query>.*))?",
    re.IGNORECASE,
)
"""Narrower than RFC 3986 in the host, so that all readers of URLs find the same host."""
_PORTS: Final = {"http": 80, "https": 443}
_MAX_MSAT: Final = 2**63


@dataclass(frozen=True, slots=True)
class ServiceUrl:
    """The URL of a service, and the parts that a caller checks."""

    text: str = field(repr=False)
    """Unchanged: a service may depend on its own way of quoting."""
    scheme: str
    """``http`` or ``https``."""
    host: str
    """In lower case, without brackets and without a final dot."""
    port: int
    has_user: bool
    """Whether it contains a user or a password."""
    tags: tuple[str, ...]
    """The purposes in its query (LUD-01)."""

    @property
    def is_onion(self) -> bool:
        """Whether the host is a Tor onion service."""
        return self.host.endswith(".onion")


@dataclass(frozen=True, slots=True)
class LightningAddress:
    """An internet identifier that can be paid (LUD-16)."""

    name: str
    domain: str
    """In lower case, with the port if one was given."""

    def __str__(self) -> str:
        return f"{self.name}@{self.domain}"

    @property
    def without_tag(self) -> LightningAddress:
        """The payee's address. The payee uses the text after a ``+`` to sort payments."""
        return replace(self, name=self.name.partition("+")[0])


@dataclass(frozen=True, slots=True)
class PayOffer:
    """What a service accepts: its answer to the first request (``payRequest``)."""

    callback: str = field(repr=False)
    """The URL that returns invoices."""
    least_msat: int
    most_msat: int
    metadata: str = field(repr=False)
    """Unchanged, because each invoice commits to its hash."""
    identifiers: tuple[str, ...]
    """The payee's names: the ``text/identifier`` and ``text/email`` entries."""

    @property
    def description_hash(self) -> bytes:
        """The SHA-256 of the metadata in UTF-8, which each invoice must contain."""
        return sha256(self.metadata.encode("utf-8")).digest()


@dataclass(frozen=True, slots=True)
class ServiceError:
    """A service's refusal (``"status": "ERROR"``)."""

    reason: str
    """The service's text, made printable."""


def decode(text: str) -> str:
    """The URL that an LNURL contains.

    Args:
        text: ``lnurl1...`` alone, in one case.

    Returns:
        Printable ASCII without spaces. The caller decides whether to request it.

    Raises:
        FormatError: the text is not an LNURL, or it is too long.

    Source: LUD-01.
    """
    if len(text) > MAX_LENGTH:
        raise FormatError(f"an LNURL is longer than {MAX_LENGTH} characters")
    human, groups = bech32.decode(text)
    if human != _PREFIX:
        raise FormatError(f"an LNURL does not begin with {_PREFIX}1")
    return _checked_url(bech32.groups_to_bytes(groups, name="an LNURL").decode("latin-1"), "an LNURL's URL")


def encode(url: str) -> str:
    """Write a URL as an LNURL, in lower case.

    Raises:
        FormatError: ``decode`` would not accept the result.

    Source: LUD-01.
    """
    return bech32.encode(_PREFIX, bech32.groups_from_bytes(_checked_url(url, "the URL").encode("ascii")))


def read_url(text: str) -> ServiceUrl:
    """Read the URL of a web service.

    Raises:
        FormatError: it is not the URL of a web service, or its host could be read in two ways.
    """
    match = _URL.fullmatch(_checked_url(text, "the URL"))
    if match is None:
        raise FormatError("the URL is not that of a web service")
    scheme = match["scheme"].lower()
    port = _PORTS[scheme] if match["port"] is None else int(match["port"])
    host = match["host"].lower().strip("[]").rstrip(".")
    if not host or not 1 <= port <= 65_535:
        raise FormatError("the URL has no host, or an impossible port")
    tags = [value for key, value in read_parameters(match["query"] or "") if key == "tag"]
    return ServiceUrl(text, scheme, host, port, match["user"] is not None, tuple(tags))


def read_address(text: str) -> LightningAddress:
    """Read a Lightning address, ``name@domain``.

    The name must be in lower case. The domain may be in any case, because domains are case-insensitive.

    Raises:
        FormatError: it is not a Lightning address; the message states why.

    Source: LUD-16, with its later tags (``name+tag``).
    """
    name, at, domain = text.partition("@")
    if not at or not name or not domain:
        raise FormatError("a Lightning address is name@domain")
    if not _NAME.fullmatch(name):
        must_be = "in lower case" if _NAME.fullmatch(name.lower()) else "1 to 64 of a-z, 0-9, '-', '_', '.' and '+'"
        raise FormatError(f"the name of a Lightning address must be {must_be} (LUD-16)")
    if len(domain) > 255 or not _DOMAIN.fullmatch(domain.lower()):
        raise FormatError("a Lightning address has no domain name after its '@'")
    return LightningAddress(name, domain.lower())


def read_offer(data: bytes) -> PayOffer | ServiceError:
    """Read a service's answer to the first request.

    Args:
        data: the body; the caller limits its length.

    Raises:
        FormatError: it does not follow LUD-06, or the service requires data about the payer.
    """
    answer = _object(data)
    if isinstance(answer, ServiceError):
        return answer
    tag = answer.get("tag")
    if tag != "payRequest":
        what = printable(tag[:40]) if isinstance(tag, str) else "none"
        raise FormatError(f"its tag is {what!r}, and not payRequest")
    least, most = _msat(answer, "minSendable"), _msat(answer, "maxSendable")
    if least > most:
        raise FormatError(f"its minimum of {least} msat is above its maximum of {most} msat")
    _check_payer_data(answer.get("payerData"))
    metadata = _text(answer, "metadata")
    return PayOffer(
        callback=_checked_url(_text(answer, "callback"), "its callback"),
        least_msat=least,
        most_msat=most,
        metadata=metadata,
        identifiers=_identifiers(metadata),
    )


def read_invoice_answer(data: bytes) -> str | ServiceError:
    """Read a service's answer to the second request: the text of an invoice, which is not decoded.

    Raises:
        FormatError: it does not follow LUD-06.
    """
    answer = _object(data)
    return answer if isinstance(answer, ServiceError) else _text(answer, "pr")


def with_amount(callback: str, amount_msat: int) -> str:
    """The URL of the second request: the callback with its query, and the amount."""
    return f"{callback}{'&' if '?' in callback else '?'}amount={amount_msat}"


def _checked_url(url: str, what: str) -> str:
    if len(url) > MAX_URL_LENGTH:
        raise FormatError(f"{what} is longer than {MAX_URL_LENGTH} characters")
    if not url or not all("!" <= sign <= "~" for sign in url) or "\\" in url or "#" in url:
        raise FormatError(f"{what} is empty or has a character that is not allowed")
    return url


def _object(data: bytes) -> dict[str, object] | ServiceError:
    answer = canonical_json.parse(data)
    if not isinstance(answer, dict):
        raise FormatError("it is not a JSON object")
    status = answer.get("status")
    if isinstance(status, str) and status.upper() == "ERROR":
        reason = answer.get("reason")
        return ServiceError(printable(reason) if isinstance(reason, str) else "no reason given")
    return answer


def _text(answer: dict[str, object], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise FormatError(f"its field {name} is not a text")
    if any("\ud800" <= sign <= "\udfff" for sign in value):
        raise FormatError(f"its field {name} has a lone surrogate")
    return value


def _msat(answer: dict[str, object], name: str) -> int:
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_MSAT:
        raise FormatError(f"its field {name} is not a positive integer of millisatoshi")
    return value


def _check_payer_data(wanted: object) -> None:
    if not isinstance(wanted, dict):
        return
    mandatory = [name for name, terms in wanted.items() if isinstance(terms, dict) and terms.get("mandatory") is True]
    if mandatory:
        names = printable(", ".join(mandatory))
        raise FormatError(f"it requires data about the payer ({names}); only the amount is sent")


def _identifiers(metadata: str) -> tuple[str, ...]:
    entries = canonical_json.parse(metadata.encode("utf-8"))
    if not isinstance(entries, list) or not all(
        isinstance(entry, list) and entry and isinstance(entry[0], str) for entry in entries
    ):
        raise FormatError("its metadata is not a list of lists that begin with a text")
    found: dict[str, list[str]] = {"text/plain": [], "text/identifier": [], "text/email": []}
    for kind, *content in entries:
        if kind in found:
            if len(content) != 1 or not isinstance(content[0], str):
                raise FormatError(f"its metadata has a {kind} that is not a text")
            found[kind].append(content[0])
    if len(found["text/plain"]) != 1:
        raise FormatError("its metadata does not have exactly one text/plain")
    return (*found["text/identifier"], *found["text/email"])
