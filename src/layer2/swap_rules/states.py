"""The states of a swap, one class each with only its valid data, and their stored form.

A state is a decision. The location of the money is observed again at every step and never stored.
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
    """In the journal; nothing is agreed yet."""

    name: ClassVar[str] = "planned"
    is_final: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TakerAgreed:
    """Terms are signed and checked; no payment was started."""

    name: ClassVar[str] = "agreed"
    is_final: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TakerFunding:
    """The intent to fund the source is durable. From now on, only an observation can show that nothing was paid."""

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
    """The preimage is revealed, or the intent to reveal it is durable. Collecting continues until the end is final."""

    name: ClassVar[str] = "collecting"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    has_arrived: bool
    """The destination is collected at the finality of the terms: usable, but not final yet."""
    final_at: int | None
    """Estimated unix seconds at which what has arrived becomes final."""


@dataclass(frozen=True, slots=True)
class TakerCompleted:
    """The taker's claim of the destination is final."""

    name: ClassVar[str] = "completed"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class TakerAbandoned:
    """Ended without any money locked, and none can be locked later."""

    name: ClassVar[str] = "abandoned"
    is_final: ClassVar[bool] = True
    reason: str


@dataclass(frozen=True, slots=True)
class TakerRefunding:
    """The source is being refunded, and the taker no longer reveals the preimage."""

    name: ClassVar[str] = "refunding"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class TakerRefunded:
    """The refund of the source is final."""

    name: ClassVar[str] = "refunded"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class TakerLost:
    """The provider's claim of the source and the refund of the destination to the provider are both final."""

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
    """A visible funding, settled or not: the taker has begun, so the swap is binding."""


@dataclass(frozen=True, slots=True)
class ProviderCounterFunding:
    """The provider has decided to pay, permanently: the intent to fund the destination is durable."""

    name: ClassVar[str] = "counter_funding"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderCounterFunded:
    """The provider's money is in the destination; the taker has to reveal the preimage."""

    name: ClassVar[str] = "counter_funded"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderCollecting:
    """The destination was collected. The provider collects the source until its claim is final."""

    name: ClassVar[str] = "collecting"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    has_arrived: bool
    """The source is collected at the finality of the terms: usable, but not final yet."""


@dataclass(frozen=True, slots=True)
class ProviderCompleted:
    """The provider's claim of the source is final."""

    name: ClassVar[str] = "completed"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderRefunding:
    """The taker did not collect, and the provider refunds the destination. The source stays locked until the refund is
    final."""

    name: ClassVar[str] = "refunding"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderReleasing:
    """The provider has decided to release: it pays nothing, now or later, and collects nothing."""

    name: ClassVar[str] = "releasing"
    is_final: ClassVar[bool] = False
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderReleased:
    """No money of either side is locked. A late funding is still returned."""

    name: ClassVar[str] = "released"
    is_final: ClassVar[bool] = True
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderLost:
    """The destination was collected, and the refund of the source to the taker is final."""

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


def write_state(state: State) -> dict[str, object]:
    """The state as a JSON object with ``version``, ``role`` and ``state``."""
    role, name = _KEYS[type(state)]
    return {"version": STATE_VERSION, "role": role, "state": name, **asdict(state)}


def read_state(value: Mapping[str, object]) -> State:
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
