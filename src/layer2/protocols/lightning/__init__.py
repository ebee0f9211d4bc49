"""Lightning through the party's own lnd: invoices, payments, and hash-locked legs."""

from layer2.protocols.lightning.client import LightningNetwork
from layer2.protocols.lightning.payments.estimates import RouteEstimate
from layer2.protocols.lightning.payments.request import KeysendRequest, PaymentRequest
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["KeysendRequest", "LightningNetwork", "LightningSettings", "PaymentRequest", "RouteEstimate"]
