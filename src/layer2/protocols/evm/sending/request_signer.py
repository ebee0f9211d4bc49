"""Turning requests into signed transactions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from layer2.errors import FormatError, InvalidRequest, TransactionError
from layer2.formats.evm_transaction import SignedTransaction, decode_signed
from layer2.protocols.evm.fees.estimates import Estimates
from layer2.protocols.evm.requests import EvmTransaction
from layer2.protocols.evm.sending.account import EvmAccount, Message
from layer2.protocols.evm.sending.throttle import LoopThrottle

__all__ = ["RequestSigner"]

_SIGNED_IN_TURN = 32
"""Transactions that are decoded or signed in one turn of the event loop: one batch, and about three milliseconds."""


class RequestSigner:
    """Adds gas limit, price and nonce to requests, and signs them.

    Args:
        account: signs.
        estimates: prices and gas limits, and whether the account can pay.
        chain_id: transactions that are signed for another chain are refused.
        protocol: the layer's name, for errors.
    """

    def __init__(self, account: EvmAccount, estimates: Estimates, *, chain_id: int, protocol: str) -> None:
        self._account = account
        self._estimates = estimates
        self._chain_id = chain_id
        self._protocol = protocol
        self._throttle = LoopThrottle(_SIGNED_IN_TURN)

    async def sign(
        self, request: EvmTransaction, measure: Callable[[], Awaitable[int]] | None = None
    ) -> SignedTransaction:
        """Sign a request, or decode one that is already signed. Nothing is sent.

        Args:
            request: the request, or a signed transaction of type 2.
            measure: as for ``Estimates.affordable``.

        Raises:
            As ``Estimates.affordable`` and ``EvmAccount.sign``.
            InvalidRequest: the transaction is signed for another chain.
            FormatError: the bytes are not a signed transaction of type 2.
        """
        if isinstance(request, bytes):
            await self._throttle.turn()
            signed = decode_signed(request)
            if (signed_for := signed.transaction.chain_id) != self._chain_id:
                raise InvalidRequest(
                    f"the transaction is signed for chain {signed_for}, this layer is chain {self._chain_id}",
                    protocol=self._protocol,
                )
            return signed
        gas_limit, price = await self._estimates.affordable(request, measure)
        message = Message(request.recipient, request.data, request.value, gas_limit)
        await self._throttle.turn()
        try:
            (signed,) = await self._account.sign([message], price)
        except FormatError as error:
            raise TransactionError(error.message, protocol=self._protocol) from error
        return signed
