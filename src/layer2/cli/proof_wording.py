"""How the legs of a proof are shown."""

from __future__ import annotations

from layer2.cli.wording import at_time, sat, short_hash
from layer2.formats.evm_address import to_checksum
from layer2.formats.printable import printable
from layer2.legs.bitcoin import BitcoinLeg
from layer2.legs.evm import NO_ADDRESS, EvmLeg
from layer2.legs.leg import Leg
from layer2.legs.lightning import LightningLeg
from layer2.legs.shown import Shown
from layer2.model.layers import LAYERS
from layer2.proofs.checking import LegReport
from layer2.proofs.policy import ProofLevel

__all__ = ["leg_lines", "shown_words"]

_WORDS = {
    Shown.INCLUDED: "its end is included under the header",
    Shown.GENUINE_CONTRACT: "by the genuine HTLC contract",
    Shown.PREIMAGE: "the preimage of the invoice in the terms is shown",
    Shown.INDEPENDENT_PAYEE: "its payee creates its own preimages, so it was paid",
    Shown.WORK: "its headers have the work that you accept",
}


def shown_words(leg: LegReport) -> str:
    """What a leg's evidence shows."""
    if leg.outcome is None:
        return "nothing is shown about this leg"
    words = [_WORDS[one] for one in Shown if one in leg.shown]
    if leg.header is not None:
        block = leg.header.hash.hex()
        # The ids of Bitcoin's blocks begin with zeros.
        name = f"..{block[-8:]}" if isinstance(leg.leg, BitcoinLeg) else f"0x{block[:8]}.."
        words.append(f"block {leg.header.number} {name}, {_place(leg)}")
    return "; ".join(words)


def _place(leg: LegReport) -> str:
    match leg.level:
        case ProofLevel.OFFLINE:
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
                f"refundable by anyone from {at_time(leg.deadline)}; it counts when it is {leg.finality.value}",
            ]
        case LightningLeg():
            return [
                f"LIGHTNING, {printable(leg.prefix)}: a payment of {leg.amount_msat} msat "
                f"to {short_hash(leg.payee.hex(), whole=whole)}",
                f"by the invoice {_invoice(leg.invoice, whole=whole)}",
            ]
        case BitcoinLeg():
            until = f"block {leg.locktime}" if leg.is_by_height else f"{at_time(leg.locktime)} (median time past)"
            return [
                f"BITCOIN, {printable(leg.prefix)}: an output of {sat(leg.amount)}, which counts with {leg.depth} "
                "confirmations",
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
