"""Every error has its exit status, and what may have happened never looks like what did not."""

from __future__ import annotations

import inspect

import pytest

from layer2 import errors
from layer2.cli.exit_status import ExitStatus, exit_status
from layer2.errors import (
    InitializationError,
    InsufficientFunds,
    Layer2Error,
    NodeUnreachable,
    Outcome,
    ProofRefused,
    TransferRefunded,
)

DONE_NOTHING = {
    "ConfigurationError": 3,
    "InvalidRequest": 3,
    "InvalidAmount": 3,
    "UnknownAsset": 3,
    "ProtocolNotConfigured": 3,
    "ProtocolNotImplemented": 3,
    "FormatError": 3,
    "NodeUnreachable": 5,
    "WrongNetwork": 4,
    "AuthenticationFailed": 4,
    "InsufficientFunds": 4,
    "SignerError": 4,
    "JournalBusy": 4,
    "TransferLost": 4,
    "AsyncTimeout": 2,
    "TaskCancelled": 2,
    "ProofUndecided": 2,
}
CLASSES = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, Layer2Error) and each is not InitializationError
]


def made(kind: type[Layer2Error]) -> Layer2Error:
    if kind is ProofRefused:
        return ProofRefused("check", "words")
    if kind is TransferRefunded:
        return TransferRefunded("words", transfer_id="00" * 16, proof=None)
    return kind("words")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_its_status(kind: type[Layer2Error]) -> None:
    assert exit_status(made(kind)) == DONE_NOTHING.get(kind.__name__, 1)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_unknown_outcome_comes_first(kind: type[Layer2Error]) -> None:
    error = made(kind)
    error.outcome = Outcome.UNKNOWN
    assert exit_status(error) is ExitStatus.UNKNOWN


def test_of_several_layers_that_failed_the_most_urgent_counts() -> None:
    unreachable, poor = NodeUnreachable("down"), InsufficientFunds("no gas")
    assert exit_status(InitializationError({"BOB": unreachable})) is ExitStatus.UNREACHABLE
    assert exit_status(InitializationError({"BOB": unreachable, "LIGHTNING": poor})) is ExitStatus.ACTION_NEEDED
    waiting = InitializationError({"BOB": unreachable})
    waiting.outcome = Outcome.UNKNOWN
    assert exit_status(waiting) is ExitStatus.UNKNOWN, "a transfer is open"
    assert InitializationError({"BOB": unreachable}).retryable
    assert not InitializationError({"BOB": unreachable, "LIGHTNING": poor}).retryable
