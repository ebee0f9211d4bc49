"""The taker's view of remote providers: where they are, what they offer, and how to ask them."""

from layer2.provider_client.client import ProviderClient
from layer2.provider_client.endpoint import ProviderEndpoint
from layer2.provider_client.info import PairOffer, ProviderInfo

__all__ = ["PairOffer", "ProviderClient", "ProviderEndpoint", "ProviderInfo"]
