"""Legs that are one output of a Bitcoin transaction, under a hash lock (P2WSH).

The refund branch takes the payer's key and either the deadline or the payee's signature, so that the payee can give
the money back early. No client uses this kind yet. Source: BIP 65, BIP 113 and BIP 141.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Final, Self

from layer2.errors.base import FundsRulesError, InvalidRequest, ProofRefused
from layer2.formats.json_record import Amount, Bytes32, Bytes33, Text8, integer
from layer2.formats.tagged_signature import is_public_key
from layer2.legs.block_times import Span
from layer2.legs.evidence import LegEvidence
from layer2.legs.leg import Leg, LegOffer, LegPlan
from layer2.legs.shown import EvidencePolicy, LegShown, OpenMatter, Owed
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ClockReading, LegView, Release, Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality

__all__ = ["BitcoinLeg", "BitcoinOffer", "htlc_script"]

LOCKTIME_THRESHOLD: Final = 500_000_000
"""BIP 65: a smaller lock time is a height; others are unix times, compared with the median time past (BIP 113)."""
_MTP_LAG_BLOCKS: Final = 6
"""The median of eleven blocks lags by about this many."""
_DUST: Final = 10_000
"""Satoshi; a smaller output is not worth the fees of its claim."""


@dataclass(frozen=True, slots=True)
class BitcoinOffer(LegOffer):
    """A party's key on Bitcoin."""

    kind: ClassVar[str] = "bitcoin"
    protocol: Layer2ProtocolType = field(default=Layer2ProtocolType.BITCOIN, init=False)
    counts_blocks: ClassVar[bool] = True
    pays_strangers: ClassVar[bool] = False

    prefix: Text8
    """BIP 173: ``bc``, ``tb`` or ``bcrt``."""
    key: Bytes33
    """The party's public key for this swap."""
    fee_floor: int
    """Minimum fee rate of the funding, in satoshi per 1,000 virtual bytes."""
    finality: Finality

    @property
    def network_id(self) -> str:
        """The prefix."""
        return self.prefix

    def with_finality(self, finality: Finality) -> Self:
        """The same key with another finality, for a quote."""
        return replace(self, finality=finality)

    def differs_from(self, own: LegOffer) -> str | None:
        """``kind``, ``prefix``, ``fee_floor``, ``key``, or None."""
        if not isinstance(own, BitcoinOffer):
            return "kind"
        if self.prefix != own.prefix:
            return "prefix"
        if self.fee_floor > own.fee_floor:
            # The funding party pays it, outside every limit of the fee.
            return "fee_floor"
        return "key" if self.key == own.key or not is_public_key(self.key) else None

    def check_named(self, plan: LegPlan, rules: TimelockSettings) -> None:
        """Check that the taker names a key that differs from the provider's.

        Raises:
            InvalidRequest: code ``offer_key``.
        """
        if _key(plan.taker) == self.key:
            raise InvalidRequest("payer and payee have the same key", code="offer_key")

    def build(self, plan: LegPlan, rules: TimelockSettings) -> BitcoinLeg:
        """The output that follows from the offer and the plan; raises as ``LegOffer.build``."""
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
            depth=_depth(self.finality, rules),
            fee_floor=self.fee_floor,
            finality=self.finality,
        )

    def deadline_after(self, needed: Span, rules: TimelockSettings) -> Span:
        """Blocks if ``needed`` has blocks, otherwise seconds of the median time past."""
        if needed.blocks:
            return Span(0, needed.in_blocks(rules.bitcoin) + _collect_blocks(rules))
        blocks = rules.claim_blocks + rules.final_depth
        return Span(needed.seconds + rules.mtp_early + rules.bitcoin.latest(blocks))

    def known_after(self, deadline: Span, rules: TimelockSettings) -> Span:
        """The deadline, and the time in which a refund or a late claim becomes final."""
        return deadline + (_known_by_height(rules) if deadline.blocks else _known_by_time(rules))

    def settling(self, rules: TimelockSettings) -> int:
        """Seconds until the output normally has the depth of the terms."""
        return rules.deep_time


