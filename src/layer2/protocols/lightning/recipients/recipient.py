"""Recipients of payments, in all forms that Lightning's users write. Pure: no request is made.

A text with more than one meaning is refused. Errors do not repeat the text: it may have been pasted by mistake.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from coincurve import PublicKey

from layer2.errors import FormatError, InvalidAmount, ProtocolNotImplemented
from layer2.formats import bitcoin_uri, bolt11, canonical_json, lnurl
from layer2.formats.bolt11 import Bolt11Invoice
from layer2.formats.lnurl import LightningAddress
from layer2.formats.printable import printable
from layer2.protocols.lightning.lnd.answers import LIGHTNING

__all__ = ["Lnurl", "NodeKey", "Payee", "Recipient", "read_recipient", "transfer_digest"]

MAX_LENGTH: Final = bitcoin_uri.MAX_LENGTH
_ASK: Final = "ask the payee for an invoice (lnbc...), an LNURL (lnurl1...) or a Lightning address (name@domain)"
_IS_BOLT12: Final = "this is an offer, invoice or invoice request of BOLT 12, which this version cannot pay"
_IS_ONION: Final = "the service has an onion address, which this version does not support"
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_KEY: Final = re.compile(r"0[23][0-9a-fA-F]{64}")
_BOLT12: Final = ("lno1", "lnr1", "lni1")
_ON_CHAIN: Final = re.compile(r"(?:bc|tb|bcrt)1[0-9a-z]{6,87}|[123mn][1-9A-HJ-NP-Za-km-z]{25,34}")
"""The form of an on-chain address: segwit of any version, or base58. Only chooses the error."""


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A node to pay without an invoice (keysend)."""

    key: bytes
    """33 bytes, a point of secp256k1."""


@dataclass(frozen=True, slots=True)
class Lnurl:
    """The URL of a service that makes invoices (LUD-01)."""

    url: str = field(repr=False)
    """May contain a secret of the payer."""


Payee: TypeAlias = Bolt11Invoice | NodeKey | Lnurl | LightningAddress


@dataclass(frozen=True, slots=True)
class Recipient:
    """The payee and, if the text has one, the amount."""

    payee: Payee
    amount_msat: int | None = None
    """The amount in a URI. The amount of an invoice is in ``payee``."""

    def check_amount(self, amount_msat: int) -> None:
        """Check that the recipient does not ask for another amount.

        Raises:
            InvalidAmount: the URI or the invoice asks for another amount.
        """
        asked = {"the URI": self.amount_msat}
        if isinstance(self.payee, Bolt11Invoice):
            asked["the invoice"] = self.payee.amount_msat
        for what, amount in asked.items():
            if amount is not None and amount != amount_msat:
                raise InvalidAmount(
                    f"{what} asks for {amount} msat; the transfer is of {amount_msat} msat", protocol=LIGHTNING
                )


def read_recipient(text: str) -> Recipient:
    """Read the text of a recipient.

    Args:
        text: one of these, also in a ``lightning:`` URI or as the ``lightning`` part of a ``bitcoin:`` URI (BIP 21,
            BIP 321), whose on-chain address is ignored: an invoice (BOLT 11); a node's public key (66 hexadecimal
            digits, also as ``KEY@HOST:PORT``, whose host and port are ignored); an LNURL (LUD-01); a Lightning address
            (LUD-16). Or a web address with an LNURL in its ``lightning`` parameter; the web address is not requested.

    Raises:
        FormatError: it is none of these.
        ProtocolNotImplemented: this version cannot pay it: an offer, invoice request or invoice of BOLT 12, an on-chain
            address, or a service with an onion address.
    """
    if not isinstance(text, str):
        raise FormatError(f"a recipient is text, not {type(text).__name__}", protocol=LIGHTNING)
    if not text or len(text) > MAX_LENGTH:
        raise FormatError(f"a recipient is a text of 1 to {MAX_LENGTH} characters", protocol=LIGHTNING)
    if not all("!" <= sign <= "~" for sign in text):
        raise FormatError("a recipient is plain ASCII without spaces", protocol=LIGHTNING)
    match = _SCHEME.match(text)
    if match is None:
        return Recipient(_plain(text))
    scheme, rest = match[1].lower(), text[match.end() :]
    if scheme == "bitcoin":
        return _in_bitcoin_uri(text)
    if scheme == "lightning":
        if "?" in rest:
            raise FormatError("a lightning: URI must not have parameters", protocol=LIGHTNING)
        return Recipient(_plain(rest.removeprefix("//")))
    if scheme in {"http", "https"}:
        return Recipient(_in_web_address(rest))
    raise FormatError(
        f"the URI scheme {scheme[:20]}: is not supported; lightning: and bitcoin: are",
        protocol=LIGHTNING,
        remedy=_ASK,
    )


