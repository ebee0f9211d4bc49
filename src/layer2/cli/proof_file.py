"""Reading the file of a proof."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from layer2.errors import FormatError, ProofRefused
from layer2.proofs.model import TransferProof

__all__ = ["load"]

_REMEDY: Final = "a proof is checked byte for byte: if an editor or a mail program has changed the file, get it again"


def load(file: Path) -> TransferProof:
    """Read a proof from a file.

    Raises:
        InvalidRequest: the file cannot be read.
        ProofRefused: the file is not a proof; check ``format``.
    """
    try:
        return TransferProof.load(file)
    except FormatError as error:
        refused = ProofRefused("format", error.message)
        refused.remedy = _REMEDY
        raise refused from error