@dataclass(frozen=True, slots=True)
class BitcoinLeg(Leg):
    """One output. Each party finds its outpoint on its own node."""

    kind: ClassVar[str] = "bitcoin"
    protocol: Layer2ProtocolType = field(default=Layer2ProtocolType.BITCOIN, init=False)
    lapses: ClassVar[bool] = False
    is_repeatable: ClassVar[bool] = True
    payer_reclaims: ClassVar[bool] = True
    release: ClassVar[Release] = Release.COSIGNED
    anyone_collects: ClassVar[bool] = False
    holds: ClassVar[str] = "locked"

    prefix: Text8
    """BIP 173: ``bc``, ``tb`` or ``bcrt``."""
    amount: Amount
    """Satoshi."""
    payer: Bytes33
    """The key of the refund."""
    payee: Bytes33
    """The key of the claim, and of an early release."""
    payment_hash: Bytes32
    """The script commits to it."""
    locktime: Annotated[int, integer(2**32 - 1)]
    """BIP 65: a height below 500,000,000, otherwise a unix time of the median time past."""
    issued_height: Annotated[int, integer(LOCKTIME_THRESHOLD - 1)]
    """The newest block when the terms were issued; 0 if the deadline is a time."""
    depth: Annotated[int, integer(1000)]
    """Confirmations that the payee waits for before it acts on the output."""
    fee_floor: int
    """Minimum fee rate of the funding, in satoshi per 1,000 virtual bytes."""
    finality: Finality

    @property
    def network_id(self) -> str:
        """The prefix."""
        return self.prefix

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
        """The lock time if it is a time, otherwise None."""
        return None if self.is_by_height else self.locktime

    def clock_at_issue(self, issued_at: int) -> ClockReading:
        """Wall time, and the height at which the terms were issued."""
        return ClockReading(issued_at, self.issued_height)

    def is_past(self, clock: ClockReading) -> bool:
        """Whether a refund could be in the next block."""
        return (clock.height if self.is_by_height else clock.chain_time) >= self.locktime

    def outlasts(self, issued_at: int, needed: Span, rules: TimelockSettings) -> bool:
        """Whether ``needed`` ends before the last safe moment, or height, to begin a claim."""
        return self._lasts(issued_at, self.issued_height, needed, rules)

    def _lasts(self, now: int, height: int, needed: Span, rules: TimelockSettings) -> bool:
        if self.is_by_height:
            return height + needed.in_blocks(rules.bitcoin) + _collect_blocks(rules) <= self.locktime
        return now + needed.latest(rules.bitcoin) <= self._begin_by(rules)

    def _begin_by(self, rules: TimelockSettings) -> int:
        return self.locktime - rules.mtp_early - rules.bitcoin.latest(rules.claim_blocks + rules.final_depth)

    def known(self, now: int, clock: ClockReading, rules: TimelockSettings) -> Span:
        """The rest to the deadline, and the time in which a refund or a late claim becomes final."""
        if self.is_by_height:
            return Span(0, max(0, self.locktime - clock.height)) + _known_by_height(rules)
        return Span(max(0, self.locktime - now)) + _known_by_time(rules)

    def problem(self, view: LegView, needed: Span, now: int, rules: TimelockSettings) -> str | None:
        """That the deadline is too early, or None."""
        # The margin allows for a clock that runs ahead; only a clock that runs further ahead counts here.
        ahead = 0 if self.is_by_height else max(0, view.clock.chain_time - now - rules.mtp_early)
        if self._lasts(now + ahead, view.clock.height, needed, rules):
            return None
        return "the output's deadline is too early to be sure to collect"

    def collect_until(self, view: LegView | None, now: int, rules: TimelockSettings) -> int | None:
        """The last safe moment to begin a claim; for a height, by the fastest blocks from the height of the view."""
        if not self.is_by_height:
            return self._begin_by(rules)
        height = self.issued_height if view is None else view.clock.height
        blocks = self.locktime - height - _collect_blocks(rules)
        return now + rules.bitcoin.earliest(blocks) if blocks >= 0 else now - 1

    def lands_by(self, begun_by: int, rules: TimelockSettings) -> int:
        """When the output normally has the depth of the terms."""
        return begun_by + rules.deep_time

    def check(self, issued_at: int, fund_by: int, rules: TimelockSettings) -> None:
        """Check that the output is worth its claim, and is not locked for too long.

        Raises:
            FundsRulesError: names the rule that does not hold.
        """
        if self.amount < _DUST:
            raise FundsRulesError(f"an output of less than {_DUST} sat is not worth the fees of its claim")
        left = Span(0, self.locktime - self.issued_height) if self.is_by_height else Span(self.locktime - issued_at)
        if left.latest(rules.bitcoin) > rules.max_lock:
            raise FundsRulesError(f"the output would be locked for longer than the maximum of {rules.max_lock} s")

    def check_owed(self, owed: Owed, policy: EvidencePolicy) -> tuple[OpenMatter, ...]:
        """Check amount and payment hash.

        Raises:
            ProofRefused: ``amount`` or ``payment_hash``.
        """
        if self.amount != owed.amount:
            raise ProofRefused("amount", "the output's amount differs from the terms'")
        if self.payment_hash != owed.payment_hash:
            raise ProofRefused("payment_hash", "the output is under another payment hash than the terms")
        return ()

    def check_evidence(self, evidence: LegEvidence, owed: Owed, policy: EvidencePolicy) -> LegShown:
        """Refuse any evidence: this version has no type of evidence for a Bitcoin leg.

        Raises:
            ProofRefused: ``evidence``.
        """
        raise ProofRefused("evidence", f"evidence of the type {evidence.type} does not fit a Bitcoin leg")


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
    if not is_public_key(key):
        raise InvalidRequest("the key is not a compressed public key", code="offer_key")
    return key
