"""What a macaroon must allow, and whether the one that is shown does."""

from __future__ import annotations

from typing import Final

__all__ = ["BAKE_COMMAND", "PERMISSIONS"]

_NEEDED: Final = {
    "/lnrpc.Lightning/GetInfo": ("info:read",),
    "/lnrpc.Lightning/GetDebugInfo": ("info:read", "offchain:read", "onchain:read", "peers:read"),
    "/lnrpc.Lightning/ListChannels": ("offchain:read",),
    "/lnrpc.Lightning/ClosedChannels": ("offchain:read",),
    "/lnrpc.Lightning/AddInvoice": ("invoices:write",),
    "/lnrpc.Lightning/LookupInvoice": ("invoices:read",),
    "/lnrpc.Lightning/ListInvoices": ("invoices:read",),
    "/lnrpc.Lightning/SubscribeInvoices": ("invoices:read",),
    "/invoicesrpc.Invoices/AddHoldInvoice": ("invoices:write",),
    "/invoicesrpc.Invoices/SettleInvoice": ("invoices:write",),
    "/invoicesrpc.Invoices/CancelInvoice": ("invoices:write",),
    "/invoicesrpc.Invoices/SubscribeSingleInvoice": ("invoices:read",),
    "/routerrpc.Router/SendPaymentV2": ("offchain:write",),
    "/routerrpc.Router/TrackPaymentV2": ("offchain:read",),
    "/routerrpc.Router/TrackPayments": ("offchain:read",),
    "/routerrpc.Router/EstimateRouteFee": ("offchain:read",),
    "/lnrpc.Lightning/ListPayments": ("offchain:read",),
    "/lnrpc.Lightning/SignMessage": ("message:write",),
    "/lnrpc.Lightning/CheckMacaroonPermissions": ("macaroon:read",),
}
"""Each remote procedure that this client calls, and the wider permissions that lnd takes for it as well."""

PERMISSIONS: Final[tuple[str, ...]] = tuple(f"uri:{method}" for method in _NEEDED)
"""What a macaroon must allow, as ``lncli bakemacaroon`` takes it: these procedures and no others."""

BAKE_COMMAND: Final = f"lncli bakemacaroon --save_to layer2.macaroon {' '.join(PERMISSIONS)}"
"""Makes the macaroon that allows what is needed and nothing else."""
