"""Requests to providers: what they offer, and signed quotes, which are checked."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from layer2.aio.time_limit import time_limit
from layer2.errors import (
    ConfigurationError,
    Layer2Error,
    NodeUnreachable,
    Outcome,
    QuoteRefused,
)
from layer2.legs.timelock_settings import TimelockSettings
from layer2.manager.arguments import not_configured
from layer2.model.layers import Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.ports.clock import Clock
from layer2.ports.legs import HtlcLayer
from layer2.provider_client import PairOffer, ProviderClient
from layer2.swap_rules.quotes import TakerOffers, check_quote, check_recipient, check_request, default_max_fee
from layer2.terms.transfers import Quote, TransferRequest

__all__ = ["Quoter", "asked_pause"]

R = TypeVar("R")

LOG: Final = logging.getLogger("layer2.manager")

_LONGEST_ANSWER_SECONDS: Final = 10
"""The limit for a quote or a list of pairs; a third of the default timeout of a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoter:
    """Quotes of all configured providers."""

    legs: Mapping[Layer2ProtocolType, HtlcLayer]
    """This party's part in swaps on each configured layer."""
    providers: Mapping[str, ProviderClient]
    """By name."""
    rules: TimelockSettings
    clock: Clock
    least_finality: Finality
    """A quote is refused if its destination can be collected at a lower finality."""

    def provider(self, name: str) -> ProviderClient:
        """The provider with this name.

        Raises:
            ConfigurationError: the configuration has none.
        """
        provider = self.providers.get(name)
        if provider is None:
            raise ConfigurationError(
                f"the configuration has no provider {name!r}",
                code="no_provider",
                remedy="add its [[providers]] table",
            )
        return provider

    async def quote(self, request: TransferRequest) -> Quote:
        """The cheapest quote, checked.

        Raises:
            InvalidRequest, QuoteRefused, ConfigurationError: as ``quote_transfer_async``.
        """
        own = await self._offers(request)
        check_request(request, own, self.rules)
        amount = request.amount if request.amount is not None else request.send_amount
        assert amount is not None
        if request.recipient is not None and request.amount is not None:
            offer = own.layers[request.destination].of_anyone()
            check_recipient(request.recipient, offer, amount, self._now(), self.rules)
        network_cost = await self._network_cost(request, amount)
        max_fee = default_max_fee(amount, network_cost) if request.max_fee is None else request.max_fee
        quotes = await self._asked(
            lambda provider: self._quote_of(provider, request, own, max_fee, network_cost), "offers this"
        )
        return min(quotes, key=lambda quote: quote.fee)

    async def check(self, quote: Quote) -> None:
        """Check a quote again before it is started.

        Raises:
            QuoteExpired, QuoteRefused, TermsRefused, ConfigurationError: it cannot be started.
        """
        key = self.provider(quote.provider_name).endpoint.identity_key
        own = await self._offers(quote.request)
        check_quote(quote.offer, quote.request, key, own, self._now(), self.rules, max_fee=quote.max_fee)

    async def pairs(self) -> tuple[PairOffer, ...]:
        """The pairs of all providers that answer.

        Raises:
            QuoteRefused, ConfigurationError: no provider answers, or none is configured.
        """
        offered = await self._asked(self._pairs_of, "answers")
        return tuple(pair for pairs in offered for pair in pairs)

    def _now(self) -> int:
        return int(self.clock.now())

    async def _offers(self, request: TransferRequest) -> TakerOffers:
        layers = dict.fromkeys((request.source, request.destination))
        for layer in layers:
            if layer not in self.legs:
                raise not_configured(layer)
        offers = await asyncio.gather(*(self.legs[layer].leg_offer() for layer in layers))
        return TakerOffers(dict(zip(layers, offers, strict=True)), self.least_finality)

    async def _network_cost(self, request: TransferRequest, amount: int) -> int | None:
        """The estimate of both layers' networks, in satoshi; None if one has none, or cannot be read."""
        costs = await asyncio.gather(
            *(self.legs[layer].network_cost(amount) for layer in (request.source, request.destination)),
            # Without a limit of the caller the estimate is needed.
            return_exceptions=request.max_fee is not None,
        )
        for cost in costs:
            if isinstance(cost, BaseException) and not isinstance(cost, Layer2Error):
                raise cost
        known = [cost for cost in costs if isinstance(cost, int)]
        return sum(known) if len(known) == len(costs) else None

    async def _quote_of(
        self,
        provider: ProviderClient,
        request: TransferRequest,
        own: TakerOffers,
        max_fee: int,
        network_cost: int | None,
    ) -> Quote:
        signed = await provider.quote(request)
        key = provider.endpoint.identity_key
        check_quote(signed, request, key, own, self._now(), self.rules, max_fee=max_fee)
        return Quote(request, signed, provider.endpoint.name, max_fee, network_cost)

    async def _pairs_of(self, provider: ProviderClient) -> tuple[PairOffer, ...]:
        info = await provider.info()
        if info.network != self.rules.network:
            raise ConfigurationError(
                f"provider {provider.endpoint.name!r} serves {info.network}, and the configuration is for "
                f"{self.rules.network}",
                code="provider_network",
                remedy="remove it from [[providers]]",
            )
        return info.pairs

    async def _asked(self, ask: Callable[[ProviderClient], Awaitable[R]], what: str) -> list[R]:
        """The answers of all providers that did not refuse.

        Raises:
            ConfigurationError: no provider is configured.
            Layer2Error: the refusal of the only provider.
            QuoteRefused: several providers refused; lists each refusal.
        """
        if not self.providers:
            raise ConfigurationError(
                "the configuration has no provider", code="no_provider", remedy="add a [[providers]] table"
            )
        results = await asyncio.gather(
            *(_answer(ask, provider) for provider in self.providers.values()), return_exceptions=True
        )
        answers: list[R] = []
        refusals: dict[str, Layer2Error] = {}
        for name, result in zip(self.providers, results, strict=True):
            if isinstance(result, Layer2Error):
                LOG.warning("provider %s is omitted: %s", name, result)
                refusals[name] = result
            elif isinstance(result, BaseException):
                raise result
            else:
                answers.append(result)
        if answers:
            return answers
        if len(refusals) == 1:
            raise next(iter(refusals.values()))
        listed = "; ".join(f"{name}: {error}" for name, error in refusals.items())
        retryable = any(error.retryable for error in refusals.values())
        refused = QuoteRefused(f"no provider {what}: {listed}", retryable=retryable)
        refused.retry_after = min((each.retry_after for each in refusals.values() if each.retry_after), default=None)
        raise refused


async def _answer(ask: Callable[[ProviderClient], Awaitable[R]], provider: ProviderClient) -> R:
    """A provider's answer. A provider that does not answer must not use up the time of the call."""
    late = NodeUnreachable(
        f"provider {provider.endpoint.name!r} did not answer within {_LONGEST_ANSWER_SECONDS} s",
        outcome=Outcome.NOT_SENT,
    )
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + _LONGEST_ANSWER_SECONDS
    async with time_limit(asyncio.timeout_at(ends_at), lambda: late):
        while True:
            try:
                return await ask(provider)
            except QuoteRefused as error:
                pause = asked_pause(error)
                if error.code != "busy" or loop.time() + pause >= ends_at:
                    raise
            await asyncio.sleep(pause)


def asked_pause(error: BaseException | None) -> float:
    """The pause in seconds before the next try that a provider has asked for; 0 if it has asked for none."""
    if not isinstance(error, Layer2Error) or error.retry_after is None:
        return 0.0
    # The header has whole seconds. Takers that were refused together should not return together.
    return error.retry_after + random.random()  # noqa: S311 - no secret
