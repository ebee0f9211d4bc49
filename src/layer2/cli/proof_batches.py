"""Many proofs, read from files or a stream and checked on all cores. A proof that cannot be read or is refused is an
answer like another, and stops nothing."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from layer2.cli.proof_judging import HEADER, judged
from layer2.errors import FormatError, InvalidRequest, Layer2Error, ProofRefused
from layer2.proofs.audit import Entry, entry_of
from layer2.proofs.checking import ProofReport
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import ProofPolicy

__all__ = [
    "Ask",
    "Checked",
    "Given",
    "NotAccepted",
    "Why",
    "accepted",
    "check_all",
    "checked",
    "given",
    "not_accepted",
    "read",
]

_SUFFIX: Final = ".json"
_BESIDE_A_PROOF: Final = (".challenge.json", ".answer.json")
"""The ends of the names under which ``proof challenge`` and ``proof answer`` write their files."""
_LONGEST_LINE: Final = 1_000_001
"""One byte more than a proof may have, so that a longer one is refused as too long."""
_CHUNK: Final = 16
_ALONE: Final = 64
"""As many proofs are checked before other processes would have started."""


@dataclass(frozen=True, slots=True)
class Given:
    """A proof that is not read yet."""

    name: str
    """How the audit names it."""
    path: Path | None
    line: bytes = b""
    """The proof itself, if there is no path."""


class Why(Enum):
    """What keeps a proof from being counted."""

    REFUSED = "refused"
    """It is wrong, shows one leg only, or cannot be read."""
    UNDECIDED = "undecided"
    """A node cannot tell now."""
    UNDECLARED = "undeclared"
    """The policy does not declare something that it needs."""


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """A proof that is not counted, and why."""

    name: str
    proof_id: bytes | None
    """None if the file is not a proof."""
    why: Why
    code: str
    """The check that failed, or another reason."""
    text: str


Checked: TypeAlias = Entry | NotAccepted
Ask: TypeAlias = Callable[[Given, Entry], Awaitable[Checked]]
"""Ask the verifier's nodes about a proof that holds without them."""


def given(paths: Iterable[Path], stream: BinaryIO | None) -> Iterator[Given]:
    """The proofs that the paths name, in their order, and then those of the stream, one on each line.

    Of a folder, these are its files ``*.json`` and those of its folders, in the order of their names' bytes, without
    challenges and answers. Links to folders are not followed.
    """
    for path in paths:
        # Path.is_dir raises for a name that is too long, and for a folder that may not be searched.
        if os.path.isdir(path):
            yield from _folder(path)
        else:
            yield Given(_name(path), path)
    if stream is not None:
        yield from _lines(stream)


def _folder(folder: Path) -> Iterator[Given]:
    # Not by recursion: the limit of the interpreter is below the depth that a stranger's archive can have.
    waiting = [_files(folder)]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
        elif isinstance(found, Given):
            yield found
        else:
            waiting.append(_files(found))


def _files(folder: Path) -> Iterator[Given | Path]:
    """The proofs in a folder, and its folders, in the order of their names' bytes."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda each: os.fsencode(each.name))
    except OSError:
        # Reading it as a file reports why it cannot be read.
        yield Given(_name(folder), folder)
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)
        elif entry.name.endswith(_SUFFIX) and not entry.name.endswith(_BESIDE_A_PROOF):
            yield Given(_name(entry.path), Path(entry.path))


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


async def check_all(
    proofs: Iterable[Given], policy: ProofPolicy, *, cores: int, ask: Ask | None = None
) -> list[Checked]:
    """Check each proof, in the given order. At most some chunks for each core are in memory at a time.

    Args:
        cores: the number of processes for more than a few proofs.
        ask: what the nodes add for each proof that holds without them.
    """
    answers: list[Checked] = []

    async def take(chunk: Sequence[Given], found: Sequence[Checked]) -> None:
        answers.extend(found if ask is None else await asyncio.gather(*map(partial(_asked, ask), chunk, found)))

    check = partial(_check, policy, placed_later=ask is not None)
    chunks = _chunks(proofs)
    first = list(itertools.islice(chunks, _ALONE // _CHUNK))
    if len(first) < _ALONE // _CHUNK or cores == 1:
        for chunk in itertools.chain(first, chunks):
            await take(chunk, check(chunk))
        return answers
    waiting: deque[tuple[Sequence[Given], asyncio.Future[list[Checked]]]] = deque()
    # A forked process would have the locks of this one's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=_begin) as pool:
        try:
            for chunk in itertools.chain(first, chunks):
                waiting.append((chunk, asyncio.get_running_loop().run_in_executor(pool, check, chunk)))
                if len(waiting) > 2 * cores:
                    earliest, future = waiting.popleft()
                    await take(earliest, await future)
            for earliest, future in waiting:
                await take(earliest, await future)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return answers


async def _asked(ask: Ask, proof: Given, found: Checked) -> Checked:
    return await ask(proof, found) if isinstance(found, Entry) else found


def _chunks(proofs: Iterable[Given]) -> Iterator[list[Given]]:
    rest = iter(proofs)
    while chunk := list(itertools.islice(rest, _CHUNK)):
        yield chunk


def _begin() -> None:
    """Ends of a process of the pool: the program handles Ctrl-C, and a process does not outlive the program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _check(policy: ProofPolicy, chunk: Sequence[Given], *, placed_later: bool) -> list[Checked]:
    return [checked(each, policy, placed_later=placed_later) for each in chunk]


def checked(one: Given, policy: ProofPolicy, *, placed_later: bool = False) -> Checked:
    """Check one proof.

    Args:
        placed_later: the caller finds out about its headers afterwards.
    """
    proof: TransferProof | None = None
    try:
        proof = read(one)
        report, missing = judged(proof, policy)
        missing = tuple([each for each in missing if not (placed_later and each.code == HEADER)])
        if missing and report.outcome is not ProofOutcome.PARTIAL:
            text = "; ".join(f"{each.text}; {each.remedy}" for each in missing)
            return NotAccepted(one.name, proof.proof_id, Why.UNDECLARED, missing[0].code, text)
        return accepted(one, proof, report)
    except Layer2Error as error:
        return not_accepted(one, proof, error)
    except Exception as error:  # noqa: BLE001  # one file must not stop the audit of the others
        return NotAccepted(one.name, None, Why.REFUSED, "internal", f"internal error of layer2: {type(error).__name__}")


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


def accepted(one: Given, proof: TransferProof, report: ProofReport) -> Checked:
    """A proof for which the policy and the nodes leave nothing to declare."""
    if report.outcome is ProofOutcome.PARTIAL:
        text = "the proof shows one leg, not a completed transfer"
        return NotAccepted(one.name, proof.proof_id, Why.REFUSED, "proof_of_one_leg", text)
    return entry_of(one.name, proof, report)


def not_accepted(one: Given, proof: TransferProof | None, error: Layer2Error) -> NotAccepted:
    """A proof whose check raised an error."""
    proof_id = None if proof is None else proof.proof_id
    match error:
        case ProofRefused():
            return NotAccepted(one.name, proof_id, Why.REFUSED, error.check, error.message)
        case FormatError() | InvalidRequest():
            return NotAccepted(one.name, proof_id, Why.REFUSED, error.code, error.message)
        case _:
            return NotAccepted(one.name, proof_id, Why.UNDECIDED, error.code, error.message)
