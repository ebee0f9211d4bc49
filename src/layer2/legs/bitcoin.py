"""Legs that are one output of a Bitcoin transaction, under a hash lock (P2WSH).

The payee can give the money back early with a signature for the payer. Sources: BIP 65, BIP 113 and BIP 141.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Final, Self

from layer2.contracts.bitcoin_htlc import BitcoinHtlc
from layer2.errors.base import FormatError, FundsRulesError, InvalidRequest, ProofRefused
from layer2.formats import bitcoin_psbt, bitcoin_uri, json_object, segwit_address
from layer2.formats.bitcoin_transaction import LOCKTIME_THRESHOLD, decode_transaction
from layer2.formats.json_record import Amount, Bytes32, Bytes33, Form, Text8, integer
from layer2.formats.tagged_signature import is_public_key
from layer2.legs import bitcoin_evidence
from layer2.legs.block_times import Span
from layer2.legs.evidence import BitcoinSpendEvidence, LegEvidence
from layer2.legs.leg import Leg, LegOffer, LegPlan
from layer2.legs.party_key import KeyScheme, PartyKey
from layer2.legs.shown import EvidencePolicy, LegShown, OpenMatter, Owed
from layer2.legs.timelock_settings import TimelockSettings
from layer2.legs.views import ClockReading, FundingRequest, LegView, Release, Side
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import Finality

__all__ = ["BitcoinKeys", "BitcoinLeg", "BitcoinOffer"]

_MTP_LAG_BLOCKS: Final = 6
"""The median of eleven blocks lags by about this many."""
_DAY_OF_BLOCKS: Final = 144
"""A block that ends the leg may be this far below ``issued_height``, on which the parties' nodes need not agree."""


@dataclass(frozen=True, slots=True)
class BitcoinKeys:
    """A party's two public keys for a swap. They differ, because a descriptor with a repeated key is not sane."""

    key: bytes
    """33 bytes: signs the party's claim or refund."""
    release_key: bytes
    """33 bytes: as payee, signs a release."""

    def write(self) -> str:
        """The keys as a party names them in a request: 132 hex digits."""
        return self.key.hex() + self.release_key.hex()

    @classmethod
    def read(cls, text: str) -> Self:
        """The reverse of ``write``.

        Raises:
            InvalidRequest: code ``offer_key``.
        """
        try:
            data = bytes.fromhex(text)
        except ValueError as error:
            raise InvalidRequest("the keys are not hexadecimal digits", code="offer_key") from error
        keys = cls(data[:33], data[33:])
        if not keys.are_valid:
            raise InvalidRequest("the keys are not two different compressed public keys", code="offer_key")
        return keys

    @property
    def are_valid(self) -> bool:
        """Whether they are two different compressed public keys."""
        return self.key != self.release_key and is_public_key(self.key) and is_public_key(self.release_key)


_ANY_LOCKTIME: Final = json_object.integer(2**31 - 1)


def _locktime(value: object) -> int:
    locktime = _ANY_LOCKTIME(value)
    if locktime == 0:
        raise FormatError("a lock time of zero locks nothing")
    return locktime


