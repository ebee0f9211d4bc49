"""The acts on Lightning, and their JSON for the journal, which is enough to repeat an act identically."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final, TypeAlias

from layer2.errors import FormatError
from layer2.formats import bolt11
from layer2.formats.json_object import JsonObject
from layer2.model.transactions import LightningPaymentId, Preimage
from layer2.ports.journal import Json

__all__ = ["KEYSEND_FINAL_CLTV_DELTA", "Act", "Cancel", "Keysend", "Pay", "Settle", "read_act", "write_act"]

KEYSEND_FINAL_CLTV_DELTA: Final = 80
"""Final CLTV delta, in blocks, of a payment without an invoice: lnd's default (``timelockdelta``)."""


@dataclass(frozen=True, slots=True)
class Pay:
    """Pay one invoice within limits (the verb *fund*)."""

    payment_hash: bytes
    """32 bytes."""
    invoice: str
    amount_msat: int
    """The invoice's amount, or the payer's choice if the invoice has none."""
    fee_limit_msat: int
    cltv_limit: int
    """Blocks; not 0, which lnd reads as 2016."""
    timeout_seconds: int
    """Seconds for which the node looks for routes."""
    max_parts: int

    @property
    def payment_id(self) -> LightningPaymentId:
        """The payment hash as an id."""
        return LightningPaymentId(self.payment_hash.hex())


@dataclass(frozen=True, slots=True)
class Keysend:
    """Pay a node without an invoice, in one part, with a preimage drawn by the payer.

    Source: bLIP 3.
    """

    payee: bytes
    """33 bytes: the node's public key."""
    amount_msat: int
    preimage: Preimage = field(repr=False)
    fee_limit_msat: int
    cltv_limit: int
    """Blocks; not 0, which lnd reads as 2016."""
    timeout_seconds: int
    """Seconds for which the node looks for routes."""

    @property
    def payment_hash(self) -> bytes:
        """SHA-256 of the preimage, 32 bytes."""
        return self.preimage.payment_hash

    @property
    def payment_id(self) -> LightningPaymentId:
        """The payment hash as an id."""
        return LightningPaymentId(self.payment_hash.hex())


@dataclass(frozen=True, slots=True)
class Settle:
    """Settle a hold invoice (the verb *collect*). When this act is made, its preimage is public or about to be."""

    preimage: Preimage = field(repr=False)

    @property
    def payment_hash(self) -> bytes:
        """SHA-256 of the preimage, 32 bytes."""
        return self.preimage.payment_hash


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel an invoice and return what it holds (the verb *release*)."""

    payment_hash: bytes


Act: TypeAlias = Pay | Keysend | Settle | Cancel


def write_act(act: Act) -> Json:
    """Write an act as a JSON object."""
    written: dict[str, object] = {"act": type(act).__name__.lower()}
    for each in fields(act):
        value = getattr(act, each.name)
        if isinstance(value, Preimage):
            value = value.secret
        written[each.name] = value.hex() if isinstance(value, bytes) else value
    return written


def read_act(value: Json) -> Act:
    """Read what ``write_act`` wrote.

    Raises:
        FormatError: a field is missing, unknown or of another shape, or the act is unknown.
    """
    read = JsonObject(value, "act")
    kind = read.text("act", max_length=16)
    act: Act
    if kind == "pay":
        act = Pay(
            payment_hash=read.hex("payment_hash", length=32),
            invoice=read.text("invoice", max_length=bolt11.MAX_LENGTH),
            amount_msat=read.integer("amount_msat", maximum=2**63),
            fee_limit_msat=read.integer("fee_limit_msat", maximum=2**63),
            cltv_limit=read.integer("cltv_limit", maximum=2**31),
            timeout_seconds=read.integer("timeout_seconds", maximum=2**31),
            max_parts=read.integer("max_parts", maximum=1000),
        )
    elif kind == "keysend":
        act = Keysend(
            payee=read.hex("payee", length=33),
            amount_msat=read.integer("amount_msat", maximum=2**63),
            preimage=Preimage(read.hex("preimage", length=32)),
            fee_limit_msat=read.integer("fee_limit_msat", maximum=2**63),
            cltv_limit=read.integer("cltv_limit", maximum=2**31),
            timeout_seconds=read.integer("timeout_seconds", maximum=2**31),
        )
    elif kind == "settle":
        act = Settle(Preimage(read.hex("preimage", length=32)))
    elif kind == "cancel":
        act = Cancel(read.hex("payment_hash", length=32))
    else:
        raise FormatError(f"act {kind!r} is unknown on Lightning")
    read.end()
    return act
