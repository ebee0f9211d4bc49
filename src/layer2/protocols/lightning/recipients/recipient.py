"""Whom a payer names, in all the ways that Lightning's users write it. Pure: nothing is asked.

A text has one meaning or is refused. What is refused is not repeated in the error: it may have been pasted by mistake.
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
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_KEY: Final = re.compile(r"0[23][0-9a-fA-F]{64}")
_BOLT12: Final = ("lno1", "lnr1", "lni1")
_ON_CHAIN: Final = re.compile(r"(?:bc|tb|bcrt)1[0-9a-z]{6,87}|[123mn][1-9A-HJ-NP-Za-km-z]{25,34}")
"""The look of an address: segwit of any version, and base58. It decides only between two refusals."""


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A node that is paid without an invoice (keysend)."""

    key: bytes
    """33 bytes, a point of secp256k1."""


@dataclass(frozen=True, slots=True)
class Lnurl:
    """A service that gives invoices, named by its URL (LUD-01)."""

    url: str = field(repr=False)
    """May hold what only the payer should know."""


Payee: TypeAlias = Bolt11Invoice | NodeKey | Lnurl | LightningAddress


@dataclass(frozen=True, slots=True)
class Recipient:
    """What a text says: whom to pay, and how much where it says that."""

    payee: Payee
    amount_msat: int | None = None
    """What a URI asks for beside its payee. An invoice's own amount is in the invoice."""

    def check_amount(self, amount_msat: int) -> None:
        """Check that this amount may be sent.

        Raises:
            InvalidAmount: the URI or the invoice asks for another one.
        """
        asked = {"the URI": self.amount_msat}
        if isinstance(self.payee, Bolt11Invoice):
            asked["the invoice"] = self.payee.amount_msat
        for what, amount in asked.items():
            if amount is not None and amount != amount_msat:
                raise InvalidAmount(
                    f"{what} asks for {amount} msat; the transfer is over {amount_msat} msat", protocol=LIGHTNING
                )


def read_recipient(text: str) -> Recipient:
    """Say whom a text names.

    Args:
        text: an invoice (BOLT 11), a node's public key (66 hexadecimal digits, also as ``KEY@HOST:PORT``, whose host
            does not matter for paying), an LNURL (LUD-01) or a Lightning address (LUD-16); each also in a
            ``lightning:`` URI or as the ``lightning`` part of a ``bitcoin:`` URI (BIP 21, BIP 321), whose address on
            the chain is then passed over; or a web address with an LNURL in its ``lightning`` parameter, which is not
            asked itself.

    Raises:
        FormatError: it is none of these.
        ProtocolNotImplemented: it is something that this version does not pay: an offer, invoice request or invoice of
            BOLT 12, an address on the chain, a service behind an onion address.
    """
    if not isinstance(text, str):
        raise FormatError(f"a recipient is text, not {type(text).__name__}", protocol=LIGHTNING)
    if not text or len(text) > MAX_LENGTH:
        raise FormatError(f"a recipient is a text of 1 to {MAX_LENGTH} characters", protocol=LIGHTNING)
    if not all("!" <= sign <= "~" for sign in text):
        raise FormatError("a recipient has no spaces and is plain ASCII", protocol=LIGHTNING)
    match = _SCHEME.match(text)
    if match is None:
        return Recipient(_plain(text))
    scheme, rest = match[1].lower(), text[match.end() :]
    if scheme == "bitcoin":
        return _in_bitcoin_uri(text)
    if scheme == "lightning":
        if "?" in rest:
            raise FormatError("a lightning: URI has no parameters in any standard", protocol=LIGHTNING)
        return Recipient(_plain(rest.removeprefix("//")))
    if scheme in {"http", "https"}:
        return Recipient(_in_web_address(rest))
    raise FormatError(
        f"a URI of the scheme {scheme[:20]}: is not read here; lightning: and bitcoin: are",
        protocol=LIGHTNING,
        remedy=_ASK,
    )


