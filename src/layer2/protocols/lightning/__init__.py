"""Lightning through the party's own lnd: invoices, payments, and hash-locked legs."""

from layer2.protocols.lightning.client import LightningNetwork
from layer2.protocols.lightning.payments.request import PaymentRequest
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["LightningNetwork", "LightningSettings", "PaymentRequest"]
