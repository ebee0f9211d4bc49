"""What a macaroon must allow, and whether the one that is shown does."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Final

from layer2.errors import AuthenticationFailed
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.lnd.rest import LndRest

__all__ = ["BAKE_COMMAND", "PERMISSIONS", "check_permissions"]

_ASK: Final = "/lnrpc.Lightning/CheckMacaroonPermissions"
_NEEDED: Final = {
    "/lnrpc.Lightning/GetInfo": ("info:read",),
    "/lnrpc.Lightning/GetDebugInfo": ("info:read", "offchain:read", "onchain:read", "peers:read"),
    "/lnrpc.Lightning/ListChannels": ("offchain:read",),
    "/lnrpc.Lightning/PendingChannels": ("offchain:read",),
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
    _ASK: ("macaroon:read",),
}
"""Each remote procedure that this client calls, and the wider permissions that lnd takes for it as well."""

PERMISSIONS: Final[tuple[str, ...]] = tuple(f"uri:{method}" for method in _NEEDED)
"""What a macaroon must allow, as ``lncli bakemacaroon`` takes it: these procedures and no others."""

BAKE_COMMAND: Final = f"lncli bakemacaroon --save_to layer2.macaroon {' '.join(PERMISSIONS)}"
"""Makes the macaroon that allows what is needed and nothing else."""


async def check_permissions(rest: LndRest) -> None:
    """Ask the node whether the macaroon allows all that is needed; the question itself has no other effect.

    Raises:
        AuthenticationFailed: with code ``permissions``, what is missing, all at once; with ``macaroon``, it is no
            macaroon of this node.
    """
    if await _needs_none(rest) or await _allows(rest, PERMISSIONS):
        return
    # A macaroon of wider permissions allows no procedure by its name. Each is asked for, so that all are told at once;
    # one that does not let itself be asked about can only be told that.
    if await _allows(rest, _NEEDED[_ASK], _ASK):
        missing = [method for method, wider in _NEEDED.items() if not await _allows(rest, wider, method)]
    else:
        missing = [_ASK]
    if missing:
        raise AuthenticationFailed(
            f"the macaroon does not allow {', '.join(f'uri:{method}' for method in missing)}",
            code="permissions",
            protocol=LIGHTNING,
            remedy=f"bake one that does: {BAKE_COMMAND}",
        )


async def _needs_none(rest: LndRest) -> bool:
    """Whether the node was started without macaroons: older ones break down when they are asked about one then."""
    try:
        await rest.get("/v1/getinfo", with_macaroon=False)
    except AuthenticationFailed:
        return False
    return True


async def _allows(rest: LndRest, permissions: Iterable[str], method: str = "") -> bool:
    pairs = [permission.split(":") for permission in permissions]
    body = {
        "macaroon": b64encode(rest.macaroon()).decode(),
        "permissions": [{"entity": entity, "action": action} for entity, action in pairs],
        "fullMethod": method,
    }
    try:
        await rest.post("/v1/macaroon/checkpermissions", body)
    except AuthenticationFailed as refused:
        # Both the answer no and the refusal to answer: they differ in what was asked about only.
        if refused.code == "permissions":
            return False
        raise
    return True
