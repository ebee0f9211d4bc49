"""A token with configurable faults, for any chain that has the CREATE2 factory."""

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
    """The result of transfers and approvals."""

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
    """One combination of faults. Each has its own address."""

    decimals: int = 8
    answer: Answer = Answer.TRUE
    fee: int = 0
    """The part of a transfer that the token keeps, in hundredths of a percent."""
    reverts: Reverts = Reverts.NEVER
    strict: bool = False
    """Refuse to change a nonzero allowance to another nonzero one."""

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
