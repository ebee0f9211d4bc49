"""Legs that are locks in the HTLC contract of an EVM layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final, Self, TypeAlias

from layer2.contracts.htlc import HTLC_ADDRESS, HtlcLock
from layer2.errors.base import FormatError, FundsRulesError, InvalidAmount, InvalidRequest, ProofRefused
from layer2.formats.evm_address import parse_address, to_checksum
from layer2.formats.json_record import Amount, Bytes20, enumeration, integer
from layer2.legs import lock_evidence
from layer2.legs.block_times import Span
from layer2.legs.evidence import EvmEvidence, LegEvidence, RootstockReceiptEvidence
from layer2.legs.leg import Leg, LegOffer, LegPlan
from layer2.legs.party_key import KeyScheme, PartyKey
from layer2.legs.shown import EvidencePolicy, LegShown, OpenMatter, OpenPoint, Owed
from layer2.legs.timelock_settings import TimelockSettings, finality_seconds
from layer2.legs.views import ClockReading, LegView, Release, Side
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC, rescaled
from layer2.model.transactions import Finality

__all__ = ["NO_ADDRESS", "EvmLeg", "EvmOffer"]

NO_ADDRESS: Final = bytes(20)
_Layer: TypeAlias = Annotated[Layer2ProtocolType, enumeration(Layer2ProtocolType).named("layer")]
_Decimals: TypeAlias = Annotated[int, integer(36)]


@dataclass(frozen=True, slots=True)
class EvmOffer(LegOffer):
    """A party's account on an EVM layer, and the token that represents bitcoin there."""

    kind: ClassVar[str] = "evm"
    counts_blocks: ClassVar[bool] = False
    pays_strangers: ClassVar[bool] = False

    protocol: _Layer
    chain_id: int
    contract: Bytes20
    """The HTLC contract."""
    token: Bytes20
    token_decimals: _Decimals
    account: Bytes20
    """Payee of a source lock, payer of a destination lock."""
    finality: Finality

    @property
    def network_id(self) -> str:
        """The chain id as a decimal string."""
        return str(self.chain_id)

    def with_finality(self, finality: Finality) -> Self:
        """The same account with another finality, for a quote.

        On a public network whose blocks are mined it is at least ``SAFE``: miners often find two blocks of one height,
        and a payer can give each miner another transaction with the same nonce. See docs/design/rootstock.md.
        """
        facts = LAYERS[self.protocol]
        is_mined = facts.depths is not None and self.network_id not in facts.network_ids["regtest"]
        return replace(self, finality=Finality.SAFE if is_mined and finality is Finality.LATEST else finality)

    def differs_from(self, own: LegOffer) -> str | None:
        """``kind``, the first differing field, ``account`` if both parties have the same one, or None."""
        if not isinstance(own, EvmOffer):
            return "kind"
        for name in ("protocol", "chain_id", "contract", "token", "token_decimals"):
            if getattr(self, name) != getattr(own, name):
                return name
        return "account" if self.account in (NO_ADDRESS, own.account) else None

    def check_named(self, plan: LegPlan, rules: TimelockSettings) -> None:
        """Check that the taker names an account that differs from the provider's.

        Raises:
            InvalidRequest: code ``offer_address``.
        """
        if _account(plan.taker, self.chain_id) == self.account:
            raise InvalidRequest("payer and payee of a lock are the same account", code="offer_address")

    def build(self, plan: LegPlan, rules: TimelockSettings) -> EvmLeg:
        """The lock that follows from the offer and the plan; raises as ``LegOffer.build``."""
        self.check_named(plan, rules)
        lasts, taker = self.deadline_after(plan.needed, rules).seconds, _account(plan.taker, self.chain_id)
        taker_pays = plan.taker_side is Side.PAYER
        return EvmLeg(
            protocol=self.protocol,
            chain_id=self.chain_id,
            contract=self.contract,
            token=self.token,
            token_decimals=self.token_decimals,
            amount=rescaled(plan.amount, BTC.decimals, self.token_decimals),
            payer=taker if taker_pays else self.account,
            payee=self.account if taker_pays else taker,
            deadline=plan.issued_at + lasts,
            finality=self.finality,
        )

    def deadline_after(self, needed: Span, rules: TimelockSettings) -> Span:
        """Seconds: the chain's clock counts no Bitcoin blocks."""
        return Span(needed.latest(rules.bitcoin) + _collect_margin(self.protocol, rules))

    def known_after(self, deadline: Span, rules: TimelockSettings) -> Span:
        """The deadline, and the time in which a refund or a late claim becomes final."""
        return deadline + Span(_known_margin(self.protocol, rules))

    def settling(self, rules: TimelockSettings) -> int:
        """Seconds until the lock is in a block, and that block has the finality of this offer."""
        margins = rules.margins(self.protocol)
        return margins.landing_time + finality_seconds(self.finality, margins)


