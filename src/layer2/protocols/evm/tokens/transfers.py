"""Checking the effect of an ERC-20 transfer before anything is signed.

A token may return nothing, return false, keep a part, or revert. So a transfer is simulated between reads of the
balances, and only a transfer that moves exactly its amount is sent.
Source: EIP-20.
"""

from __future__ import annotations

from dataclasses import dataclass

from layer2.contracts.erc20 import balance_of_call, decode_accepted, decode_uint256, transfer_call
from layer2.contracts.htlc import HTLC_ADDRESS, NATIVE_COIN
from layer2.errors import BadAnswer, FormatError, InsufficientFunds, InvalidRequest, TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.tokens.simulation import Simulated, SimulatedBlock, SimulatedMessage, simulate

__all__ = ["TokenTransfer", "check_accepted", "check_recipient", "token_number", "transfer_gas"]


@dataclass(frozen=True, slots=True)
class TokenTransfer:
    """One transfer of a token, in its smallest unit."""

    token: bytes
    sender: bytes
    recipient: bytes
    amount: int


async def transfer_gas(node: EvmNode, transfer: TokenTransfer) -> int:
    """Simulate a transfer, check that it moves exactly its amount, and return its gas limit.

    Args:
        node: the party's own node.
        transfer: the transfer.

    Raises:
        InsufficientFunds: the sender has less.
        TransactionError: ``token_refused`` if the token reverts, or returns false or no bool; ``token_short`` if a
            balance changes by another amount; ``no_simulation`` if the node cannot simulate.
        BadAnswer: the token does not answer as an ERC-20.

    Nothing is signed. The token may behave differently when the transaction is mined, and balances may change.
    """
    reads = [
        SimulatedMessage(transfer.sender, transfer.token, balance_of_call(owner))
        for owner in (transfer.sender, transfer.recipient)
    ]
    move = SimulatedMessage(transfer.sender, transfer.token, transfer_call(transfer.recipient, transfer.amount))
    simulated = await simulate(node, [SimulatedBlock([*reads, move, *reads])])
    sender_before, recipient_before, moved, sender_after, recipient_after = simulated
    had, held = _balance(sender_before), _balance(recipient_before)
    if had < transfer.amount:
        raise InsufficientFunds(f"the account cannot send {transfer.amount} of the token's smallest unit: it has {had}")
    check_accepted(moved, "transfer")
    left, arrived = had - _balance(sender_after), _balance(recipient_after) - held
    expected = 0 if transfer.sender == transfer.recipient else transfer.amount
    if (left, arrived) != (expected, expected):
        raise TransactionError(
            f"the token would take {left} from the sender and give {arrived} to the recipient instead of moving "
            f"{transfer.amount}; nothing was signed",
            code="token_short",
            remedy="use a token that keeps no part of a transfer and does not change balances by itself",
        )
    # The gas used excludes refunds of up to a fifth, and an inner call gets at most 63/64 of the remaining gas.
    return moved.gas_used * 3 // 2


def check_accepted(simulated: Simulated, name: str) -> None:
    """Check that a token's ``transfer`` or ``approve`` returned true, or nothing, as older tokens do on success.

    Raises:
        TransactionError: the token reverted or returned something else (``token_refused``).
    """
    if simulated.failure is None:
        try:
            if decode_accepted(simulated.output):
                return
            problem = "it returns false"
        except FormatError:
            problem = f"it returns {len(simulated.output)} bytes that are not a bool"
    else:
        problem = simulated.failure
    raise TransactionError(f"the token would refuse to {name}: {problem}; nothing was signed", code="token_refused")


def token_number(answer: bytes) -> int:
    """Read a token's answer: a balance or an allowance, in its smallest unit.

    Raises:
        BadAnswer: the answer is not a number, so the token is not an ERC-20.
    """
    try:
        return decode_uint256(answer)
    except FormatError as error:
        raise BadAnswer("the configured token does not answer as an ERC-20") from error


def check_recipient(recipient: bytes, token: bytes, contract: bytes = HTLC_ADDRESS) -> None:
    """Refuse addresses at which a payment would be lost.

    Args:
        recipient: 20 bytes.
        token: 20 bytes; ``NATIVE_COIN`` if there is none.
        contract: the HTLC contract, 20 bytes.

    Raises:
        InvalidRequest: the zero address, the token's contract, or the HTLC contract, which pays out locks only.

    Other contracts are not checked. A contract that cannot move tokens keeps them.
    """
    traps = {token: "the token's own contract", contract: "the HTLC contract", NATIVE_COIN: "the zero address"}
    if recipient in traps:
        raise InvalidRequest(f"{to_checksum(recipient)} is {traps[recipient]}: a payment to it would be lost")


def _balance(simulated: Simulated) -> int:
    if simulated.failure is not None:
        raise BadAnswer(f"the configured token has no balances: {simulated.failure}")
    return token_number(simulated.output)
