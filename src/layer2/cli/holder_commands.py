"""``layer2 proof challenge``, ``answer`` and ``check-answer``: whether the holder of a proof has a key of the taker.

Only ``answer`` without ``--signature`` reads a configuration. None asks a node.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Parameter
from cyclopts.validators import Number

from layer2.cli.exit_status import ExitStatus
from layer2.cli.output import Result
from layer2.cli.proof_file import load
from layer2.cli.session import InSession
from layer2.cli.wording import at_time
from layer2.errors import ConfigurationError, FormatError, InvalidRequest, ProofRefused, SignerError
from layer2.formats.evm_address import to_checksum
from layer2.formats.evm_hex import parse_data
from layer2.formats.printable import printable
from layer2.legs.evm import EvmLeg
from layer2.legs.views import Side
from layer2.ports.clock import SystemEntropy
from layer2.proofs.challenge import (
    HolderAnswer,
    HolderChallenge,
    LegKey,
    check_answer,
    make_answer,
    make_challenge,
    taker_keys,
)
from layer2.terms.documents import Terms

__all__ = ["answer", "challenge", "check"]

R = TypeVar("R")
_LONGEST_FILE = 4_096
_RULE = "-" * 40
_LEGS = {Side.PAYER: "source", Side.PAYEE: "destination"}


def challenge(
    file: Path,
    *,
    verifier: str,
    minutes: Annotated[int, Parameter(validator=Number(gte=1, lte=10_080))] = 10,
    output: Path | None = None,
    session: InSession,
) -> Result:
    """Make a challenge for the holder of a proof, who answers it with a key of the taker.

    Send the file to the holder, and keep it for proof check-answer. Make a new one for each holder and each proof.

    Args:
        file: The proof.
        verifier: The name under which the holder knows you: printable ASCII, at most 64 characters.
        minutes: How long an answer counts. Default: 10.
        output: The file to write, which must not exist. Default: NAME.challenge.json beside the proof NAME.json.
    """
    proof = load(file)
    expires_at = int(time.time()) + 60 * minutes
    try:
        made = make_challenge(proof, verifier=verifier, expires_at=expires_at, nonce=SystemEntropy().token(32))
    except FormatError as error:
        raise InvalidRequest(f"--verifier: {error.message}", code="usage") from error
    target = file.with_suffix(".challenge.json") if output is None else output
    _write_new(target, made.to_bytes())
    lines = [
        f"{target}   valid until {at_time(expires_at)}, for the name {verifier}",
        f"the holder runs: layer2 proof answer {file.name} {target.name}",
    ]
    data = {"file": str(target), "expires_at": expires_at, "verifier": verifier, "text": made.text}
    return Result(data, [*lines, *_who_answers(proof.terms.terms)])


async def answer(
    file: Path,
    challenge: Path,
    *,
    signature: str | None = None,
    yes: bool = False,
    output: Path | None = None,
    session: InSession,
) -> Result:
    """Answer a verifier's challenge with a key of the taker: yours, or that of another wallet.

    Whoever gets the answer can use it at the verifier that the challenge names, so compare this name with the one that
    asks you. Without --yes the command only shows what it would sign. It moves no money.

    Args:
        file: The proof.
        challenge: The file from the verifier.
        signature: What another wallet has returned for the text (personal_sign), 130 hex digits. No configuration is
            read then.
        yes: Sign it.
        output: The file to write, which must not exist. Default: NAME.answer.json beside the proof NAME.json.
    """
    proof, asked = load(file), _read(challenge, HolderChallenge.from_bytes)
    asked.check_is_of(proof)
    data: dict[str, object] = {"verifier": asked.verifier, "expires_at": asked.expires_at, "text": asked.text}
    shown = [
        "the text between the two lines is signed:",
        _RULE,
        *asked.text.splitlines(),
        _RULE,
        f"for {asked.verifier}, valid until {at_time(asked.expires_at)}",
    ]
    if signature is not None:
        made = make_answer(proof, asked, _signature(signature))
    else:
        # It reads keys, and needs a library for settings.
        from layer2.assembly.holders import answer_challenge, held_key

        terms = proof.terms.terms
        try:
            config = session.config()
            shown.append(f"with {_key_words(held_key(config, terms), terms)}")
        except (ConfigurationError, SignerError) as error:
            wallet = "if a wallet has the account: sign the text there (personal_sign), and pass --signature"
            return Result(data | {"signed": False}, [*shown, *_who_answers(terms), wallet], problem=error)
        if not yes:
            return Result(
                data | {"signed": False},
                shown,
                problem=ConfigurationError(
                    "nothing was signed",
                    code="needs_yes",
                    remedy=f"if it is {asked.verifier} that asks you for it, add --yes",
                ),
                ended=ExitStatus.ACTION_NEEDED,
            )
        made = await answer_challenge(config, proof, asked)
    target = file.with_suffix(".answer.json") if output is None else output
    _write_new(target, made.to_bytes())
    return Result(data | {"signed": True, "file": str(target)}, [*shown, f"{target}   send it to {asked.verifier}"])


def check(file: Path, challenge: Path, answer: Path, *, session: InSession) -> Result:
    """Check an answer: whether a key of the taker in the proof signed your challenge in time.

    Exit status 0: it did. 1: a check failed, and is named. The proof itself is checked by proof verify.

    Args:
        file: The proof that was presented.
        challenge: Your own copy of the challenge.
        answer: The file from the holder.
    """
    proof = load(file)
    asked, given = _read(challenge, HolderChallenge.from_bytes), _read(answer, HolderAnswer.from_bytes)
    keys = check_answer(proof, asked, given, now=time.time())
    terms = proof.terms.terms
    data = [{"leg": _LEGS[each.side], "protocol": each.protocol.value, "key": each.key.data.hex()} for each in keys]
    lines = [
        f"holds: the challenge is signed with {_key_words(keys[0], terms)}",
        *(f"       also {_key_words(each, terms)}" for each in keys[1:]),
        "not shown: who used this key, and that your challenge was not passed on",
        f"the proof itself is not checked here: layer2 proof verify {printable(str(file))}",
    ]
    return Result({"file": str(file), "verifier": asked.verifier, "keys": data}, lines)


def _who_answers(terms: Terms) -> list[str]:
    return [f"it can be answered with {_key_words(each, terms)}" for each in taker_keys(terms)]


def _key_words(held: LegKey, terms: Terms) -> str:
    leg = terms.source if held.side is Side.PAYER else terms.destination
    name = f"account {to_checksum(held.key.data, leg.chain_id)}" if isinstance(leg, EvmLeg) else held.key.data.hex()
    return f"the {held.side.value}'s {name} in the {_LEGS[held.side]} on {held.protocol.value}"


def _signature(text: str) -> bytes:
    try:
        return parse_data(text if text.startswith("0x") else f"0x{text}", "the signature")
    except FormatError as error:
        raise InvalidRequest("--signature takes 130 hex digits", code="usage") from error


def _read(path: Path, decode: Callable[[bytes], R]) -> R:
    try:
        with path.open("rb") as file:
            return decode(file.read(_LONGEST_FILE + 1))
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be read: {error.strerror}", code="unreadable_file", remedy="check the path"
        ) from error
    except FormatError as error:
        raise ProofRefused("answer_format", f"{path}: {error.message}") from error


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that does not exist yet: an open challenge must not be lost."""
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}",
            code="unwritable_file",
            remedy="name another file: --output",
        ) from error
