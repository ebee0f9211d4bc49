"""A token that misbehaves as a test says, for any chain that has the CREATE2 factory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

from contracts.chain import compiled
from layer2.contracts.factory import deployed_address, deployment_call
from layer2.formats.evm_abi import encode_words

__all__ = ["Answer", "OddToken", "Reverts"]

_SALT = b"odd".ljust(32, b"\x00")


class Answer(IntEnum):
    """What calls that move or approve return."""

    TRUE = 0
    NOTHING = 1
    FALSE = 2
    TWO_WORDS = 3
    NO_BOOL = 4


class Reverts(IntEnum):
    """How a transfer fails."""

    NEVER = 0
    WITH_TEXT = 1
    WITH_CUSTOM_ERROR = 2
    WITH_NOTHING = 3


@dataclass(frozen=True)
class OddToken:
    """One way to misbehave; each has an address of its own."""

    decimals: int = 8
    answer: Answer = Answer.TRUE
    fee: int = 0
    """Hundredths of a percent that a transfer keeps back."""
    reverts: Reverts = Reverts.NEVER
    strict: bool = False
    """Refuses to change an allowance that is not zero to another that is not."""

    @property
    def address(self) -> bytes:
        return deployed_address(_SALT, self._init_code())

    def deployment(self) -> bytes:
        """The call to the factory that creates it."""
        return deployment_call(_SALT, self._init_code())

    def _init_code(self) -> bytes:
        return _code() + encode_words(self.decimals, self.answer, self.fee, self.reverts, self.strict)


@cache
def _code() -> bytes:
    return compiled("odd_token")
