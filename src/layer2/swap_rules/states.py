"""The states of a swap, one class each, holding only what is valid in it; and how a journal stores them.

A state is what was decided. Where the money is, is observed again at every step and never stored.
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
    "ProviderLost",
    "ProviderRefunding",
    "ProviderReleased",
    "ProviderReleasing",
    "ProviderState",
    "State",
    "TakerAbandoned",
    "TakerAgreed",
    "TakerCollecting",
    "TakerCompleted",
    "TakerFunded",
    "TakerFunding",
    "TakerLost",
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
    """Journaled; nothing is agreed yet."""

    name: ClassVar[str] = "planned"
    is_final: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TakerAgreed:
    """Terms are signed and checked; nothing was or is being paid."""

    name: ClassVar[str] = "agreed"
    is_final: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TakerFunding:
    """The intent to fund the source is durable; from now on only a fact shows that nothing was paid."""

    name: ClassVar[str] = "funding"
    is_final: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TakerFunded:
    """The source holds the money. The provider has to fund the destination."""

    name: ClassVar[str] = "funded"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None


@dataclass(frozen=True, slots=True)
class TakerCollecting:
    """The preimage is out, or its showing is durably intended. Collecting goes on until the end is final."""

    name: ClassVar[str] = "collecting"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    has_arrived: bool
    """The destination is collected at the finality of the terms: usable, and not yet final."""
    final_at: int | None
    """Unix seconds at which what has arrived becomes final, as an estimate."""


@dataclass(frozen=True, slots=True)
class TakerCompleted:
    """The destination's money is the taker's for good."""

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
    """The source's money is on its way back, and the preimage is not shown any more."""

    name: ClassVar[str] = "refunding"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class TakerRefunded:
    """The source's money is back for good."""

    name: ClassVar[str] = "refunded"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class TakerLost:
    """The provider collected the source for good, and the destination's money went back to it for good."""

    name: ClassVar[str] = "lost"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderAgreed:
    """Terms were signed; the taker has to fund."""

    name: ClassVar[str] = "agreed"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None = None
    """A funding that is seen, settled or not: the taker has begun, so the swap binds."""


@dataclass(frozen=True, slots=True)
class ProviderCounterFunding:
    """*Pay* was chosen, permanently: the intent to fund the destination is durable."""

    name: ClassVar[str] = "counter_funding"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderCounterFunded:
    """The provider's money is in the destination; the taker has to show the preimage."""

    name: ClassVar[str] = "counter_funded"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderCollecting:
    """The destination was collected: the source is collected until that is final."""

    name: ClassVar[str] = "collecting"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    has_arrived: bool
    """The source is collected at the finality of the terms: usable, and not yet final."""


@dataclass(frozen=True, slots=True)
class ProviderCompleted:
    """The source's money is the provider's for good."""

    name: ClassVar[str] = "completed"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderRefunding:
    """The taker did not collect; the destination's money is taken back. The source stays bound until that is over."""

    name: ClassVar[str] = "refunding"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderReleasing:
    """*Release* was chosen: nothing is paid and nothing will be, and nothing is collected."""

    name: ClassVar[str] = "releasing"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderReleased:
    """Nothing of either side is bound here. A funding that comes late is still given back."""

    name: ClassVar[str] = "released"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderLost:
    """The destination was collected, and the source's money went back to the taker for good."""

    name: ClassVar[str] = "lost"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


TakerState: TypeAlias = (
    TakerPlanned
    | TakerAgreed
    | TakerFunding
    | TakerFunded
    | TakerCollecting
    | TakerCompleted
    | TakerAbandoned
    | TakerRefunding
    | TakerRefunded
    | TakerLost
)
ProviderState: TypeAlias = (
    ProviderAgreed
    | ProviderCounterFunding
    | ProviderCounterFunded
    | ProviderCollecting
    | ProviderCompleted
    | ProviderRefunding
    | ProviderReleasing
    | ProviderReleased
    | ProviderLost
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
