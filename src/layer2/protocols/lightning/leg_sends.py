"""The payment of a leg: prepared, and sent at most once."""

from __future__ import annotations

from layer2.errors import (
    ConfigurationError,
    FundsRulesError,
    NodeError,
    NodeUnreachable,
    Outcome,
    TransactionError,
)
from layer2.legs.lightning import LightningLeg
from layer2.protocols.lightning.acts import Pay
from layer2.protocols.lightning.lnd.answers import LIGHTNING
from layer2.protocols.lightning.parts import LightningParts
from layer2.protocols.lightning.payments.records import PaymentState
from layer2.protocols.lightning.payments.request import check_payable, decode_invoice

__all__ = ["LegSends", "require"]


class LegSends:
    """Prepares and sends the payments of legs.

    Args:
        parts: the client's parts.
    """

    def __init__(self, parts: LightningParts) -> None:
        self._node = parts.node
        self._payments = parts.payments
        self._liquidity = parts.liquidity
        self._records = parts.leg_records
        self._settings = parts.settings
        self._interval = parts.settings.poll_interval_ms / 1000

    async def prepare(self, payment_hash: bytes, leg: LightningLeg) -> Pay:
        """Make the payment of a leg, checked against every rule for payments.

        Raises:
            FundsRulesError, InvalidRequest: it must not be sent.
            NodeError: the node could not be asked.
        """
        timelocks = self._settings.timelocks
        pay = Pay(
            payment_hash=payment_hash,
            invoice=leg.invoice,
            amount_msat=leg.amount_msat,
            fee_limit_msat=leg.fee_limit_msat,
            cltv_limit=leg.cltv_limit,
            # The deadlines in the terms are computed with these values, not with this party's own settings.
            timeout_seconds=timelocks.payment_timeout,
            max_parts=timelocks.max_parts,
        )
        require(leg.prefix == self._settings.invoice_prefix, f"the leg is on the network {leg.prefix!r}")
        invoice = decode_invoice(leg.invoice)
        require(invoice.payee == leg.payee, "the invoice is signed by another node than the terms name")
        await self._check_payable(pay)
        known = await self._records.payment(pay.payment_hash)
        require(known is None, "a payment with this hash was sent before; a hash is paid once")
        return pay

    async def _check_payable(self, pay: Pay) -> None:
        state = await self._node.current_state_within(self._interval)
        invoice = decode_invoice(pay.invoice)
        check_payable(pay, invoice, prefix=self._settings.invoice_prefix, own_key=state.key, now=state.date)
        require(invoice.amount_msat is not None, "the invoice leaves the amount to the payer")

    async def send_once(self, pay: Pay) -> None:
        """Send the payment, unless the node has one with its hash.

        Raises:
            TransactionError: it was refused, or FAILED at once, or (FundsRulesError) must no longer be sent; outcome
                REJECTED.
            NodeUnreachable: outcome NOT_SENT if it was certainly not sent.
            NodeError: outcome UNKNOWN.
        """
        async with self._payments.one_at_a_time(pay.payment_hash):
            if await self._was_sent(pay):
                return
            self._liquidity.sent(pay.amount_msat, pay.payment_hash)
            try:
                payment = await self._payments.send(pay)
            except NodeError as error:
                if not _had_no_connection(error):
                    error.outcome = Outcome.UNKNOWN
                raise
        if payment.state is PaymentState.FAILED:
            raise TransactionError(
                f"the payment failed: {payment.failure}",
                protocol=LIGHTNING,
                outcome=Outcome.REJECTED,
                tx_id=pay.payment_id,
            )

    async def _was_sent(self, pay: Pay) -> bool:
        """Return whether the node has the payment. If not, check that it may be sent."""
        try:
            if await self._payments.find(pay.payment_hash) is not None:
                return True
            await self._check_payable(pay)
        except FundsRulesError as error:
            error.outcome = Outcome.REJECTED
            raise
        except (NodeError, ConfigurationError) as error:
            # These are errors of reads, so no payment was sent.
            raise NodeUnreachable(
                f"the payment was not sent, because the check before it failed: {error.message}",
                code=error.code,
                protocol=LIGHTNING,
                operation=error.operation,
                outcome=Outcome.NOT_SENT,
                tx_id=pay.payment_id,
                remedy=error.remedy,
            ) from error
        return False


def _had_no_connection(error: NodeError) -> bool:
    """Whether an act was certainly not sent."""
    no_connection = isinstance(error, NodeUnreachable) or error.code == "certificate"
    return no_connection and error.outcome is Outcome.NOT_SENT


def require(holds: bool, problem: str) -> None:
    """Refuse an act.

    Raises:
        FundsRulesError: the condition does not hold.
    """
    if not holds:
        raise FundsRulesError(problem, protocol=LIGHTNING)
