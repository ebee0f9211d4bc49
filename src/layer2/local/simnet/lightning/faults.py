"""The fault switches of one simulated Lightning node, for tests of a client."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from layer2.errors import InvalidRequest
from layer2.local.simnet.lightning.channel import MAX_HTLCS
from layer2.local.simnet.lightning.records import FailureReason

__all__ = ["Fault", "FaultKind", "FaultSwitches"]


class FaultKind(Enum):
    """The faults that can be switched on."""

    NONE = "none"
    """Clears all faults and delivers the held payments."""
    DOWN = "down"
    """Connections are reset, including open streams; no request is executed."""
    DROP_REPLY = "drop_reply"
    """The request is executed, then the connection is reset without an answer."""
    DELAY = "delay"
    """The request waits before it is executed."""
    ERROR = "error"
    """The request is not executed; the answer has that HTTP status."""
    HOLD_PAYMENTS = "hold_payments"
    """Payments that this node sends stay in flight and are not delivered until the switch is cleared."""
    FAIL_PAYMENTS = "fail_payments"
    """Payments that this node sends fail with that reason, without an HTLC."""
    SPLIT_PAYMENTS = "split_payments"
    """Payments that this node sends are split into that many HTLCs, if their invoice and request allow it."""
    CUT_STREAM = "cut_stream"
    """A stream's connection is reset instead of sending a message, and the message is lost."""
    REPEAT_MESSAGE = "repeat_message"
    """A stream sends a message twice."""
    WITHHOLD_MESSAGE = "withhold_message"
    """A stream skips a message and continues."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One switch with its arguments."""

    kind: FaultKind
    path: str = ""
    """The prefix of the request paths that it hits; all paths if it is empty."""
    count: int | None = None
    """The number of requests or messages that it hits; None means no limit."""
    message: int | None = None
    """The number of the message that it hits in each stream, counted from 1; None means every message."""
    seconds: float = 0
    status: int = 500
    reason: FailureReason = FailureReason.ERROR
    parts: int = 1

    @classmethod
    def of(cls, kind: str, arguments: dict[str, Any]) -> Fault:
        """Parse a switch from the control interface's arguments.

        Raises:
            InvalidRequest: the kind is unknown, or does not take one of the arguments.
        """
        try:
            switch = FaultKind(kind)
        except ValueError:
            known = ", ".join(known.value for known in FaultKind)
            raise InvalidRequest(f"a Lightning node has no fault {kind!r}", remedy=f"one of {known}") from None
        values = dict(arguments)
        taken = _ARGUMENTS[switch]
        if not taken[0] <= values.keys() <= taken[0] | taken[1]:
            raise InvalidRequest(
                f"the fault {kind} needs {sorted(taken[0])} and may take {sorted(taken[1])}, got {sorted(values)}"
            )
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, _TYPES[name]):
                raise InvalidRequest(f"the fault {kind} takes no {type(value).__name__} as {name}")
        if not 1 <= values.get("parts", 1) <= MAX_HTLCS:
            raise InvalidRequest(f"a payment has 1 to {MAX_HTLCS} parts")
        if "reason" in values:
            values["reason"] = _reason(values["reason"])
        return cls(switch, **values)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "path": str,
    "count": int,
    "seconds": (int, float),
    "status": int,
    "reason": str,
    "message": int,
    "parts": int,
}
_OF_STREAMS = frozenset[str](), frozenset({"path", "count", "message"})
_ARGUMENTS: dict[FaultKind, tuple[frozenset[str], frozenset[str]]] = {
    FaultKind.NONE: (frozenset(), frozenset()),
    FaultKind.DOWN: (frozenset(), frozenset()),
    FaultKind.DROP_REPLY: (frozenset(), frozenset({"path", "count"})),
    FaultKind.DELAY: (frozenset({"seconds"}), frozenset({"path", "count"})),
    FaultKind.ERROR: (frozenset({"status"}), frozenset({"path", "count"})),
    FaultKind.HOLD_PAYMENTS: (frozenset(), frozenset()),
    FaultKind.FAIL_PAYMENTS: (frozenset(), frozenset({"reason"})),
    FaultKind.SPLIT_PAYMENTS: (frozenset({"parts"}), frozenset()),
    FaultKind.CUT_STREAM: _OF_STREAMS,
    FaultKind.REPEAT_MESSAGE: _OF_STREAMS,
    FaultKind.WITHHOLD_MESSAGE: _OF_STREAMS,
}


def _reason(name: str) -> FailureReason:
    for reason in FailureReason:
        if reason is not FailureReason.NONE and name.upper() in (reason.value, reason.name):
            return reason
    raise InvalidRequest(f"lnd has no payment failure reason {name!r}")


class FaultSwitches:
    """The active switches, and the number of hits that each has left."""

    def __init__(self) -> None:
        self._faults: dict[FaultKind, Fault] = {}
        self._left: dict[FaultKind, int | None] = {}

    def set(self, fault: Fault) -> None:
        """Turn a switch on and replace an earlier one of its kind; NONE clears all."""
        if fault.kind is FaultKind.NONE:
            self._faults.clear()
            self._left.clear()
            return
        self._faults[fault.kind] = fault
        self._left[fault.kind] = fault.count

    def hit(self, kind: FaultKind, path: str, *, message: int = 0) -> Fault | None:
        """Return the switch of that kind if it hits a request for the path, or that message of its stream.

        This counts as one of its hits.
        """
        fault = self._faults.get(kind)
        if fault is None or not path.startswith(fault.path) or fault.message not in (None, message):
            return None
        left = self._left[kind]
        if left is not None:
            if left <= 0:
                return None
            self._left[kind] = left - 1
        return fault

    def active(self) -> list[str]:
        """The active kinds, for display."""
        return [kind.value for kind in self._faults]