def transfer_digest(text: str, amount_msat: int) -> str:
    """What was asked for, in 64 hexadecimal digits: the same for the same recipient and amount only.

    Args:
        text: as ``read_recipient`` took it. No two recipients differ only in the case of their letters.
        amount_msat: what they shall get.
    """
    asked = canonical_json.encode({"transfer": [text.lower(), str(amount_msat)]})
    return hashlib.sha256(asked).hexdigest()


def _plain(text: str) -> Payee:
    """Whom a text names that is no URI."""
    lowered = text.lower()
    if lowered.startswith(_BOLT12):
        raise _bolt12()
    if lowered.startswith("lnurl1"):
        return _lnurl(text)
    if "@" in text:
        return _at_host(text)
    if lowered.startswith("ln"):
        return bolt11.decode(text)
    if _KEY.fullmatch(text):
        return _node(text)
    if _ON_CHAIN.fullmatch(lowered) or _ON_CHAIN.fullmatch(text):
        raise _on_chain("this is an address")
    if re.fullmatch("0x[0-9a-fA-F]{40}", text):
        raise FormatError("this is an address of an EVM chain", protocol=LIGHTNING, remedy="send it on that layer")
    raise FormatError(
        "this is no recipient on Lightning",
        protocol=LIGHTNING,
        remedy="give an invoice (lnbc...), a Lightning address (name@domain), an LNURL (lnurl1...), a node's public key"
        " (66 hexadecimal digits), or a lightning: or bitcoin: URI with one of these",
    )


def _in_bitcoin_uri(text: str) -> Recipient:
    uri = bitcoin_uri.read(text)
    payees = uri.values("lightning")
    if len(payees) > 1:
        raise FormatError("the bitcoin: URI names several recipients on Lightning", protocol=LIGHTNING)
    if payees:
        return Recipient(_plain(payees[0]), uri.amount_msat)
    if uri.values("lno"):
        raise _bolt12()
    raise _on_chain("the bitcoin: URI has no lightning part, only what is paid")


def _in_web_address(rest: str) -> Payee:
    query = rest.partition("#")[0].partition("?")[2]
    found = [value for key, value in bitcoin_uri.read_parameters(query) if key == "lightning"]
    if len(found) != 1 or not found[0].lower().startswith("lnurl1"):
        raise FormatError(
            "the web address does not have one LNURL in a parameter named lightning", protocol=LIGHTNING, remedy=_ASK
        )
    return _lnurl(found[0])


def _lnurl(text: str) -> Lnurl:
    url = lnurl.read_url(lnurl.decode(text))
    if url.tags not in ((), ("payRequest",)):
        # A login or a withdrawal: asking its service would already be a part of it.
        raise FormatError(f"the LNURL is for {printable(url.tags[0][:40])!r}, not for being paid", protocol=LIGHTNING)
    if url.is_onion:
        raise _onion()
    return Lnurl(url.text)


def _at_host(text: str) -> NodeKey | LightningAddress:
    key, _, host = text.partition("@")
    if _KEY.fullmatch(key):
        if not re.fullmatch(r"[^@]+:[0-9]{1,5}", host):
            # It could as well be the Lightning address of someone who chose such a name.
            raise FormatError("a node's key with a host has a port too; give the key alone", protocol=LIGHTNING)
        return _node(key)
    address = lnurl.read_address(text)
    if address.domain.partition(":")[0].endswith(".onion"):
        raise _onion()
    return address


def _node(text: str) -> NodeKey:
    try:
        return NodeKey(PublicKey(bytes.fromhex(text)).format())
    except ValueError:
        raise FormatError("this looks like a node's public key and is none", protocol=LIGHTNING) from None


def _onion() -> ProtocolNotImplemented:
    return ProtocolNotImplemented(
        "the service is behind an onion address, which is not reached in this version", protocol=LIGHTNING
    )


def _bolt12() -> ProtocolNotImplemented:
    return ProtocolNotImplemented(
        "this is of BOLT 12 (an offer, or an invoice or a request for one), which is not paid in this version",
        protocol=LIGHTNING,
        remedy=_ASK,
    )


def _on_chain(what: str) -> ProtocolNotImplemented:
    return ProtocolNotImplemented(
        f"{what} on Bitcoin's chain, which this layer does not pay",
        protocol=LIGHTNING,
        remedy=_ASK,
    )