def transfer_digest(text: str, amount_msat: int) -> str:
    """Identify a transfer, in 64 hexadecimal digits; equal only for the same recipient and amount.

    Args:
        text: as given to ``read_recipient``. Case does not matter: no two recipients differ only in case.
        amount_msat: the amount.
    """
    asked = canonical_json.encode({"transfer": [text.lower(), str(amount_msat)]})
    return hashlib.sha256(asked).hexdigest()


def _plain(text: str) -> Payee:
    """Read a text that is not a URI."""
    lowered = text.lower()
    if lowered.startswith(_BOLT12):
        raise _unsupported(_IS_BOLT12)
    if lowered.startswith("lnurl1"):
        return _lnurl(text)
    if "@" in text:
        return _at_host(text)
    if lowered.startswith("ln"):
        return bolt11.decode(text)
    if _KEY.fullmatch(text):
        return _node(text)
    if _ON_CHAIN.fullmatch(lowered) or _ON_CHAIN.fullmatch(text):
        raise _unsupported("this is an on-chain address, which this layer does not pay")
    if re.fullmatch("0x[0-9a-fA-F]{40}", text):
        raise FormatError("this is an address of an EVM chain", protocol=LIGHTNING, remedy="send it on that layer")
    raise FormatError(
        "this is not a recipient on Lightning",
        protocol=LIGHTNING,
        remedy="give an invoice (lnbc...), a Lightning address (name@domain), an LNURL (lnurl1...), a node's public key"
        " (66 hexadecimal digits), or a lightning: or bitcoin: URI with one of these",
    )


def _in_bitcoin_uri(text: str) -> Recipient:
    uri = bitcoin_uri.read(text)
    payees = uri.values("lightning")
    if len(payees) > 1:
        raise FormatError("the bitcoin: URI has several recipients on Lightning", protocol=LIGHTNING)
    if payees:
        return Recipient(_plain(payees[0]), uri.amount_msat)
    if uri.values("lno"):
        raise _unsupported(_IS_BOLT12)
    raise _unsupported("the bitcoin: URI has only an on-chain address, which this layer does not pay")


def _in_web_address(rest: str) -> Payee:
    query = rest.partition("#")[0].partition("?")[2]
    found = [value for key, value in bitcoin_uri.read_parameters(query) if key == "lightning"]
    if len(found) != 1 or not found[0].lower().startswith("lnurl1"):
        raise FormatError(
            "the web address does not have exactly one LNURL in a parameter named lightning",
            protocol=LIGHTNING,
            remedy=_ASK,
        )
    return _lnurl(found[0])


def _lnurl(text: str) -> Lnurl:
    url = lnurl.read_url(lnurl.decode(text))
    if url.tags not in ((), ("payRequest",)):
        # For a login or a withdrawal, a request to the service would already be its first step.
        raise FormatError(f"the LNURL is for {printable(url.tags[0][:40])!r}, not for payments", protocol=LIGHTNING)
    if url.is_onion:
        raise _unsupported(_IS_ONION, remedy=None)
    return Lnurl(url.text)


def _at_host(text: str) -> NodeKey | LightningAddress:
    key, _, host = text.partition("@")
    if _KEY.fullmatch(key):
        if not re.fullmatch(r"[^@]+:[0-9]{1,5}", host):
            # It could also be a Lightning address with such a name.
            raise FormatError("a node's key with a host must have a port too; give only the key", protocol=LIGHTNING)
        return _node(key)
    address = lnurl.read_address(text)
    if address.domain.partition(":")[0].endswith(".onion"):
        raise _unsupported(_IS_ONION, remedy=None)
    return address


def _node(text: str) -> NodeKey:
    try:
        return NodeKey(PublicKey(bytes.fromhex(text)).format())
    except ValueError:
        raise FormatError("this is not a valid public key of a node", protocol=LIGHTNING) from None


def _unsupported(problem: str, remedy: str | None = _ASK) -> ProtocolNotImplemented:
    return ProtocolNotImplemented(problem, protocol=LIGHTNING, remedy=remedy)
