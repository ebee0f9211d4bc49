"""Reading the file of a proof."""

from __future__ import annotations

from pathlib import Path

from layer2.errors import FormatError, ProofRefused
from layer2.proofs.model import TransferProof

__all__ = ["load"]


def load(file: Path) -> TransferProof:
    """Read a proof from a file.

    Raises:
        InvalidRequest: the file cannot be read.
        ProofRefused: the file is not a proof; check ``format``.
    """
    try:
        return TransferProof.load(file)
    except FormatError as error:
        raise ProofRefused("format", error.message) from error
