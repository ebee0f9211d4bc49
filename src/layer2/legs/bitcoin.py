"""Legs that are one output of a Bitcoin transaction, under a hash lock (P2WSH).

The refund branch takes the payer's key and either the deadline or the payee's signature, so that the payee can give
the money back early. No client uses this kind yet. Source: BIP 65, BIP 113 and BIP 141.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

from coincurve import PublicKey

from layer2.errors import FundsRulesError, InvalidRequest, ProofRefused
from layer2.formats.json_object import JsonObject
from layer2.legs.block_times import Span
from layer2.legs.evidence import LegEvidence
from layer2.legs.fields import read_finality
from layer2.legs.leg import Leg, LegOffer, LegPlan
from layer2.legs.shown import EvidencePolicy, LegShown, OpenMatter, Owed
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ClockReading, LegView, OfferRequest, Release, Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality

__all__ = ["BitcoinLeg", "BitcoinOffer", "htlc_script"]

LOCKTIME_THRESHOLD: Final = 500_000_000
"""BIP 65: a lock time below is a height, others are unix times, compared with the median time past (BIP 113)."""
_MTP_LAG_BLOCKS: Final = 6
"""The median of eleven blocks lags by about so many."""
_DUST: Final = 10_000
"""Satoshi; a smaller output is not worth the fees of its claim."""


@dataclass(frozen=True, slots=True)
class BitcoinOffer(LegOffer):
    """A party's key on Bitcoin."""

    kind: ClassVar[str] = "bitcoin"
    counts_blocks: ClassVar[bool] = True
    pays_strangers: ClassVar[bool] = False

    prefix: str
    """BIP 173: ``bc``, ``tb`` or ``bcrt``."""
    key: bytes
    """33 bytes: the party's public key for this swap."""
    fee_floor: int
    """Satoshi for each 1,000 virtual bytes that the funding pays at least."""
    output_finality: Finality

    @property
    def protocol(self) -> Layer2ProtocolType:
        return Layer2ProtocolType.BITCOIN

    @property
    def network_id(self) -> str:
        return self.prefix

    @property
    def finality(self) -> Finality:
        return self.output_finality

    def with_finality(self, finality: Finality) -> Self:
        return replace(self, output_finality=finality)

    def differs_from(self, own: LegOffer) -> str | None:
        if not isinstance(own, BitcoinOffer):
            return "kind"
        if self.prefix != own.prefix:
            return "prefix"
        if self.fee_floor > own.fee_floor:
            # It is paid by the party that funds, outside every limit of the fee.
            return "fee_floor"
        return "key" if self.key == own.key or not _is_key(self.key) else None

    def request(self, plan: LegPlan, side: Side, memo: str, rules: TimelockSettings) -> OfferRequest:
        return OfferRequest(side, plan.payment_hash, plan.amount, memo, expiry_seconds=0, min_blocks=0)

    def check_named(self, plan: LegPlan, rules: TimelockSettings) -> None:
        if _key(plan.taker) == self.key:
            raise InvalidRequest("payer and payee have the same key", code="offer_key")

    def build(self, plan: LegPlan, rules: TimelockSettings) -> BitcoinLeg:
        self.check_named(plan, rules)
        taker, taker_pays = _key(plan.taker), plan.taker_side is Side.PAYER
        if plan.by_height:
            locktime = plan.height + plan.needed.in_blocks(rules.bitcoin) + _collect_blocks(rules)
        else:
            locktime = plan.issued_at + self.deadline_after(plan.needed, rules).seconds
        return BitcoinLeg(
            prefix=self.prefix,
            amount=plan.amount,
            payer=taker if taker_pays else self.key,
            payee=self.key if taker_pays else taker,
            payment_hash=plan.payment_hash,
            locktime=locktime,
            issued_height=plan.height if plan.by_height else 0,
            depth=_depth(self.output_finality, rules),
            fee_floor=self.fee_floor,
            output_finality=self.output_finality,
        )

    def deadline_after(self, needed: Span, rules: TimelockSettings) -> Span:
        if needed.blocks:
            return Span(0, needed.in_blocks(rules.bitcoin) + _collect_blocks(rules))
        blocks = rules.claim_blocks + rules.final_depth
        return Span(needed.seconds + rules.mtp_early + rules.bitcoin.latest(blocks))

    def known_after(self, deadline: Span, rules: TimelockSettings) -> Span:
        return deadline + (_known_by_height(rules) if deadline.blocks else _known_by_time(rules))

    def payer_cost(self, amount: int) -> int:
        return 0

    def hash_named(self, text: str) -> bytes:
        raise InvalidRequest("a hash-locked output pays only the taker's own key", code="recipient")

    def settling(self, rules: TimelockSettings) -> int:
        return rules.deep_time

    def write(self) -> dict[str, Any]:
        return {
            "prefix": self.prefix,
            "key": self.key.hex(),
            "fee_floor": self.fee_floor,
            "finality": self.output_finality.value,
        }

    @classmethod
    def read(cls, fields: JsonObject) -> Self:
        return cls(
            prefix=fields.text("prefix", max_length=8),
            key=fields.hex("key", length=33),
            fee_floor=fields.integer("fee_floor"),
            output_finality=read_finality(fields),
        )


