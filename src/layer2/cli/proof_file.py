"""Proofs in files, folders and streams."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from layer2.errors import FormatError, InvalidRequest, ProofRefused
from layer2.proofs.model import TransferProof

__all__ = ["Given", "given", "load", "read"]

_SUFFIX: Final = ".json"
_BESIDE_A_PROOF: Final = (".challenge.json", ".answer.json")
"""The ends of the names under which ``proof challenge`` and ``proof answer`` write their files."""
_LONGEST_LINE: Final = 1_000_001
"""One byte more than a proof may have, so that a longer one is refused as too long."""
_REMEDY: Final = "a proof is checked byte for byte: if an editor or a mail program has changed the file, get it again"


@dataclass(frozen=True, slots=True)
class Given:
    """A proof that is not read yet."""

    name: str
    """How the audit names it."""
    path: Path | None
    line: bytes = b""
    """The proof itself, if there is no path."""


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


def given(paths: Iterable[Path], stream: BinaryIO | None) -> Iterator[Given]:
    """The proofs that the paths name, in their order, and then those of the stream, one on each line.

    Of a folder, these are its files ``*.json``, without challenges and answers, and then those of its folders, in the
    order of their names' bytes. Links to folders are not followed.
    """
    for path in paths:
        # Path.is_dir raises for a name that is too long, and for a folder that may not be searched.
        if os.path.isdir(path):
            yield from _folder(os.fspath(path))
        else:
            yield Given(_name(path), path)
    if stream is not None:
        yield from _lines(stream)


def _folder(folder: str) -> Iterator[Given]:
    # Not by recursion: the limit of the interpreter is below the depth that a stranger's archive can have.
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda each: os.fsencode(each.name))
        except OSError:
            # Reading it as a file reports why it cannot be read.
            yield Given(_name(folder), Path(folder))
            continue
        for entry in entries:
            is_beside = entry.name.endswith(_BESIDE_A_PROOF)
            if entry.name.endswith(_SUFFIX) and not is_beside and not entry.is_dir(follow_symlinks=False):
                yield Given(_name(entry.path), Path(entry.path))
        waiting += [each.path for each in reversed(entries) if each.is_dir(follow_symlinks=False)]


def _lines(stream: BinaryIO) -> Iterator[Given]:
    for number in itertools.count(1):
        line = rest = stream.readline(_LONGEST_LINE)
        if not line:
            return
        while rest and not rest.endswith(b"\n"):
            rest = stream.readline(_LONGEST_LINE)
        yield Given(f"line {number}", None, line.removesuffix(b"\n"))


def _name(path: str | Path) -> str:
    """The path as text. The name of a file can be bytes that are none."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read(one: Given) -> TransferProof:
    """Read a proof.

    Raises:
        Layer2Error: it cannot be read, or is not a proof.
    """
    if one.path is None:
        return TransferProof.from_bytes(one.line)
    if os.path.exists(one.path) and not os.path.isfile(one.path):
        # A pipe would be waited for.
        raise InvalidRequest("it is not a file", code="unreadable_file")
    return TransferProof.load(one.path)
