"""The states of a swap, one class each, holding only what is valid in it; and how a journal stores them.

A state says what was decided. Where the money is is observed anew at every step, never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Final, TypeAlias, get_args

from layer2.errors import FormatError

__all__ = [
    "STATE_VERSION",
    "ProviderAgreed",
    "ProviderCollecting",
    "ProviderCompleted",
    "ProviderCounterFunded",
    "ProviderCounterFunding",
    "ProviderHeld",
    "ProviderLocked",
    "ProviderRefunding",
    "ProviderReleased",
    "ProviderReleasing",
    "ProviderState",
    "State",
    "TakerAbandoned",
    "TakerAgreed",
    "TakerCollecting",
    "TakerCompleted",
    "TakerCounterFunded",
    "TakerFunded",
    "TakerFunding",
    "TakerPlanned",
    "TakerRefunded",
    "TakerRefunding",
    "TakerState",
    "read_state",
    "write_state",
]

STATE_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class TakerPlanned:
    """Journaled; nobody has promised anything."""

    name: ClassVar[str] = "planned"
    is_final: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TakerAgreed:
    """Terms are signed and checked; nothing was or is being paid."""

    name: ClassVar[str] = "agreed"
    is_final: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TakerFunding:
    """The intent to fund the source leg is durable; from now on only a fact says that nothing was paid."""

    name: ClassVar[str] = "funding"
    is_final: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TakerFunded:
    """The source leg holds the money (on Lightning: it is in flight)."""

    name: ClassVar[str] = "funded"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None


@dataclass(frozen=True, slots=True)
class TakerCounterFunded:
    """The provider's lock is there at the taker's finality; the preimage was not shown."""

    name: ClassVar[str] = "counter_funded"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class TakerCollecting:
    """The preimage is out, or its showing is durably intended. There is no way back from here."""

    name: ClassVar[str] = "collecting"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    since: int
    """Unix seconds."""
    deadline: int | None
    """Unix seconds by which the destination must be irreversible, or until which the node must stay up."""


@dataclass(frozen=True, slots=True)
class TakerCompleted:
    """The destination's money is the taker's irreversibly."""

    name: ClassVar[str] = "completed"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class TakerAbandoned:
    """Ended without any money locked, and none can be locked any more."""

    name: ClassVar[str] = "abandoned"
    is_final: ClassVar[bool] = True
    reason: str


@dataclass(frozen=True, slots=True)
class TakerRefunding:
    """The source leg's money is on its way back. A preimage that is shown now still leads to collecting."""

    name: ClassVar[str] = "refunding"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class TakerRefunded:
    """The source leg's money is back irreversibly."""

    name: ClassVar[str] = "refunded"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderAgreed:
    """Terms were signed; the taker has to fund."""

    name: ClassVar[str] = "agreed"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None = None
    """A lock that is on the chain and not yet as final as the terms ask: the taker has begun, so the swap binds."""


@dataclass(frozen=True, slots=True)
class ProviderHeld:
    """The taker's payment is accepted and held (source Lightning)."""

    name: ClassVar[str] = "held"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderLocked:
    """The taker's lock is there at the finality of the terms (source on a chain)."""

    name: ClassVar[str] = "locked"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderCounterFunding:
    """*Pay* was chosen, once for ever: the intent to fund the destination is durable."""

    name: ClassVar[str] = "counter_funding"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderCounterFunded:
    """The own lock is there; the taker has to show the preimage."""

    name: ClassVar[str] = "counter_funded"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderCollecting:
    """The preimage is known; the source is being collected until that is irreversible."""

    name: ClassVar[str] = "collecting"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderCompleted:
    """The source's money is the provider's irreversibly."""

    name: ClassVar[str] = "completed"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderRefunding:
    """The taker did not collect; the own lock is taken back. The source stays bound until that is over."""

    name: ClassVar[str] = "refunding"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderReleasing:
    """*Release* was chosen: nothing is paid and nothing will be. Late funding is watched for and given back."""

    name: ClassVar[str] = "releasing"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderReleased:
    """The source's funding is over: nothing of the taker's is held, and nothing can be any more."""

    name: ClassVar[str] = "released"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


TakerState: TypeAlias = (
    TakerPlanned
    | TakerAgreed
    | TakerFunding
    | TakerFunded
    | TakerCounterFunded
    | TakerCollecting
    | TakerCompleted
    | TakerAbandoned
    | TakerRefunding
    | TakerRefunded
)
ProviderState: TypeAlias = (
    ProviderAgreed
    | ProviderHeld
    | ProviderLocked
    | ProviderCounterFunding
    | ProviderCounterFunded
    | ProviderCollecting
    | ProviderCompleted
    | ProviderRefunding
    | ProviderReleasing
    | ProviderReleased
)
State: TypeAlias = TakerState | ProviderState

_CLASSES: Final[dict[tuple[str, str], type[Any]]] = {
    **{("taker", one.name): one for one in get_args(TakerState)},
    **{("provider", one.name): one for one in get_args(ProviderState)},
}
_KEYS: Final = {state: key for key, state in _CLASSES.items()}


def write_state(state: State) -> dict[str, Any]:
    """The state as a JSON object with ``version``, ``role`` and ``state``."""
    role, name = _KEYS[type(state)]
    return {"version": STATE_VERSION, "role": role, "state": name, **asdict(state)}


def read_state(value: Mapping[str, Any]) -> State:
    """The reverse of ``write_state``.

    Raises:
        FormatError: the version, role or state is unknown, or a field is missing, unknown or of another type.
    """
    if value.get("version") != STATE_VERSION:
        raise FormatError(f"state: version {value.get('version')!r} is not {STATE_VERSION}")
    wanted = _CLASSES.get((str(value.get("role")), str(value.get("state"))))
    if wanted is None:
        raise FormatError(f"state: there is no {value.get('role')!r} state {value.get('state')!r}")
    given = {name: content for name, content in value.items() if name not in ("version", "role", "state")}
    if set(given) != {one.name for one in fields(wanted)}:
        raise FormatError(f"state: {value['state']} has other fields than {sorted(given)}")
    for one in fields(wanted):
        if not _fits(given[one.name], str(one.type)):
            raise FormatError(f"state: field {one.name!r} is not {one.type}")
    state: State = wanted(**given)
    return state


def _fits(value: object, annotation: str) -> bool:
    if value is None:
        return annotation.endswith("| None")
    return type(value).__name__ == annotation.removesuffix(" | None")
