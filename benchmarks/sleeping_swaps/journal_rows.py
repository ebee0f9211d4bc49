"""Writes a provider's journal with open swaps. Run as a program, so that its memory is not in what is measured."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import create_engine, insert, make_url

from layer2.contracts.htlc import HTLC_ADDRESS, NATIVE_COIN
from layer2.journal.schema import intents, swaps
from layer2.journal.sql_journal import SqlJournal
from layer2.legs.evm import EvmLeg
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality, SwapId
from layer2.ports.journal import Delivery, Json, Role
from layer2.swap_rules.states import ProviderCounterFunded, write_state
from layer2.terms.documents import Scheme, Signature, SignedTerms, Terms
from layer2.terms.signing import write_signed_terms

__all__ = ["TOKEN", "write_journal"]

TOKEN: Final = b"\x0d" * 20
_TAKER, _PROVIDER = b"\x0a" * 20, b"\x0b" * 20
_DAY: Final = 86_400
_SIGNED_BYTES: Final = 400
"""As long as a signed lock."""
_BATCH: Final = 1_000


def _terms(now: int) -> dict[str, Any]:
    source = EvmLeg(
        protocol=Layer2ProtocolType.BOB,
        chain_id=60_808,
        contract=HTLC_ADDRESS,
        token=TOKEN,
        token_decimals=8,
        amount=100_420,
        payer=_TAKER,
        payee=_PROVIDER,
        deadline=now + 20 * _DAY,
        finality=Finality.FINALIZED,
    )
    destination = EvmLeg(
        protocol=Layer2ProtocolType.ROOTSTOCK,
        chain_id=33,
        contract=HTLC_ADDRESS,
        token=NATIVE_COIN,
        token_decimals=18,
        amount=10**15,
        payer=_PROVIDER,
        payee=_TAKER,
        deadline=now + 10 * _DAY,
        finality=Finality.FINALIZED,
    )
    terms = Terms(
        swap_id=SwapId("00" * 16),
        quote_id="0b" * 16,
        network="regtest",
        asset="BTC",
        payment_hash=bytes(32),
        amount=100_000,
        provider_fee=320,
        network_fee=100,
        source=source,
        destination=destination,
        issued_at=now,
        fund_by=now + _DAY,
        counter_fund_by=now + 2 * _DAY,
        collect_by=now + 9 * _DAY,
        provider=b"\x01" * 32,
    )
    return write_signed_terms(SignedTerms(terms, Signature(Scheme.BIP340, bytes(64))))


def _rows(count: int, now: int) -> Iterator[tuple[Json, Json]]:
    """For each swap, its row and the row of the intent to fund."""
    signed = _terms(now)
    state = write_state(ProviderCounterFunded("0x" + "11" * 32, "0x" + "22" * 32))
    act = {"act": {"verb": "fund", "transactions": ["0x" + "33" * _SIGNED_BYTES]}}
    for number in range(1, count + 1):
        swap_id, payment_hash = f"{number:032x}", number.to_bytes(32)
        changed = {"swap_id": swap_id, "payment_hash": payment_hash.hex(), "collect_by": now + 9 * _DAY + number}
        swap = {
            "swap_id": swap_id,
            "role": Role.PROVIDER,
            "version": 4,
            "state": state,
            "is_final": False,
            "payment_hash": payment_hash,
            "terms": {**signed, "terms": {**signed["terms"], **changed}},
            "request": {},
            "quote_id": swap_id,
            "access": bytes(32),
            "holds_key": True,
            "created_at": now,
            "updated_at": now,
        }
        intent = {
            "swap_id": swap_id,
            "number": 1,
            "verb": "fund",
            "end": "destination",
            "act": act,
            "delivery": Delivery.TAKEN,
        }
        yield swap, intent


async def _create(place: str) -> None:
    await (await SqlJournal.open(place)).aclose()


def write_journal(place: str, count: int) -> None:
    """Write swaps that the provider has funded, and whose takers have to reveal the preimage within nine days.

    Args:
        place: a path or the URL of a PostgreSQL database.
        count: the number of swaps.
    """
    asyncio.run(_create(place))
    url = make_url(place).set(drivername="postgresql+psycopg") if "://" in place else f"sqlite:///{place}"
    engine = create_engine(url)
    rows = _rows(count, int(time.time()))
    with engine.begin() as connection:
        while batch := list(itertools.islice(rows, _BATCH)):
            connection.execute(insert(swaps), [swap for swap, _ in batch])
            connection.execute(insert(intents), [intent for _, intent in batch])
    engine.dispose()


if __name__ == "__main__":
    write_journal(sys.argv[1], int(sys.argv[2]))
