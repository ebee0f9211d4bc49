"""The permissions that the macaroon needs, and a check of them."""

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
"""Each remote procedure that this client calls, with the wider permissions that also allow it."""

PERMISSIONS: Final[tuple[str, ...]] = tuple(f"uri:{method}" for method in _NEEDED)
"""The permissions that the macaroon needs, in the form of ``lncli bakemacaroon``: one for each procedure."""

BAKE_COMMAND: Final = f"lncli bakemacaroon --save_to layer2.macaroon {' '.join(PERMISSIONS)}"
"""The command that makes a macaroon with exactly these permissions."""


async def check_permissions(rest: LndRest) -> None:
    """Ask the node whether the macaroon has all permissions. The check has no other effect.

    Raises:
        AuthenticationFailed: code ``permissions``, with all that are missing; code ``macaroon`` if it is not a macaroon
            of this node.
    """
    if await _needs_none(rest) or await _allows(rest, PERMISSIONS):
        return
    # A macaroon with wider permissions does not have those by procedure. Each procedure is checked, so that the error
    # names all that are missing. If the macaroon does not allow the check itself, only that is known to be missing.
    if await _allows(rest, _NEEDED[_ASK], _ASK):
        missing = [method for method, wider in _NEEDED.items() if not await _allows(rest, wider, method)]
    else:
        missing = [_ASK]
    if missing:
        raise AuthenticationFailed(
            f"the macaroon does not allow {', '.join(f'uri:{method}' for method in missing)}",
            code="permissions",
            protocol=LIGHTNING,
            remedy=f"bake one with these permissions: {BAKE_COMMAND}",
        )


async def _needs_none(rest: LndRest) -> bool:
    """Whether the node runs without macaroons. If so, an older lnd would crash in the check."""
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
        # lnd uses the same error for "not allowed" and for "this macaroon must not make this check".
        if refused.code == "permissions":
            return False
        raise
    return True
