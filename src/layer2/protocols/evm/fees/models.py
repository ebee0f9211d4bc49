"""The two fee models of EVM chains: prices, replacements, and the kind of transaction. Pure.

``op_stack`` is EIP-1559 with op-geth's pool (``--txpool.pricebump``, 10). ``minimum_gas_price`` is Rootstock: legacy
transactions, a minimum price in each block, and rskj's pool. Sources of the latter: rskj d987a4c,
``TransactionPoolImpl``, ``TxGasPriceCap``, ``BlockGasPriceRange`` and ``reference.conf``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

from layer2.errors import FormatError, FundsRulesError, InvalidRequest, TransactionError
from layer2.formats.evm_transaction import (
    Eip1559Transaction,
    LegacyTransaction,
    SignedTransaction,
    UnsignedTransaction,
    decode_signed,
)
from layer2.protocols.evm.fees.prices import FeeQuote, Market, Offer, Price

__all__ = ["FEE_MODELS", "MINIMUM_GAS_PRICE", "OP_STACK", "FeeModel"]

_CALM_SECONDS: Final = 7_200
"""If the deadline is further away than this, it does not raise the price of an urgent transaction."""
_MOST_HALVINGS: Final = 8


class FeeModel(ABC):
    """The rules of a chain and its nodes for the price of a transaction."""

    bump_percent: ClassVar[int]
    """By how many percent a replacement has to be more expensive."""
    pool_seconds: ClassVar[float | None]
    """How often to check that the node's pool still has what waits in it; None if it drops nothing that has a price."""

    @abstractmethod
    def quote(self, market: Market, *, tip: int, cap: int) -> FeeQuote:
        """Prices for transactions that can wait.

        Args:
            market: what the node states.
            tip: the configured tip, in wei for each gas; a chain with one price has none.
            cap: the highest price, in wei for each gas.

        Raises:
            FundsRulesError: the price exceeds the cap (``fee_cap``).
        """

    @abstractmethod
    def urgent_quote(self, market: Market, *, tip: int) -> FeeQuote:
        """Prices for a claim or a refund, which must not wait."""

    def bumped(self, price: Price) -> Price:
        """The lowest price at which nodes accept a replacement."""
        return Price(*[wei + max(1, -(-wei * self.bump_percent // 100)) for wei in price])

    def is_bump(self, new: Price, old: Price) -> bool:
        """Whether nodes accept the new price as a replacement of the old one."""
        return all(more >= least for more, least in zip(new, self.bumped(old), strict=True))

    def is_left_behind(self, price: Price, base_fee: int) -> bool:
        """Whether ``FeeQuote.base_fee`` is above the offered price, or may be soon."""
        # With Ethereum's parameters a full block raises the base fee by at most an eighth. On Rootstock eleven blocks,
        # one more than a pool keeps a transaction, raise the minimum by less than that.
        return price.max_fee_per_gas < base_fee + base_fee // 8 + 1

    def is_refused(self, price: Price, market: FeeQuote) -> bool:
        """Whether nodes refuse the price today, so that it has no effect to send the transaction again."""
        return False

    @abstractmethod
    def next_price(self, previous: Price, market: FeeQuote, seconds_left: int) -> Price | None:
        """The price at which to replace a pending claim or refund; None if it can stay as it is.

        Args:
            previous: its price now.
            market: prices of an urgent transaction that is signed now.
            seconds_left: seconds until it has to be in a block; may be negative.

        It is replaced if ``is_left_behind``. During the last two hours before its deadline the tip, or the whole price
        on a chain without tips, doubles each time that half of the remaining time is over. The result ignores
        ``max_fee_per_gas_wei`` and the account's balance, which the caller checks. It depends only on the arguments, so
        a restart changes nothing.
        """

    @abstractmethod
    def replacement_price(self, old: Price, market: FeeQuote, offer: Offer, cap: int) -> Price:
        """The price of a replacement: the caller's offer, or else the market's price or a little more than before.

        Args:
            old: the price of the replaced transaction.
            market: prices of a transaction that is signed now.
            offer: the caller's offer.
            cap: the highest price, in wei for each gas.

        Raises:
            FundsRulesError: the lowest price that nodes accept is above the cap (``fee_cap``).
            TransactionError: nodes would not accept so small an increase (``bump_too_small``).
            InvalidRequest: the offer has two prices on a chain with one.
        """

    @abstractmethod
    def unsigned(
        self, *, chain_id: int, nonce: int, gas_limit: int, to: bytes | None, value: int, data: bytes, price: Price
    ) -> UnsignedTransaction:
        """The transaction to sign.

        Raises:
            FormatError: a value is out of range.
        """

    @abstractmethod
    def decode(self, raw: bytes) -> SignedTransaction:
        """Read a signed transaction of the kind that this chain accepts.

        Raises:
            FormatError: it is of another kind, or malformed.
        """


class _OpStack(FeeModel):
    """EIP-1559: twice the base fee and a tip."""

    bump_percent = 10
    pool_seconds = None

    def quote(self, market: Market, *, tip: int, cap: int) -> FeeQuote:
        base_fee = market.base_fee
        _check_cap(base_fee + tip, cap)
        return FeeQuote(min(2 * base_fee + tip, cap), tip, market.l1, base_fee)

    def urgent_quote(self, market: Market, *, tip: int) -> FeeQuote:
        return FeeQuote(4 * market.base_fee + 2 * tip, 2 * tip, market.l1, market.base_fee)

    def next_price(self, previous: Price, market: FeeQuote, seconds_left: int) -> Price | None:
        tip = market.max_priority_fee_per_gas << _halvings(seconds_left)
        lowest = self.bumped(previous)
        if not self.is_left_behind(previous, market.base_fee) and tip < lowest.max_priority_fee_per_gas:
            return None
        tip = max(tip, lowest.max_priority_fee_per_gas)
        return Price(max(market.max_fee_per_gas - market.max_priority_fee_per_gas + tip, lowest.max_fee_per_gas), tip)

    def replacement_price(self, old: Price, market: FeeQuote, offer: Offer, cap: int) -> Price:
        lowest = self.bumped(old)
        eighth = _eighth(old, lowest)
        tip, fee = offer.max_priority_fee_per_gas, offer.max_fee_per_gas
        if tip is None:
            tip = max(eighth.max_priority_fee_per_gas, market.max_priority_fee_per_gas)
            # Nodes accept less than an eighth. That is offered if the limit allows no more.
            tip = max(min(tip, cap if fee is None else fee), lowest.max_priority_fee_per_gas)
        if fee is None:
            market_fee = market.max_fee_per_gas - market.max_priority_fee_per_gas + tip
            fee = max(eighth.max_fee_per_gas, market.max_fee_per_gas, market_fee)
            fee = max(min(fee, cap), lowest.max_fee_per_gas, tip)
        price = Price(fee, tip)
        _check_replacement_cap(fee, cap)
        if tip > fee or not self.is_bump(price, old):
            raise TransactionError(
                f"nodes accept a replacement at {lowest.max_fee_per_gas} wei for each gas with a tip of "
                f"{lowest.max_priority_fee_per_gas} or more, not at {fee} with a tip of {tip}",
                code="bump_too_small",
            )
        return price

    def unsigned(
        self, *, chain_id: int, nonce: int, gas_limit: int, to: bytes | None, value: int, data: bytes, price: Price
    ) -> Eip1559Transaction:
        return Eip1559Transaction(
            chain_id=chain_id,
            nonce=nonce,
            max_priority_fee_per_gas=price.max_priority_fee_per_gas,
            max_fee_per_gas=price.max_fee_per_gas,
            gas_limit=gas_limit,
            to=to,
            value=value,
            data=data,
        )

    def decode(self, raw: bytes) -> SignedTransaction:
        signed = decode_signed(raw)
        if not isinstance(signed.transaction, Eip1559Transaction):
            raise FormatError("EVM transaction: transaction type 0 (legacy) is not supported on this chain")
        return signed


class _MinimumGasPrice(FeeModel):
    """Rootstock: one price, at least the block's minimum. All of it is paid."""

    bump_percent = 40
    pool_seconds = 60.0
    """A pool drops what waits for 10 blocks or 650 seconds."""

    _most_times: Final = 76
    """A pool refuses 80 times the minimum. The rest is for a minimum that falls by 1 % in each of five blocks."""

    _reserve_factor: Final = 2

    def quote(self, market: Market, *, tip: int, cap: int) -> FeeQuote:
        now, highest = self._now(market)
        _check_cap(now, cap)
        price = min(max(now, 2 * market.base_fee), cap)
        return FeeQuote(price, price, market.l1, now, highest, self._reserve_factor)

    def urgent_quote(self, market: Market, *, tip: int) -> FeeQuote:
        now, highest = self._now(market)
        # Not four times, as with EIP-1559, because all of it is paid.
        price = _at_most(max(now + now // 2, 2 * market.base_fee), highest)
        return FeeQuote(price, price, market.l1, now, highest, self._reserve_factor)

    def is_refused(self, price: Price, market: FeeQuote) -> bool:
        return market.highest is not None and price.max_fee_per_gas * self._most_times < market.highest

    def next_price(self, previous: Price, market: FeeQuote, seconds_left: int) -> Price | None:
        wanted = _at_most(market.max_fee_per_gas << _halvings(seconds_left), market.highest)
        lowest = self.bumped(previous).max_fee_per_gas
        if wanted < lowest and not self.is_left_behind(previous, market.base_fee):
            return None
        if _at_most(lowest, market.highest) < lowest:
            return None
        wei = max(wanted, lowest)
        return Price(wei, wei)

    def replacement_price(self, old: Price, market: FeeQuote, offer: Offer, cap: int) -> Price:
        lowest = self.bumped(old).max_fee_per_gas
        wei = self._offered(offer)
        if wei is None:
            wei = max(_at_most(min(market.max_fee_per_gas, cap), market.highest), lowest)
        _check_replacement_cap(wei, cap)
        if wei < lowest or _at_most(wei, market.highest) < wei:
            limit = "" if market.highest is None else f" and {market.highest} or less"
            raise TransactionError(
                f"nodes accept a replacement at {lowest} wei for each gas or more{limit}, not at {wei}",
                code="bump_too_small",
            )
        return Price(wei, wei)

    def unsigned(
        self, *, chain_id: int, nonce: int, gas_limit: int, to: bytes | None, value: int, data: bytes, price: Price
    ) -> LegacyTransaction:
        return LegacyTransaction(chain_id, nonce, price.max_fee_per_gas, gas_limit, to, value, data)

    def decode(self, raw: bytes) -> SignedTransaction:
        signed = decode_signed(raw)
        if not isinstance(signed.transaction, LegacyTransaction):
            raise FormatError("EVM transaction: this chain accepts only legacy transactions, not type 2")
        return signed

    def _now(self, market: Market) -> tuple[int, int | None]:
        """The market's price, and the highest price that nodes accept. They do not limit multiples of zero.

        The minimum does not rise because blocks are full, but the node's proposal does.
        """
        highest = market.base_fee * self._most_times if market.base_fee else None
        return max(_at_most(market.gas_price, highest), market.base_fee), highest

    @staticmethod
    def _offered(offer: Offer) -> int | None:
        fee, tip = offer.max_fee_per_gas, offer.max_priority_fee_per_gas
        if tip is not None and tip != fee:
            raise InvalidRequest("this chain has one price for gas: state it as max_fee_per_gas, without a tip")
        return fee


OP_STACK: Final[FeeModel] = _OpStack()
MINIMUM_GAS_PRICE: Final[FeeModel] = _MinimumGasPrice()
FEE_MODELS: Final[Mapping[str, FeeModel]] = {"op_stack": OP_STACK, "minimum_gas_price": MINIMUM_GAS_PRICE}
"""By ``LayerFacts.fee_model``."""


def _halvings(seconds_left: int) -> int:
    """How often half of the last two hours before a deadline is over."""
    halvings = 0
    while halvings < _MOST_HALVINGS and seconds_left < _CALM_SECONDS >> halvings:
        halvings += 1
    return halvings


def _eighth(old: Price, lowest: Price) -> Price:
    return Price(*[max(wei + -(-wei // 8), least) for wei, least in zip(old, lowest, strict=True)])


def _at_most(wei: int, highest: int | None) -> int:
    return wei if highest is None else min(wei, highest)


def _check_cap(wei: int, cap: int) -> None:
    if wei > cap:
        raise FundsRulesError(
            f"gas costs {wei} wei now, more than max_fee_per_gas_wei, which is {cap}",
            code="fee_cap",
            retryable=True,
            remedy="wait, or raise max_fee_per_gas_wei",
        )


def _check_replacement_cap(wei: int, cap: int) -> None:
    if wei > cap:
        raise FundsRulesError(
            f"a replacement costs {wei} wei for each gas, more than max_fee_per_gas_wei, which is {cap}",
            code="fee_cap",
            remedy="wait, or raise max_fee_per_gas_wei",
        )
