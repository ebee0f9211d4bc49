"""Which transaction has each nonce of an account: a compare-and-set between all workers of a journal.

``NonceTable`` decides within one transaction of the journal, which no other transaction with nonces overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from sqlalchemy import Connection, bindparam, delete, insert, select, tuple_, update

from layer2.errors import NonceTaken
from layer2.journal.rows import insert_or_keep, row_of
from layer2.journal.schema import accounts, nonces
from layer2.ports.nonces import AccountNonces, NonceClaim, NonceUse

__all__ = ["NonceTable", "claim_nonces", "forget_nonces", "may_take", "nonces_of", "release_nonces"]

_Key: TypeAlias = tuple[str, str, int]
_KEY: Final = (nonces.c.protocol, nonces.c.account, nonces.c.nonce)
_HELD: Final = select(nonces).where(tuple_(*_KEY).in_(bindparam("keys", expanding=True)))
_FINAL: Final = select(accounts).where(
    tuple_(accounts.c.protocol, accounts.c.account).in_(bindparam("keys", expanding=True))
)
_OF_KEY: Final = tuple(column == bindparam(f"of_{column.name}") for column in _KEY)
_CHANGE: Final = (
    update(nonces).where(*_OF_KEY).values({name: bindparam(name) for name in ("tx_id", "raw", "worker", "is_out")})
)
_RELEASE: Final = delete(nonces).where(*_OF_KEY)


def may_take(held: NonceUse | None, claim: NonceClaim, final_count: int = 0) -> bool:
    """Whether the transaction of a claim can have its nonce.

    Args:
        held: what the journal has for the nonce; None if nothing.
        final_count: how many nonces of the account are final.
    """
    if claim.use.nonce < final_count:
        # If it is a journaled transaction, it may be the one that is final.
        return claim.takes_over
    if held is None or held == claim.instead_of:
        return True
    return held.tx_id == claim.use.tx_id and (claim.takes_over or held.worker == claim.use.worker)


class NonceTable:
    """The rows of the nonces that some writes need, within a transaction. ``write`` writes what they changed.

    Args:
        claims: of all writes.
    """

    def __init__(self, connection: Connection, claims: Sequence[NonceClaim]) -> None:
        self._connection = connection
        keys = {_key(claim.use) for claim in claims}
        found = connection.execute(_HELD, {"keys": list(keys)}) if keys else ()
        self._known = {_key(each): each for row in found for each in (NonceUse(**row._asdict()),)}
        self._held = dict(self._known)
        of_accounts = [(protocol, account) for protocol, account, _ in keys]
        counts = connection.execute(_FINAL, {"keys": list(set(of_accounts))}) if keys else ()
        self._final: dict[tuple[str, str], int] = {(row.protocol, row.account): row.final_count for row in counts}

    def refusal(self, claims: Sequence[NonceClaim]) -> NonceTaken | None:
        """The error for the caller of a write that cannot have its nonces, or None."""
        for claim in claims:
            if not may_take(self._held.get(_key(claim.use)), claim, self._final_count(claim)):
                return NonceTaken(
                    f"another transaction has nonce {claim.use.nonce} of {claim.use.account}",
                    protocol=claim.use.protocol,
                )
        return None

    def take_each(self, writes: Sequence[Sequence[NonceClaim]]) -> list[NonceTaken | None]:
        """Take the nonces of every write that can have all of them; return the errors of the others."""
        refusals: list[NonceTaken | None] = []
        for claims in writes:
            refusals.append(refusal := self.refusal(claims))
            if refusal is None:
                self.take(claims)
        self.write()
        return refusals

    def take(self, claims: Sequence[NonceClaim]) -> None:
        """Take the nonces of a write that is not refused."""
        for claim in claims:
            if claim.use.nonce < self._final_count(claim):
                continue
            held = self._held.get(_key(claim.use))
            was_out = held is not None and held.is_out and held.tx_id == claim.use.tx_id
            self._held[_key(claim.use)] = replace(claim.use, is_out=claim.use.is_out or was_out)

    def is_sent_by_another(self, claims: Sequence[NonceClaim]) -> bool:
        """Whether another worker may have sent one of the transactions."""
        held = [(claim.use, self._held.get(_key(claim.use))) for claim in claims]
        return any(
            has is not None and has.is_out and has.tx_id == use.tx_id and has.worker != use.worker for use, has in held
        )

    def return_unsent(self, claims: Sequence[NonceClaim]) -> bool:
        """Note that transactions were certainly not sent; return False if another worker may send one of them."""
        for claim in claims:
            held = self._held.get(_key(claim.use))
            if held is None or held.tx_id != claim.use.tx_id or not held.is_out:
                continue
            if held.worker != claim.use.worker:
                return False
            self._held[_key(claim.use)] = replace(held, is_out=False)
        return True

    def _final_count(self, claim: NonceClaim) -> int:
        return self._final.get((claim.use.protocol, claim.use.account), 0)

    def write(self) -> None:
        """Write the nonces that were taken."""
        changed = {key: use for key, use in self._held.items() if self._known.get(key) != use}
        added = [row_of(use) for key, use in changed.items() if key not in self._known]
        if added:
            self._connection.execute(insert(nonces), added)
        moved = [_of_key(use) | row_of(use) for key, use in changed.items() if key in self._known]
        if moved:
            self._connection.execute(_CHANGE, moved)


def claim_nonces(connection: Connection, writes: Sequence[Sequence[NonceClaim]]) -> Sequence[Exception | None]:
    """Take nonces. See ``NonceRecords.claim_nonces``."""
    return NonceTable(connection, [claim for claims in writes for claim in claims]).take_each(writes)


def release_nonces(connection: Connection, uses: Sequence[NonceUse]) -> Sequence[bool]:
    """Release nonces. See ``NonceRecords.release_nonce``."""
    found = connection.execute(_HELD, {"keys": [_key(use) for use in uses]})
    held = {NonceUse(**row._asdict()) for row in found}
    released = [use in held for use in uses]
    given = [_of_key(use) for use in held.intersection(uses)]
    if given:
        connection.execute(_RELEASE, given)
    return released


def forget_nonces(connection: Connection, protocol: str, account: str, count: int) -> None:
    """Forget the nonces below a count. See ``NonceRecords.forget_nonces``."""
    of_account = accounts.c.protocol == protocol, accounts.c.account == account
    row = {"protocol": protocol, "account": account, "final_count": 0}
    connection.execute(insert_or_keep(connection, accounts), [row])
    higher = update(accounts).where(*of_account, accounts.c.final_count < count).values(final_count=count)
    connection.execute(higher)
    final = nonces.c.protocol == protocol, nonces.c.account == account, nonces.c.nonce < count
    connection.execute(delete(nonces).where(*final))


def nonces_of(connection: Connection, protocol: str, account: str) -> AccountNonces:
    """What the journal has of an account's nonces."""
    count = select(accounts.c.final_count).where(accounts.c.protocol == protocol, accounts.c.account == account)
    of_account = nonces.c.protocol == protocol, nonces.c.account == account
    rows = connection.execute(select(nonces).where(*of_account).order_by(nonces.c.nonce))
    uses = tuple(NonceUse(**row._asdict()) for row in rows)
    return AccountNonces(connection.execute(count).scalar() or 0, uses)


def _key(use: NonceUse) -> _Key:
    return use.protocol, use.account, use.nonce


def _of_key(use: NonceUse) -> dict[str, object]:
    return {"of_protocol": use.protocol, "of_account": use.account, "of_nonce": use.nonce}