@dataclass(frozen=True, slots=True)
class EvmLeg(Leg):
    """One lock. Its ``lock_id`` commits to every field except the finality."""

    kind: ClassVar[str] = "evm"
    lapses: ClassVar[bool] = True
    is_repeatable: ClassVar[bool] = True
    payer_reclaims: ClassVar[bool] = True
    release: ClassVar[Release] = Release.ALONE
    anyone_collects: ClassVar[bool] = True
    holds: ClassVar[str] = "locked"

    protocol: _Layer
    chain_id: int
    contract: Bytes20
    token: Bytes20
    """All zero for the native coin."""
    token_decimals: _Decimals
    """The decimals of ``amount``, so that a verifier can compare it with satoshi."""
    amount: Amount
    """In the token's smallest unit."""
    payer: Bytes20
    """The account that locks, and receives a refund."""
    payee: Bytes20
    """The account that a claim pays, and the only one that may refund before the deadline."""
    deadline: int
    """Unix seconds on the chain's clock, from which anyone may refund."""
    finality: Finality

    @property
    def network_id(self) -> str:
        """The chain id as a decimal string."""
        return str(self.chain_id)

    @property
    def refundable_from(self) -> int | None:
        """The deadline."""
        return self.deadline

    def lock(self, payment_hash: bytes, terms_hash: bytes) -> HtlcLock:
        """The lock that the terms describe.

        Args:
            payment_hash, terms_hash: 32 bytes each.

        Raises:
            FormatError: a field does not fit its place in the contract's call.
        """
        return HtlcLock(
            chain_id=self.chain_id,
            contract=self.contract,
            payment_hash=payment_hash,
            token=self.token,
            amount=self.amount,
            payee=self.payee,
            payer=self.payer,
            deadline=self.deadline,
            terms_hash=terms_hash,
        )

    def clock_at_issue(self, issued_at: int) -> ClockReading:
        """The chain's clock equals wall time."""
        return ClockReading(issued_at, 0)

    def is_past(self, clock: ClockReading) -> bool:
        """Whether the newest block is at or after the deadline."""
        return clock.chain_time >= self.deadline

    def outlasts(self, issued_at: int, needed: Span, rules: TimelockSettings) -> bool:
        """Whether ``needed`` ends before the last safe moment to begin a claim."""
        return issued_at + needed.latest(rules.bitcoin) <= self._begin_by(rules)

    def known(self, now: int, clock: ClockReading, rules: TimelockSettings) -> Span:
        """The rest of the time to the deadline, and the time in which a refund or a late claim becomes final."""
        return Span(max(0, self.deadline - now) + _known_margin(self.protocol, rules))

    def problem(self, view: LegView, needed: Span, now: int, rules: TimelockSettings) -> str | None:
        """That the deadline is too early, or None."""
        # The margin allows for a clock that runs ahead; only one that runs further than that counts here.
        ahead = max(0, view.clock.chain_time - now - rules.margins(self.protocol).clock_early)
        late = now + ahead + needed.latest(rules.bitcoin) - self._begin_by(rules)
        return f"the lock's deadline is {late} s too early to be sure to collect" if late > 0 else None

    def collect_until(self, view: LegView | None, now: int, rules: TimelockSettings) -> int | None:
        """The last safe moment to begin a claim; it does not depend on the view."""
        return self._begin_by(rules)

    def _begin_by(self, rules: TimelockSettings) -> int:
        return self.deadline - _collect_margin(self.protocol, rules)

    def lands_by(self, begun_by: int, rules: TimelockSettings) -> int:
        """When the lock is normally in a block."""
        return begun_by + rules.margins(self.protocol).landing_time

    def settled_by(self, begun_by: int, rules: TimelockSettings) -> int:
        """When the lock's block normally has the finality of the terms."""
        return self.lands_by(begun_by, rules) + finality_seconds(self.finality, rules.margins(self.protocol))

    def surely_over(self, now: int, clock: ClockReading, rules: TimelockSettings) -> int:
        """The deadline, and the time in which the refund becomes final."""
        margins = rules.margins(self.protocol)
        return self.deadline + margins.inclusion + margins.final_time

    def check(self, issued_at: int, fund_by: int, rules: TimelockSettings) -> None:
        """Check that the lock does not last too long.

        Raises:
            FundsRulesError: it does.
        """
        if self.deadline > issued_at + rules.max_lock:
            raise FundsRulesError(f"the lock would last longer than the maximum of {rules.max_lock} s")

    def check_owed(self, owed: Owed, policy: EvidencePolicy) -> tuple[OpenMatter, ...]:
        """Check that the lock holds what the terms owe, in a token and a contract that the policy accepts.

        Returns:
            ``ASSET``, if it is a token and the policy lists none.

        Raises:
            ProofRefused: ``amount``, ``token`` or ``contract``.
        """
        try:
            expected = rescaled(owed.amount, BTC.decimals, self.token_decimals)
        except InvalidAmount as error:
            raise ProofRefused("amount", error.message) from error
        if self.amount != expected:
            raise ProofRefused("amount", "the lock's amount differs from the terms'")
        if self.contract != HTLC_ADDRESS and self.contract not in policy.contracts.get(self.chain_id, frozenset()):
            raise ProofRefused(
                "contract",
                f"the address {self.contract.hex()} does not commit to the contract's code, and the policy does not "
                "list it",
            )
        if self.is_native_bitcoin:
            facts = LAYERS[self.protocol]
            if self.token_decimals != facts.native_decimals:
                raise ProofRefused("token", f"the coin has {facts.native_decimals} decimals")
            return ()
        if policy.tokens is None:
            text = (
                f"that the token is the bitcoin that you mean, and that 0x{self.token.hex()} has "
                f"{self.token_decimals} decimals: compare it with a list of {self.protocol.value}'s tokens that you "
                "trust"
            )
            return (OpenMatter(OpenPoint.ASSET, text),)
        decimals = policy.tokens.get(self.chain_id, {}).get(self.token)
        if self.token_decimals != decimals:
            text = f"the token has {decimals} decimals, the terms state {self.token_decimals}"
            if decimals is None:
                text = f"the policy does not list the token {self.token.hex()}"
            raise ProofRefused("token", text)
        return ()

    def check_evidence(self, evidence: LegEvidence, owed: Owed, policy: EvidencePolicy) -> LegShown:
        """Check that a receipt or the contract's storage shows the end of exactly this lock.

        Raises:
            ProofRefused: it shows something else, or nothing.
        """
        if not isinstance(evidence, EvmEvidence):
            raise ProofRefused("evidence", f"evidence of the type {evidence.type} does not fit an EVM leg")
        if evidence.protocol is not self.protocol:
            raise ProofRefused(
                "layer", f"the evidence is of {evidence.protocol.value}, the leg of {self.protocol.value}"
            )
        try:
            lock = self.lock(owed.payment_hash, owed.terms_hash)
            if not isinstance(evidence, RootstockReceiptEvidence) and not self._may_be_ethereum:
                raise ProofRefused("evidence", f"{self.protocol.value} has other headers and tries than Ethereum")
            return lock_evidence.shown_of(evidence, lock, least_work=policy.work.get(self.protocol))
        except FormatError as error:
            raise ProofRefused("lock", error.message) from error

    @property
    def contracts(self) -> Mapping[int, frozenset[bytes]]:
        """The contract of the lock."""
        return {self.chain_id: frozenset({self.contract})}

    def key_of(self, side: Side) -> PartyKey:
        """The party's account."""
        return PartyKey(KeyScheme.EIP191, self.payer if side is Side.PAYER else self.payee)

    @property
    def parties(self) -> tuple[str, str]:
        """The two accounts."""
        return to_checksum(self.payer, self.chain_id), to_checksum(self.payee, self.chain_id)

    @property
    def asset(self) -> str:
        """The token's address, or the coin."""
        if self.token == NO_ADDRESS:
            return LAYERS[self.protocol].native_asset
        return to_checksum(self.token, self.chain_id)

    def money_name(self, evidence: LegEvidence, owed: Owed) -> str:
        """The ``lock_id``, which commits to the chain and to the terms, and not to their signature."""
        return f"lock_id 0x{self.lock(owed.payment_hash, owed.terms_hash).lock_id.hex()}"

    @property
    def is_native_bitcoin(self) -> bool:
        """Whether it moves the chain's own coin, and that is bitcoin: no verifier has to declare it."""
        return self.token == NO_ADDRESS and LAYERS[self.protocol].coin_is_bitcoin

    @property
    def _is_rootstock(self) -> bool:
        facts = LAYERS.get(self.protocol)
        return facts is not None and facts.receipts == "rootstock"

    @property
    def _may_be_ethereum(self) -> bool:
        """Whether its headers and receipts may be Ethereum's, as on a local network with another node."""
        return not self._is_rootstock or self.network_id in LAYERS[self.protocol].network_ids["regtest"]


def _collect_margin(layer: Layer2ProtocolType, rules: TimelockSettings) -> int:
    """From the start of a claim to the deadline: the clock may run ahead, the claim may be censored, and it has to be
    final, because a reorganisation past the deadline would let a refund come first."""
    margins = rules.margins(layer)
    return margins.clock_early + margins.inclusion + margins.final_time


def _known_margin(layer: Layer2ProtocolType, rules: TimelockSettings) -> int:
    """From the deadline until the payer's refund, or the payee's late claim, is final."""
    margins = rules.margins(layer)
    return rules.provider_absence + margins.inclusion + margins.final_time


def _account(text: str, chain_id: int) -> bytes:
    """The account, 20 bytes, that a party names.

    Raises:
        InvalidRequest: code ``offer_address``.
    """
    try:
        account = parse_address(text, chain_id)
    except FormatError as error:
        raise InvalidRequest(f"the account cannot be read: {error.message}", code="offer_address") from error
    if account == NO_ADDRESS:
        raise InvalidRequest("the account is the zero address", code="offer_address")
    return account
