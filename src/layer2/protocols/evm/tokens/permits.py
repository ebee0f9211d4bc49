"""Signing permits: approvals that the spender submits, so that the owner needs no gas.

The token's domain is computed here, for this token and this chain, and must equal the one that the token states.
Otherwise a token could state the domain of another token, and the signature would be valid there.
Sources: EIP-2612, EIP-712.
"""

from __future__ import annotations

import asyncio

from layer2.contracts.erc20 import (
    decode_string,
    decode_uint256,
    domain_separator_call,
    name_call,
    nonces_call,
    version_call,
)
from layer2.errors import BadAnswer, FormatError, InvalidRequest, NodeRefused, TransactionError
from layer2.formats.eip2612 import Permit, SignedPermit, domain_separator
from layer2.model.transactions import Finality
from layer2.ports.signing import EvmSigner
from layer2.protocols.evm.rpc.node import EvmNode

__all__ = ["Permits"]

_USUAL_VERSION = "1"


class Permits:
    """Signs permits of one key for one token.

    Args:
        node: the party's own node.
        signer: the owner's key.
        token: 20 bytes.
        chain_id: the chain for which signatures are valid.
    """

    def __init__(self, node: EvmNode, signer: EvmSigner, token: bytes, *, chain_id: int) -> None:
        self._node = node
        self._signer = signer
        self._token = token
        self._chain_id = chain_id

    async def sign(self, spender: bytes, value: int, deadline: int) -> SignedPermit:
        """Sign a permit for ``spender`` to take up to ``value`` of the token's smallest unit. Nothing is sent.

        Raises:
            InvalidRequest: the spender is the zero address, or the deadline has passed on the chain's clock.
            TransactionError: the token has no permits (``no_permit``), or states a domain other than its own
                (``permit_domain``).
            SignerError: the key cannot be used.
        """
        if not any(spender):
            raise InvalidRequest("the zero address cannot be a spender")
        (separator, nonce), computed, head = await asyncio.gather(
            self._stated(), self._domain(), self._node.head(Finality.LATEST)
        )
        if deadline <= head.timestamp:
            raise InvalidRequest(f"the permit's deadline {deadline} has passed: the chain's time is {head.timestamp}")
        if separator != computed:
            raise TransactionError(
                "the token's DOMAIN_SEPARATOR is not that of its name, version, chain and address; nothing was signed",
                code="permit_domain",
            )
        permit = Permit(self._signer.address, spender, value, nonce, deadline)
        return SignedPermit(permit, await self._signer.sign_digest(permit.digest(computed)))

    async def _stated(self) -> tuple[bytes, int]:
        """The domain separator and the owner's nonce that the token states."""
        try:
            separator, nonce = await asyncio.gather(
                self._node.call(self._token, domain_separator_call()),
                self._node.call(self._token, nonces_call(self._signer.address)),
            )
            return separator, decode_uint256(nonce)
        except (NodeRefused, FormatError) as error:
            raise TransactionError("the token has no permits (EIP-2612)", code="no_permit") from error

    async def _domain(self) -> bytes:
        name, version = await asyncio.gather(self._text(name_call()), self._text(version_call()))
        if name is None:
            raise BadAnswer("the token has no name, so its permits have no domain")
        return domain_separator(name, _USUAL_VERSION if version is None else version, self._chain_id, self._token)

    async def _text(self, call: bytes) -> str | None:
        try:
            return decode_string(await self._node.call(self._token, call))
        except (NodeRefused, FormatError):
            return None
