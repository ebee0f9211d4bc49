"""How the report of a proof, and the legs of its terms, are shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layer2.cli.wording import at_time, sat, short_hash
from layer2.formats.evm_address import to_checksum
from layer2.formats.printable import printable
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evm import NO_ADDRESS, EvmLeg
from layer2.legs.leg import Leg
from layer2.legs.lightning import LightningLeg
from layer2.legs.shown import OpenPoint, PreimageMaker, Shown
from layer2.model.layers import LAYERS
from layer2.proofs.model import ProofOutcome
from layer2.proofs.policy import ProofLevel
from layer2.proofs.report import LegReport, ProofReport
from layer2.proofs.statement import CompletionStatement, StatedOutcome

__all__ = ["leg_lines", "report_lines"]

_WORDS = {
    Shown.INCLUDED: "its end is included under the header",
    Shown.GENUINE_CONTRACT: "by the genuine HTLC contract",
    Shown.PREIMAGE: "the preimage of the invoice in the terms is shown",
    Shown.INDEPENDENT_PAYEE: "its payee creates its own preimages, so it was paid",
    Shown.WORK: "its headers have the work that you accept",
}


_OUTCOMES = {
    ProofOutcome.COMPLETED: "a completed transfer",
    ProofOutcome.PARTIAL: "that one leg was collected, and nothing about the other leg",
    ProofOutcome.REFUNDED: "a refund, not a completed transfer",
}
_DECLARATIONS = {
    OpenPoint.PROVIDER: "its signer",
    OpenPoint.ASSET: "its token",
    OpenPoint.TEST_MONEY: "its network",
}
_MAKERS = {
    PreimageMaker.TAKER: "made by the taker: it opens the legs, and shows no payment on Lightning",
    PreimageMaker.DECLARED_PAYEE: "made by the payee of the destination, as you declare",
    PreimageMaker.UNKNOWN: "made by an unknown party: it does not show who paid on Lightning",
}


def report_lines(file: Path, report: ProofReport, *, is_real: bool) -> list[str]:
    """What a proof shows for each leg, and what it leaves open.

    Args:
        is_real: whether each leg's end is known as well as the policy requires.
    """
    lines: list[str] = [f"{printable(str(file))}   {_verdict(report, is_real=is_real)}"]
    for name, leg in (("source", report.source), ("destination", report.destination)):
        lines.append(f"  {name:<12} {leg.protocol.value:<10} {_shown_words(leg, report)}")
    # After a refund there is none.
    if report.outcome is not ProofOutcome.REFUNDED:
        lines.append(f"  {'preimage':<12} {_MAKERS[report.preimage_maker]}")
    known = "a provider that you named" if report.provider_is_known else "an unknown signer"
    lines.append(f"  {'terms':<12} signed by {report.terms.provider.hex()[:10]}.., {known}")
    if report.statement is not None:
        lines.append(f"  {'statement':<12} {_statement_words(report.statement, known)}")
    return [*lines, *(f"  {'open':<12} {matter.text}" for matter in report.open_points)]


def _verdict(report: ProofReport, *, is_real: bool) -> str:
    """What holds, and what has to be true for it."""
    outcome = _OUTCOMES[report.outcome]
    if not is_real:
        return f"not shown: it states {outcome}, but nothing shows that this is real"
    # A pair of tokens is one declaration.
    undeclared = dict.fromkeys(_DECLARATIONS[matter.point] for matter in report.undeclared)
    if undeclared:
        return f"not accepted: it shows {outcome}, and you did not declare {_joined(list(undeclared))}"
    legs = [leg for leg in (report.source, report.destination) if leg.outcome is not None]
    stated = [leg.protocol.value for leg in legs if leg.level is ProofLevel.STATED]
    payable = [
        leg.protocol.value
        for leg in legs
        if leg.level is ProofLevel.OFFLINE and leg.shown & {Shown.PREIMAGE, Shown.INDEPENDENT_PAYEE} == {Shown.PREIMAGE}
    ]
    conditions = [f"the provider's statement about {_joined(stated)} is true"] if stated else []
    conditions += [f"the payment on {layer} was made: a preimage does not show it" for layer in payable]
    return f"holds: {outcome}" + (f", if {_joined(conditions)}" if conditions else "")


def _joined(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _shown_words(leg: LegReport, report: ProofReport) -> str:
    """What is known of a leg's end."""
    if leg.outcome is None and report.outcome is ProofOutcome.REFUNDED:
        return "nothing is shown about this leg: neither that money was paid here, nor that it came back"
    if leg.outcome is None:
        return "nothing is shown about this leg"
    words = [_WORDS[one] for one in Shown if one in leg.shown]
    if leg.header is not None:
        block = leg.header.hash.hex()
        # The ids of Bitcoin's blocks begin with zeros.
        name = f"..{block[-8:]}" if isinstance(leg.leg, BitcoinLeg) else f"0x{block[:8]}.."
        words.append(f"block {leg.header.number} {name}, {_place(leg)}")
    if leg.level is ProofLevel.STATED:
        words.append("stated by the provider that you named")
    return "; ".join(words)