@dataclass(frozen=True, slots=True)
class BitcoinLeg(Leg):
    """One output. Which outpoint it is, each party sees on its own node."""

    kind: ClassVar[str] = "bitcoin"
    lapses: ClassVar[bool] = False
    is_repeatable: ClassVar[bool] = True
    payer_reclaims: ClassVar[bool] = True
    release: ClassVar[Release] = Release.COSIGNED
    anyone_collects: ClassVar[bool] = False
    holds: ClassVar[str] = "locked"

    prefix: str
    """BIP 173: ``bc``, ``tb`` or ``bcrt``."""
    amount: int
    """Satoshi."""
    payer: bytes
    """33 bytes: the key of the refund."""
    payee: bytes
    """33 bytes: the key of the claim, and of an early release."""
    payment_hash: bytes
    """32 bytes; the script commits to it."""
    locktime: int
    """BIP 65: a height below 500,000,000, otherwise a unix time of the median time past."""
    issued_height: int
    """The newest block when the terms were issued; 0 where the deadline is a time."""
    depth: int
    """Confirmations that the payee waits for before it acts on the output."""
    fee_floor: int
    """Satoshi for each 1,000 virtual bytes that the funding pays at least."""
    output_finality: Finality

    @property
    def protocol(self) -> Layer2ProtocolType:
        return Layer2ProtocolType.BITCOIN

    @property
    def network_id(self) -> str:
        return self.prefix

    @property
    def finality(self) -> Finality:
        return self.output_finality

    @property
    def is_by_height(self) -> bool:
        """Whether the deadline is a height."""
        return self.locktime < LOCKTIME_THRESHOLD

    @property
    def script(self) -> bytes:
        """The witness script."""
        return htlc_script(self.payment_hash, payer=self.payer, payee=self.payee, locktime=self.locktime)

    @property
    def refundable_from(self) -> int | None:
        return None if self.is_by_height else self.locktime

    def clock_at_issue(self, issued_at: int) -> ClockReading:
        return ClockReading(issued_at, self.issued_height)

    def is_past(self, clock: ClockReading) -> bool:
        return (clock.height if self.is_by_height else clock.chain_time) >= self.locktime

    def outlasts(self, issued_at: int, needed: Span, rules: TimelockSettings) -> bool:
        return self._lasts(issued_at, self.issued_height, needed, rules)

    def _lasts(self, now: int, height: int, needed: Span, rules: TimelockSettings) -> bool:
        if self.is_by_height:
            return height + needed.in_blocks(rules.bitcoin) + _collect_blocks(rules) <= self.locktime
        return now + needed.latest(rules.bitcoin) <= self._begin_by(rules)

    def _begin_by(self, rules: TimelockSettings) -> int:
        return self.locktime - rules.mtp_early - rules.bitcoin.latest(rules.claim_blocks + rules.final_depth)

    def known(self, now: int, clock: ClockReading, rules: TimelockSettings) -> Span:
        if self.is_by_height:
            return Span(0, max(0, self.locktime - clock.height)) + _known_by_height(rules)
        return Span(max(0, self.locktime - now)) + _known_by_time(rules)

    def problem(self, view: LegView, needed: Span, now: int, rules: TimelockSettings) -> str | None:
        # The margin allows for a clock that runs ahead; only one that runs further than that counts here.
        ahead = 0 if self.is_by_height else max(0, view.clock.chain_time - now - rules.mtp_early)
        if self._lasts(now + ahead, view.clock.height, needed, rules):
            return None
        return "the output's deadline is too early to be sure to collect"

    def collect_until(self, view: LegView | None, now: int, rules: TimelockSettings) -> int | None:
        if not self.is_by_height:
            return self._begin_by(rules)
        height = self.issued_height if view is None else view.clock.height
        blocks = self.locktime - height - _collect_blocks(rules)
        return now + rules.bitcoin.earliest(blocks) if blocks >= 0 else now - 1

    def last_funding(self, rules: TimelockSettings) -> int | None:
        return None

    def lands_by(self, begun_by: int, rules: TimelockSettings) -> int:
        return begun_by + rules.deep_time

    def settled_by(self, begun_by: int, rules: TimelockSettings) -> int:
        return begun_by + rules.deep_time

    @property
    def named_by_provider(self) -> str:
        return ""

    def surely_over(self, now: int, clock: ClockReading, rules: TimelockSettings) -> int:
        return now + self.known(now, clock, rules).latest(rules.bitcoin)

    def check(self, issued_at: int, fund_by: int, rules: TimelockSettings) -> None:
        if self.amount < _DUST:
            raise FundsRulesError(f"an output of less than {_DUST} sat is not worth the fees of its claim")
        left = Span(0, self.locktime - self.issued_height) if self.is_by_height else Span(self.locktime - issued_at)
        if left.latest(rules.bitcoin) > rules.max_lock:
            raise FundsRulesError(f"the output would be locked for longer than the {rules.max_lock} s that are allowed")

    def check_owed(self, owed: Owed, policy: EvidencePolicy) -> tuple[OpenMatter, ...]:
        if self.amount != owed.amount:
            raise ProofRefused("amount", "the output's amount is another than the terms'")
        if self.payment_hash != owed.payment_hash:
            raise ProofRefused("payment_hash", "the output is under another payment hash than the terms")
        return ()

    def check_evidence(self, evidence: LegEvidence, owed: Owed, policy: EvidencePolicy) -> LegShown:
        raise ProofRefused(
            "evidence", f"evidence of the type {evidence.type} is none of a Bitcoin leg: there is no type"
        )

    def write(self) -> dict[str, Any]:
        return {
            "prefix": self.prefix,
            "amount": str(self.amount),
            "payer": self.payer.hex(),
            "payee": self.payee.hex(),
            "payment_hash": self.payment_hash.hex(),
            "locktime": self.locktime,
            "issued_height": self.issued_height,
            "depth": self.depth,
            "fee_floor": self.fee_floor,
            "finality": self.output_finality.value,
        }

    @classmethod
    def read(cls, fields: JsonObject) -> Self:
        return cls(
            prefix=fields.text("prefix", max_length=8),
            amount=fields.amount("amount"),
            payer=fields.hex("payer", length=33),
            payee=fields.hex("payee", length=33),
            payment_hash=fields.hex("payment_hash", length=32),
            locktime=fields.integer("locktime", maximum=2**32 - 1),
            issued_height=fields.integer("issued_height", maximum=LOCKTIME_THRESHOLD - 1),
            depth=fields.integer("depth", maximum=1000),
            fee_floor=fields.integer("fee_floor"),
            output_finality=read_finality(fields),
        )


