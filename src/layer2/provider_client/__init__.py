"""The client of remote providers."""

from layer2.provider_client.client import ProviderClient
from layer2.provider_client.endpoint import ProviderEndpoint
from layer2.provider_client.info import PairOffer, ProviderInfo

__all__ = ["PairOffer", "ProviderClient", "ProviderEndpoint", "ProviderInfo"]