def _statement_words(statement: CompletionStatement, signer: str) -> str:
    words = f"{signer} states that the transfer was {statement.outcome.value}, at {at_time(statement.stated_at)}"
    if statement.outcome is StatedOutcome.REFUNDED:
        return f"{words}; no leg was collected, and none holds money"
    return (
        f"{words}; it acknowledges that it received {sat(statement.received)}, and claims that it paid "
        f"{sat(statement.paid)}"
    )


def _place(leg: LegReport) -> str:
    match leg.level:
        case ProofLevel.OFFLINE | ProofLevel.STATED:
            return "not confirmed to be on the chain"
        case ProofLevel.WORK:
            return "not confirmed by a node"
        case ProofLevel.TRUSTED_HEADER:
            return "on the chain of the header that you trust"
        case ProofLevel.AS_AGREED:
            return f"on your node's chain, at least {leg.leg.finality.value}"
        case ProofLevel.FINALIZED:
            return "final on your node's chain"


def leg_lines(leg: Leg, *, whole: bool) -> list[str]:
    """What the terms state about a leg; whole keys and invoices with ``whole``."""
    match leg:
        case EvmLeg():
            coin, chain = LAYERS[leg.protocol].native_asset, leg.chain_id
            return [
                f"{leg.protocol.value}, chain {chain}: a lock of {leg.amount} units "
                f"({leg.token_decimals} decimals) of "
                + (coin if leg.token == NO_ADDRESS else f"the token {to_checksum(leg.token, chain)}"),
                f"from {to_checksum(leg.payer, chain)} to {to_checksum(leg.payee, chain)}, "
                f"in the contract {to_checksum(leg.contract, chain)}",
                f"anyone can refund it to its payer from {at_time(leg.deadline)}; it counts at the finality "
                f"{leg.finality.value}",
            ]
        case LightningLeg():
            return [
                f"LIGHTNING, {printable(leg.prefix)}: a payment of {leg.amount_msat} msat "
                f"to {short_hash(leg.payee.hex(), whole=whole)}",
                f"by the invoice {_invoice(leg.invoice, whole=whole)}",
            ]
        case BitcoinLeg():
            until = f"block {leg.locktime}" if leg.is_by_height else f"{at_time(leg.locktime)} (median time past)"
            depth = "1 confirmation" if leg.depth == 1 else f"{leg.depth} confirmations"
            return [
                f"BITCOIN, {printable(leg.prefix)}: an output of {sat(leg.amount)}, which counts with {depth}",
                f"from {short_hash(leg.payer.hex(), whole=whole)} to {short_hash(leg.payee.hex(), whole=whole)}, "
                f"refundable from {until}",
                f"its script {leg.htlc.descriptor}" if whole else f"its output script {leg.htlc.program.hex()}",
            ]
        case _:
            return [f"{leg.protocol.value}, {printable(leg.network_id)}: a leg of kind {leg.kind}"]


def _invoice(text: str, *, whole: bool) -> str:
    """The invoice, if it has the characters of one: the file comes from a stranger and is not checked yet."""
    if not (text.isascii() and text.isalnum()):
        return "(not a valid invoice)"
    return text if whole else text[:24] + ".."
