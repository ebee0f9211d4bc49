"""The types of arguments and options that cyclopts cannot read as they should be read."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from layer2.errors import InvalidRequest
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC
from layer2.terms.transfers import TransferRequest, TransferState

__all__ = ["COMPLETED", "Goal", "Layer", "Move", "Satoshi"]

_DIGITS = re.compile(r"[0-9]{1,3}(?:[,_][0-9]{3})+|[0-9]{1,18}")
_LAYERS: Final = tuple(layer.value.lower() for layer, facts in LAYERS.items() if facts.clients_on)


def _amount(_: object, tokens: Sequence[Token]) -> int:
    """``100000``, ``100,000`` or ``100_000``. The converter of cyclopts would read 1.5 as 2, and 0x10 as 16."""
    text = tokens[0].value
    if not _DIGITS.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number of satoshi, such as 100000")
    return int(text.replace(",", "").replace("_", ""))


def _layer(_: object, tokens: Sequence[Token]) -> Layer2ProtocolType:
    """The name of a layer that this version has a client for, in upper or lower case."""
    text = tokens[0].value
    name = text.lower()
    if name in _LAYERS:
        return Layer2ProtocolType[name.upper()]
    close = difflib.get_close_matches(name, _LAYERS, n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"use one of {', '.join(_LAYERS)}"
    raise ValueError(f"{text!r} is not a layer that this version has a client for; {hint}")


Satoshi: TypeAlias = Annotated[int, Parameter(converter=_amount, n_tokens=1, metavar="SATOSHI")]
"""A whole number of satoshi."""
Layer: TypeAlias = Annotated[
    Layer2ProtocolType, Parameter(converter=_layer, n_tokens=1, metavar="|".join(_LAYERS), show_choices=False)
]
"""A layer."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The options of a transfer and of its quote. The amount to arrive is the argument of the command."""

    source: Annotated[Layer, Parameter(name="--from")]
    """The layer that pays."""
    destination: Annotated[Layer, Parameter(name="--to")]
    """The layer that receives."""
    send: Satoshi | None = None
    """The amount to leave the source, in satoshi, instead of the amount to arrive."""
    recipient: str | None = None
    """A BOLT 11 invoice of another party. Default: you receive the money."""
    max_fee: Satoshi | None = None
    """The maximum fee: what leaves the source less what arrives. Default: 1 % and twice the estimated network costs."""
    funded_by_others: bool = False
    """An exchange or another wallet pays the source, which must be Bitcoin. 'layer2 transfer' then shows the address
    and the exact amount."""

    def request(self, amount: int | None) -> TransferRequest:
        """The request to a manager.

        Raises:
            InvalidRequest: not exactly one of the two amounts is given.
        """
        if (amount is None) == (self.send is None):
            raise InvalidRequest("use exactly one of AMOUNT (to arrive) and --send (to leave)", code="usage")
        return TransferRequest(
            BTC,
            amount,
            self.source,
            self.destination,
            self.recipient,
            self.max_fee,
            send_amount=self.send,
            funded_by_others=self.funded_by_others,
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The options of a wait: the state up to which a transfer is followed, and the file for its proof."""

    until: Literal["arrived", "completed"] = "completed"
    """arrived: return when the money is usable, before it is final. completed: when it is final."""
    proof: Path | None = None
    """The file for the proof. Default: transfer-ID.json in the current directory."""
    timeout: Annotated[float | None, Parameter(validator=Number(gte=0))] = None
    """Seconds to wait. The transfer continues after them."""

    @property
    def state(self) -> TransferState:
        """The state to wait for."""
        return TransferState(self.until)

    def check(self) -> None:
        """Check, before anything is sent, that the proof can be written.

        Raises:
            InvalidRequest: its directory does not exist, or cannot be written.
        """
        directory = (self.proof or Path("here")).absolute().parent
        if not os.access(directory, os.W_OK):
            raise InvalidRequest(
                f"no proof can be written to the directory {directory}",
                code="unwritable_file",
                remedy="name another file: --proof",
            )


COMPLETED: Final = Goal()
"""Wait without a limit until the transfer has ended; save the proof in the current directory."""
