"""The effect of a transaction, and signing it with a nonce and a price."""

from __future__ import annotations

from dataclasses import dataclass

from layer2.errors import SignerError
from layer2.formats.evm_transaction import SignedTransaction
from layer2.model.transactions import EvmTxId
from layer2.ports.signing import EvmSigner
from layer2.protocols.evm.fees.models import FeeModel
from layer2.protocols.evm.fees.prices import FeeQuote, Price

__all__ = ["Message", "TransactionSigner", "message_of", "price_of", "tx_id_of"]


@dataclass(frozen=True, slots=True)
class Message:
    """The effect of a transaction, without nonce and prices."""

    to: bytes | None
    """20 bytes, or None to create a contract."""
    data: bytes
    value: int
    gas_limit: int


def tx_id_of(signed: SignedTransaction) -> EvmTxId:
    """The id of a signed transaction."""
    return EvmTxId("0x" + signed.hash.hex())


def message_of(signed: SignedTransaction) -> Message:
    """The effect of a signed transaction."""
    transaction = signed.transaction
    return Message(transaction.to, transaction.data, transaction.value, transaction.gas_limit)


def price_of(signed: SignedTransaction) -> Price:
    """The price of a signed transaction."""
    return Price(signed.transaction.max_fee_per_gas, signed.transaction.max_priority_fee_per_gas)


class TransactionSigner:
    """Signs with one key for one chain.

    Args:
        signer: the key.
        model: the kind of transaction that the chain accepts.
        chain_id: the chain for which signatures are valid.
    """

    def __init__(self, signer: EvmSigner, model: FeeModel, *, chain_id: int) -> None:
        self.address = signer.address
        """20 bytes."""
        self._signer = signer
        self._model = model
        self.chain_id = chain_id

    async def sign(self, message: Message, nonce: int, price: FeeQuote | Price) -> SignedTransaction:
        """Sign the transaction with this effect, nonce and price.

        Raises:
            SignerError: the key cannot be used, or the signature belongs to another key.
        """
        transaction = self._model.unsigned(
            chain_id=self.chain_id,
            nonce=nonce,
            gas_limit=message.gas_limit,
            to=message.to,
            value=message.value,
            data=message.data,
            price=price.price if isinstance(price, FeeQuote) else price,
        )
        signed = transaction.signed(await self._signer.sign_digest(transaction.signing_hash()))
        if signed.sender != self.address:
            raise SignerError("the signature is not valid for the signer's address")
        return signed
