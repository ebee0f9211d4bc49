"""The acts on a hash-locked output, as the journal stores them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from layer2.errors import FormatError
from layer2.formats.bitcoin_transaction import MAX_MONEY, OutPoint, Transaction, decode_transaction
from layer2.formats.json_object import JsonObject
from layer2.legs.views import Verb
from layer2.ports.journal import Json
from layer2.protocols.bitcoin.htlc.spending import Held

__all__ = ["Act", "Broadcast", "Coin", "ReleaseSignatures", "read_act"]


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that an act spends, with its script, so that whatever spends it is found."""

    outpoint: OutPoint
    script: bytes


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A signed transaction to broadcast."""

    verb: Verb
    transaction: Transaction = field(repr=False)
    """Its witness may contain the preimage."""
    coins: tuple[Coin, ...]
    """In the order of its inputs."""
    fee: int
    """Satoshi."""
    made_at: int
    """The newest block's height when it was made."""
    replaced: tuple[bytes, ...] = ()
    """Hashes of earlier versions of the act, which spend the same first coin."""

    @property
    def rate(self) -> int:
        """Satoshi per 1,000 virtual bytes."""
        return self.fee * 1_000 // self.transaction.virtual_size

    def write(self) -> Json:
        """The act as a JSON object."""
        return {
            "type": "bitcoin_transaction",
            "verb": self.verb.value,
            "transaction": self.transaction.encode().hex(),
            "scripts": [each.script.hex() for each in self.coins],
            "fee": self.fee,
            "made_at": self.made_at,
            "replaced": [each.hex() for each in self.replaced],
        }


@dataclass(frozen=True, slots=True)
class ReleaseSignatures:
    """The payee's signatures with which the payer takes outputs back. They count as given once they are journaled."""

    signed: tuple[tuple[Held, bytes], ...]

    def write(self) -> Json:
        """The act as a JSON object, which the payer reads too."""
        return {
            "type": "bitcoin_release",
            "signed": [
                {
                    "tx_hash": held.outpoint.tx_hash.hex(),
                    "index": held.outpoint.index,
                    "amount": str(held.amount),
                    "signature": signature.hex(),
                }
                for held, signature in self.signed
            ],
        }


Act: TypeAlias = Broadcast | ReleaseSignatures


def read_act(value: Json) -> Act:
    """The reverse of ``write``.

    Raises:
        FormatError: a field is missing, unknown or of the wrong type.
    """
    fields = JsonObject(value, "the act")
    match fields.text("type", max_length=32):
        case "bitcoin_transaction":
            act: Act = _broadcast(fields)
        case "bitcoin_release":
            act = ReleaseSignatures(tuple([_signed(each) for each in fields.items("signed")]))
        case other:
            raise FormatError(f"{other!r} is not an act on Bitcoin")
    fields.end()
    return act


def _broadcast(fields: JsonObject) -> Broadcast:
    transaction = decode_transaction(fields.hex("transaction", max_length=800_000))
    scripts = fields.hex_list("scripts", max_items=1_000)
    if len(scripts) != len(transaction.inputs):
        raise FormatError("the act does not have a script for each input")
    try:
        verb = Verb(fields.text("verb", max_length=16))
    except ValueError as error:
        raise FormatError("the act's verb is unknown") from error
    return Broadcast(
        verb=verb,
        transaction=transaction,
        coins=tuple([Coin(one.prevout, script) for one, script in zip(transaction.inputs, scripts, strict=True)]),
        fee=fields.integer("fee"),
        made_at=fields.integer("made_at"),
        replaced=fields.hex_list("replaced", max_items=1_000),
    )


def _signed(value: object) -> tuple[Held, bytes]:
    fields = JsonObject(value, "a release signature")
    outpoint = OutPoint(fields.hex("tx_hash", length=32), fields.integer("index", maximum=2**32 - 1))
    amount = fields.amount("amount")
    if amount > MAX_MONEY:
        raise FormatError("a release signature is for more than there is")
    signed = Held(outpoint, amount), fields.hex("signature", max_length=73)
    fields.end()
    return signed
