"""Signed acts on locks, as the journal keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from layer2.errors import FormatError
from layer2.formats.evm_hex import format_data, parse_data
from layer2.formats.evm_transaction import SignedTransaction, decode_signed
from layer2.legs.views import Verb
from layer2.ports.journal import Json

__all__ = ["EvmAct"]

# An act is read about ten times, and the recovery of its sender is the most expensive part.
_decoded: Final = lru_cache(maxsize=4_096)(decode_signed)


@dataclass(frozen=True, slots=True)
class EvmAct:
    """A signed act on a lock, complete with the transactions that it needs."""

    verb: Verb
    transactions: tuple[SignedTransaction, ...]
    """In order: approvals, if any, and last the act itself."""
    replaced: tuple[bytes, ...] = ()
    """Hashes of earlier versions of the act, with the same nonce and effect and a lower price."""

    def write(self) -> Json:
        """The act as JSON for the journal."""
        return {
            "type": "evm_transactions",
            "verb": self.verb.value,
            "transactions": [format_data(signed.raw) for signed in self.transactions],
            **({"replaced": [format_data(tx_hash) for tx_hash in self.replaced]} if self.replaced else {}),
        }

    @classmethod
    def read(cls, act: Json) -> EvmAct:
        """Read the result of ``write``.

        Raises:
            FormatError: it is not an act of an EVM layer.
        """
        transactions, replaced = act.get("transactions"), act.get("replaced", [])
        if act.get("type") != "evm_transactions" or not isinstance(transactions, list) or not transactions:
            raise FormatError("the act is not an act of an EVM layer")
        if not isinstance(replaced, list):
            raise FormatError("the act's earlier versions are not a list")
        try:
            verb = Verb(act.get("verb"))
        except ValueError as error:
            raise FormatError("the act's verb is unknown") from error
        return cls(
            verb,
            tuple([_decoded(parse_data(raw, "transaction")) for raw in transactions]),
            tuple([parse_data(tx_hash, "replaced", size=32) for tx_hash in replaced]),
        )
