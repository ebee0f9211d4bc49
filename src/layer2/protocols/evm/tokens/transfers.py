"""ERC-20 tokens as they are: what a transfer would really do, known before anything is signed.

A token may return nothing, return false, take a part for itself, or revert. So a transfer is simulated between
looks at the balances, and only one that moves exactly its amount is sent.
Source: EIP-20.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layer2.contracts.erc20 import balance_of_call, decode_accepted, decode_uint256, transfer_call
from layer2.contracts.htlc import HTLC_ADDRESS
from layer2.errors import BadAnswer, FormatError, InsufficientFunds, InvalidRequest, Outcome, TransactionError
from layer2.formats.evm_address import to_checksum
from layer2.protocols.evm.rpc.node import EvmNode
from layer2.protocols.evm.tokens.simulation import Simulated, SimulatedBlock, SimulatedMessage, simulate

__all__ = ["TokenTransfer", "check_accepted", "check_recipient", "judge_transfer", "token_number", "transfer_gas"]


@dataclass(frozen=True, slots=True)
class TokenTransfer:
    """One movement of a token, in its smallest unit."""

    token: bytes
    sender: bytes
    recipient: bytes
    amount: int

    def messages(self) -> list[SimulatedMessage]:
        """The transfer between two looks at each balance; ``judge_transfer`` reads what became of them."""
        looks = [
            SimulatedMessage(self.sender, self.token, balance_of_call(owner)) for owner in (self.sender, self.recipient)
        ]
        move = SimulatedMessage(self.sender, self.token, transfer_call(self.recipient, self.amount))
        return [*looks, move, *looks]


async def transfer_gas(node: EvmNode, transfer: TokenTransfer, *, protocol: str) -> int:
    """Simulate a transfer, and give the gas limit that it needs where it moves exactly its amount.

    Args:
        node: the party's own node.
        transfer: what shall be sent.
        protocol: the layer's name, for errors.

    Raises:
        InsufficientFunds: the sender has less; nothing was signed, as with all of these.
        TransactionError: ``token_refused`` where the token reverts, returns false or no bool; ``token_short`` where
            balances change by something else than the amount; ``no_simulation`` where the node cannot tell.
        BadAnswer: the token does not answer as an ERC-20.

    Does not promise that the token does the same when the transaction is mined, nor that a balance stays as it is.
    """
    simulated = await simulate(node, [SimulatedBlock(transfer.messages())], protocol=protocol)
    judge_transfer(transfer, simulated, protocol=protocol)
    # What is used is counted after refunds, of at most a fifth, and a call inside can hand on only 63 of 64 parts.
    return simulated[2].gas_used * 3 // 2


def judge_transfer(transfer: TokenTransfer, simulated: Sequence[Simulated], *, protocol: str) -> None:
    """Decide by what became of ``transfer.messages()`` whether the token can be trusted with the transfer.

    Raises:
        As ``transfer_gas``.
    """
    sender_before, recipient_before, moved, sender_after, recipient_after = simulated
    had, held = _balance(sender_before, protocol), _balance(recipient_before, protocol)
    if had < transfer.amount:
        raise InsufficientFunds(
            f"{transfer.amount} of the token's smallest unit cannot be sent: the account has {had}", protocol=protocol
        )
    check_accepted(moved, "transfer", protocol=protocol)
    left, arrived = had - _balance(sender_after, protocol), _balance(recipient_after, protocol) - held
    expected = 0 if transfer.sender == transfer.recipient else transfer.amount
    if (left, arrived) != (expected, expected):
        raise TransactionError(
            f"the token would take {left} from the sender and give {arrived} to the recipient where {transfer.amount} "
            "shall be moved; nothing was signed",
            code="token_short",
            protocol=protocol,
            outcome=Outcome.NOT_SENT,
            remedy="a token that keeps a part, or changes balances by itself, cannot be used here",
        )


def check_accepted(simulated: Simulated, name: str, *, protocol: str) -> None:
    """Check that a token's ``transfer`` or ``approve`` returned true, or nothing, which older tokens mean as true.

    Raises:
        TransactionError: it did not (code ``token_refused``).
    """
    if simulated.failure is None:
        try:
            if decode_accepted(simulated.output):
                return
            problem = "it returns false"
        except FormatError:
            problem = f"it returns {len(simulated.output)} bytes that are no bool"
    else:
        problem = simulated.failure
    raise TransactionError(
        f"the token would refuse to {name}: {problem}; nothing was signed",
        code="token_refused",
        protocol=protocol,
        outcome=Outcome.NOT_SENT,
    )


def token_number(answer: bytes, *, protocol: str) -> int:
    """The number that a token answered: a balance or an allowance, in its smallest unit.

    Raises:
        BadAnswer: it is none, so the token is no ERC-20.
    """
    try:
        return decode_uint256(answer)
    except FormatError as error:
        raise BadAnswer("the configured token does not answer as an ERC-20", protocol=protocol) from error


def check_recipient(recipient: bytes, token: bytes) -> None:
    """Refuse addresses at which a payment would be lost to everybody.

    Args:
        recipient: 20 bytes.
        token: 20 bytes.

    Raises:
        InvalidRequest: the zero address, the token's own contract, or the HTLC contract, which pays out locks only.

    Says nothing of other contracts: one that cannot move what it gets keeps it.
    """
    traps = {bytes(20): "the zero address", token: "the token's own contract", HTLC_ADDRESS: "the HTLC contract"}
    if recipient in traps:
        raise InvalidRequest(f"{to_checksum(recipient)} is {traps[recipient]}: what is sent there is lost")


def _balance(simulated: Simulated, protocol: str) -> int:
    if simulated.failure is not None:
        raise BadAnswer(f"the configured token has no balances: {simulated.failure}", protocol=protocol)
    return token_number(simulated.output, protocol=protocol)