@dataclass(frozen=True, slots=True)
class BitcoinOffer(LegOffer):
    """A party's keys on Bitcoin."""

    kind: ClassVar[str] = "bitcoin"
    protocol: Layer2ProtocolType = field(default=Layer2ProtocolType.BITCOIN, init=False)
    counts_blocks: ClassVar[bool] = True
    states_height: ClassVar[bool] = True
    pays_strangers: ClassVar[bool] = False
    smallest: ClassVar[int] = 10_000
    """A smaller output is not worth the fees of its claim."""
    funded_by_others: ClassVar[bool] = True

    prefix: Text8
    """BIP 173: ``bc``, ``tb`` or ``bcrt``."""
    key: Bytes33
    """The party's public key for claims and refunds."""
    release_key: Bytes33
    """As payee, the party's public key for releases."""
    fee_floor: int
    """Minimum fee rate of the funding, in satoshi per 1,000 virtual bytes."""
    finality: Finality

    @property
    def keys(self) -> BitcoinKeys:
        """Both keys."""
        return BitcoinKeys(self.key, self.release_key)

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
        return "key" if self.key == own.key or not self.keys.are_valid else None

    def check_named(self, plan: LegPlan, rules: TimelockSettings) -> None:
        """Check that the taker names valid keys that differ from the provider's.

        Raises:
            InvalidRequest: code ``offer_key``.
        """
        taker = BitcoinKeys.read(plan.taker)
        if {taker.key, taker.release_key} & {self.key, self.release_key}:
            raise InvalidRequest("payer and payee have the same key", code="offer_key")

    def build(self, plan: LegPlan, rules: TimelockSettings) -> BitcoinLeg:
        """The output that follows from the offer and the plan; raises as ``LegOffer.build``."""
        self.check_named(plan, rules)
        taker = BitcoinKeys.read(plan.taker)
        payer, payee = (taker, self.keys) if plan.taker_side is Side.PAYER else (self.keys, taker)
        if plan.by_height:
            lasts = Span(0, plan.needed.in_blocks(rules.bitcoin) + _collect_blocks(rules))
            if plan.taker_side is Side.PAYER:
                lasts += self.slack(lasts, rules)
            locktime = plan.height + lasts.blocks
        else:
            locktime = plan.issued_at + self.deadline_after(plan.needed, rules).seconds
        return BitcoinLeg(
            prefix=self.prefix,
            amount=plan.amount,
            payer=payer.key,
            payee=payee.key,
            payee_release=payee.release_key,
            payment_hash=plan.payment_hash,
            locktime=locktime,
            issued_height=plan.height,
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

    def slack(self, deadline: Span, rules: TimelockSettings) -> Span:
        """Blocks until the funding has the depth of the terms; without them, fast blocks would end most swaps."""
        return Span(0, rules.accept_blocks) if deadline.blocks else Span()

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
    """The key of the claim."""
    payee_release: Bytes33
    """The payee's key of an early release."""
    payment_hash: Bytes32
    """The script commits to it."""
    locktime: Annotated[int, Form(_locktime)]
    """BIP 65: a height below 500,000,000, otherwise a unix time of the median time past. BIP 379: below 2**31."""
    issued_height: Annotated[int, integer(LOCKTIME_THRESHOLD - 1)]
    """The newest block when the terms were issued: its output is searched from there."""
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
    def htlc(self) -> BitcoinHtlc:
        """The output's script."""
        return BitcoinHtlc(
            payment_hash=self.payment_hash,
            payer=self.payer,
            payee=self.payee,
            payee_release=self.payee_release,
            locktime=self.locktime,
        )

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

    def funding_request(self, fund_by: int) -> FundingRequest | None:
        """The address of the output, with the amount."""
        address = segwit_address.encode_script(self.prefix, self.htlc.program)
        return FundingRequest(
            address=address,
            amount=self.amount,
            fund_by=fund_by,
            uri=bitcoin_uri.write(address, self.amount),
            psbt=bitcoin_psbt.payment(self.htlc.program, self.amount, self.htlc.script),
        )

    def lands_by(self, begun_by: int, rules: TimelockSettings) -> int:
        """When the output normally has the depth of the terms."""
        return begun_by + rules.deep_time

    def check(self, issued_at: int, fund_by: int, rules: TimelockSettings) -> None:
        """Check that the output is worth its claim, and is not locked for too long.

        Raises:
            FundsRulesError: names the rule that does not hold.
        """
        least = BitcoinOffer.smallest
        if self.amount < least:
            raise FundsRulesError(f"an output of less than {least} sat is not worth the fees of its claim")
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
        """Check that a spend in a block shows the end of exactly this output.

        Raises:
            ProofRefused: it shows something else, or nothing.
        """
        if not isinstance(evidence, BitcoinSpendEvidence):
            raise ProofRefused("evidence", f"evidence of the type {evidence.type} does not fit a Bitcoin leg")
        shown = bitcoin_evidence.shown_of(
            evidence, self.htlc, self.amount, prefix=self.prefix, least_work=policy.work.get(self.protocol)
        )
        if shown.header is not None and shown.header.number < self.issued_height - _DAY_OF_BLOCKS:
            raise ProofRefused("header", "the block is older than the terms")
        return shown

    def key_of(self, side: Side) -> PartyKey:
        """The key of the party's refund or claim."""
        return PartyKey(KeyScheme.ECDSA, self.payer if side is Side.PAYER else self.payee)

    @property
    def parties(self) -> tuple[str, str]:
        """The two keys of this leg."""
        return self.payer.hex(), self.payee.hex()

    @property
    def asset(self) -> str:
        """``BTC``."""
        return BTC.code

    def money_name(self, evidence: LegEvidence, owed: Owed) -> str:
        """The output that the evidence spends. The terms do not name it: a script can be funded twice."""
        assert isinstance(evidence, BitcoinSpendEvidence), "checked evidence"
        return f"output {decode_transaction(evidence.transaction).inputs[evidence.input].prevout}"


def _collect_blocks(rules: TimelockSettings) -> int:
    return rules.claim_blocks + rules.final_depth + rules.late_tip_blocks


def _known_by_height(rules: TimelockSettings) -> Span:
    return Span(rules.provider_absence, rules.claim_blocks + rules.final_depth)


def _known_by_time(rules: TimelockSettings) -> Span:
    late = rules.provider_absence + rules.mtp_late
    return Span(late, _MTP_LAG_BLOCKS + rules.claim_blocks + rules.final_depth)


def _depth(finality: Finality, rules: TimelockSettings) -> int:
    return {Finality.LATEST: 1, Finality.SAFE: rules.safe_depth, Finality.FINALIZED: rules.final_depth}[finality]
