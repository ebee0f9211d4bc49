"""Finding the transactions of a block that touch watched scripts. Pure."""

from __future__ import annotations

from collections.abc import Collection

from layer2.formats.bitcoin_block import BitcoinBlock
from layer2.formats.bitcoin_transaction import OutPoint, Transaction

__all__ = ["touched"]


def touched(
    block: BitcoinBlock, scripts: Collection[bytes], outpoints: dict[OutPoint, bytes]
) -> list[tuple[Transaction, set[bytes]]]:
    """The transactions of a block that pay to a watched script or spend a watched output, with those scripts.

    Args:
        scripts: the watched output scripts.
        outpoints: the known outputs to them, with the script of each. New ones are added: a later transaction of the
            same block may spend them.
    """
    found: list[tuple[Transaction, set[bytes]]] = []
    for transaction in block.transactions:
        hit = {outpoints[each.prevout] for each in transaction.inputs if each.prevout in outpoints}
        paid = [(index, each.script) for index, each in enumerate(transaction.outputs) if each.script in scripts]
        if paid:
            tx_hash = transaction.hash
            for index, script in paid:
                outpoints[OutPoint(tx_hash, index)] = script
                hit.add(script)
        if hit:
            found.append((transaction, hit))
    return found