def htlc_script(payment_hash: bytes, *, payer: bytes, payee: bytes, locktime: int) -> bytes:
    """The witness script of an output under a hash lock.

    Args:
        payment_hash: 32 bytes, sha256 of the preimage.
        payer, payee: compressed public keys, 33 bytes each.
        locktime: as ``BitcoinLeg.locktime``.
    """
    op_if, op_else, op_notif, op_endif = b"\x63", b"\x67", b"\x64", b"\x68"
    op_size, op_equalverify, op_sha256, op_ifdup = b"\x82", b"\x88", b"\xa8", b"\x73"
    op_checksig, op_checksigverify, op_checklocktimeverify = b"\xac", b"\xad", b"\xb1"
    claim = (op_size + _push(b"\x20") + op_equalverify + op_sha256 + _push(payment_hash) + op_equalverify) + (
        _push(payee) + op_checksig
    )
    refund = (_push(payer) + op_checksigverify + _push(payee) + op_checksig + op_ifdup + op_notif) + (
        _push(_number(locktime)) + op_checklocktimeverify + op_endif
    )
    return op_if + claim + op_else + refund + op_endif


def _push(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _number(value: int) -> bytes:
    """A positive number as scripts write it: little-endian, with room for the sign."""
    data = value.to_bytes((value.bit_length() + 7) // 8, "little")
    return data + b"\x00" if data[-1] & 0x80 else data


def _collect_blocks(rules: TimelockSettings) -> int:
    return rules.claim_blocks + rules.final_depth + rules.late_tip_blocks


def _known_by_height(rules: TimelockSettings) -> Span:
    return Span(rules.provider_absence, rules.claim_blocks + rules.final_depth)


def _known_by_time(rules: TimelockSettings) -> Span:
    late = rules.provider_absence + rules.mtp_late
    return Span(late, _MTP_LAG_BLOCKS + rules.claim_blocks + rules.final_depth)


def _depth(finality: Finality, rules: TimelockSettings) -> int:
    return {Finality.LATEST: 1, Finality.SAFE: rules.safe_depth, Finality.FINALIZED: rules.final_depth}[finality]


def _key(text: str) -> bytes:
    """A public key that a party names.

    Raises:
        InvalidRequest: code ``offer_key``.
    """
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise InvalidRequest("the key is not hexadecimal digits", code="offer_key") from error
    if not _is_key(key):
        raise InvalidRequest("the key is not a compressed public key", code="offer_key")
    return key


def _is_key(data: bytes) -> bool:
    try:
        return PublicKey(data).format() == data
    except ValueError:
        return False
