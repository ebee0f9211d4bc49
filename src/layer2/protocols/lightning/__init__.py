"""Lightning through the party's own lnd: invoices, payments, and hash-locked legs of swaps."""

from layer2.formats.lnurl import LightningAddress
from layer2.formats.signed_message import verify_message
from layer2.protocols.lightning.client import LightningNetwork
from layer2.protocols.lightning.invoices.feed import InvoiceCursor, InvoiceEvent, InvoiceUpdate
from layer2.protocols.lightning.invoices.holds import Hold, HoldPart
from layer2.protocols.lightning.invoices.records import InvoiceRecord, InvoiceState
from layer2.protocols.lightning.node.permissions import PERMISSIONS
from layer2.protocols.lightning.payments.estimates import RouteEstimate
from layer2.protocols.lightning.payments.feed import PaymentCursor, PaymentUpdate
from layer2.protocols.lightning.payments.records import PaymentRecord, PaymentState
from layer2.protocols.lightning.payments.request import KeysendRequest, PaymentRequest
from layer2.protocols.lightning.recipients.recipient import Lnurl, NodeKey, Recipient, read_recipient
from layer2.protocols.lightning.settings import LightningSettings
from layer2.protocols.lightning.statuses import LightningStatus

__all__ = [
    "PERMISSIONS",
    "Hold",
    "HoldPart",
    "InvoiceCursor",
    "InvoiceEvent",
    "InvoiceRecord",
    "InvoiceState",
    "InvoiceUpdate",
    "KeysendRequest",
    "LightningAddress",
    "LightningNetwork",
    "LightningSettings",
    "LightningStatus",
    "Lnurl",
    "NodeKey",
    "PaymentCursor",
    "PaymentRecord",
    "PaymentRequest",
    "PaymentState",
    "PaymentUpdate",
    "Recipient",
    "RouteEstimate",
    "read_recipient",
    "verify_message",
]
