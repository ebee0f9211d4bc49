"""The states of a swap, one class each with only its valid data, and their stored form.

A state is a decision. The location of the money is observed again at every step and never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar, Final, TypeAlias, get_args

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


class _Open:
    __slots__ = ()
    is_final: ClassVar[bool] = False


class _Final:
    __slots__ = ()
    is_final: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class TakerPlanned(_Open):
    """In the journal; nothing is agreed yet."""

    name: ClassVar[str] = "planned"


@dataclass(frozen=True, slots=True)
class TakerAgreed(_Open):
    """Terms are signed and checked; no payment was started."""

    name: ClassVar[str] = "agreed"


@dataclass(frozen=True, slots=True)
class TakerFunding(_Open):
    """The intent to fund the source is durable. From now on, only an observation can show that nothing was paid."""

    name: ClassVar[str] = "funding"


@dataclass(frozen=True, slots=True)
class TakerFunded(_Open):
    """The source holds the money. The provider has to fund the destination."""

    name: ClassVar[str] = "funded"
    source_tx_id: str | None


@dataclass(frozen=True, slots=True)
class TakerCollecting(_Open):
    """The preimage is revealed, or the intent to reveal it is durable. Collecting continues until the end is final."""

    name: ClassVar[str] = "collecting"
    source_tx_id: str | None
    destination_tx_id: str | None
    has_arrived: bool
    """The destination is collected at the finality of the terms: usable, but not final yet."""
    final_at: int | None
    """Estimated unix seconds at which what has arrived becomes final."""


@dataclass(frozen=True, slots=True)
class TakerCompleted(_Final):
    """The taker's claim of the destination is final."""

    name: ClassVar[str] = "completed"
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class TakerAbandoned(_Final):
    """Ended without any money locked. None can be locked later, unless others fund the source: a late payment reopens
    the swap, which refunds it."""

    name: ClassVar[str] = "abandoned"
    reason: str


@dataclass(frozen=True, slots=True)
class TakerRefunding(_Open):
    """The source is being refunded, and the taker no longer reveals the preimage."""

    name: ClassVar[str] = "refunding"
    source_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class TakerRefunded(_Final):
    """The refund of the source is final."""

    name: ClassVar[str] = "refunded"
    source_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class TakerLost(_Final):
    """The provider's claim of the source and the refund of the destination to the provider are both final."""

    name: ClassVar[str] = "lost"
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderAgreed(_Open):
    """Terms were signed; the taker has to fund."""

    name: ClassVar[str] = "agreed"
    source_tx_id: str | None = None
    """A visible funding, settled or not: the taker has begun, so the swap is binding."""


@dataclass(frozen=True, slots=True)
class ProviderCounterFunding(_Open):
    """The provider has decided to pay, permanently: the intent to fund the destination is durable."""

    name: ClassVar[str] = "counter_funding"
    source_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderCounterFunded(_Open):
    """The provider's money is in the destination; the taker has to reveal the preimage."""

    name: ClassVar[str] = "counter_funded"
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderCollecting(_Open):
    """The destination was collected. The provider collects the source until its claim is final."""

    name: ClassVar[str] = "collecting"
    source_tx_id: str | None
    destination_tx_id: str | None
    has_arrived: bool
    """The source is collected at the finality of the terms: usable, but not final yet."""


@dataclass(frozen=True, slots=True)
class ProviderCompleted(_Final):
    """The provider's claim of the source is final."""

    name: ClassVar[str] = "completed"
    source_tx_id: str | None
    destination_tx_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderRefunding(_Open):
    """The taker did not collect, and the provider refunds the destination. The source stays locked until the refund is
    final."""

    name: ClassVar[str] = "refunding"
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderReleasing(_Open):
    """The provider has decided to release: it pays nothing, now or later, and collects nothing."""

    name: ClassVar[str] = "releasing"
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderReleased(_Final):
    """No money of either side is locked. A late funding is still returned."""

    name: ClassVar[str] = "released"
    source_tx_id: str | None
    destination_tx_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderLost(_Final):
    """The destination was collected, and the refund of the source to the taker is final."""

    name: ClassVar[str] = "lost"
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

_CLASSES: Final[dict[tuple[str, str], type[State]]] = {
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
    return _made(wanted, given)


def _made(make: Callable[..., State], values: Mapping[str, object]) -> State:
    return make(**values)


def _fits(value: object, annotation: str) -> bool:
    if value is None:
        return annotation.endswith("| None")
    return type(value).__name__ == annotation.removesuffix(" | None")
