"""The rules for the values of settings. They hold for settings made in Python and for those loaded from a file.

A rule is metadata of a field: ``max_connections: Annotated[int, between(1, 1000)] = 16``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar, Final, TypeAlias, get_args, get_type_hints

from layer2.errors import ConfigurationError

__all__ = ["CheckedSettings", "Rule", "address_of", "at_least", "between", "one_of", "positive"]

Rule: TypeAlias = Callable[[object], None]
"""Raises ``ValueError`` with a message such as ``must be at least 1``. If the field allows None, it is not called with
None."""


_RULES: Final[dict[type, tuple[tuple[str, Rule], ...]]] = {}
"""The rules of each class of which there are settings, with the names of the fields."""


class CheckedSettings:
    """A base of frozen dataclasses whose fields have rules.

    Raises:
        ConfigurationError: a value breaks a rule. The message names the field and never repeats the value.
    """

    __slots__ = ()
    __pydantic_config__: ClassVar[Mapping[str, object]] = MappingProxyType({"extra": "forbid", "allow_inf_nan": False})
    """How a file's table is read: it has no unknown key."""

    def __post_init__(self) -> None:
        kind = type(self)
        if kind not in _RULES:
            _RULES[kind] = tuple(_rules_of(kind))
        for name, rule in _RULES[kind]:
            try:
                rule(getattr(self, name))
            except ValueError as error:
                raise ConfigurationError(f'"{name}": {error}', code="wrong_value") from None


def _rules_of(kind: type) -> Iterator[tuple[str, Rule]]:
    for name, hint in get_type_hints(kind, include_extras=True).items():
        for rule in getattr(hint, "__metadata__", ()):
            yield name, _or_none(rule) if type(None) in get_args(hint.__origin__) else rule


def _or_none(rule: Rule) -> Rule:
    return lambda value: None if value is None else rule(value)


def at_least(least: float) -> Rule:
    """The value is a number that is not below ``least``."""
    return between(least, None)


def between(least: float, most: float | None) -> Rule:
    """The value is a number from ``least`` to ``most``. Without ``most`` it has no upper limit."""
    allowed = f"at least {least}" if most is None else f"from {least} to {most}"

    def rule(value: object) -> None:
        if not isinstance(value, int | float) or not least <= value or (most is not None and value > most):
            raise ValueError(f"must be {allowed}")

    return rule


def positive(value: object) -> None:
    """The rule that the value is a number above 0."""
    if not isinstance(value, int | float) or not value > 0:
        raise ValueError("must be above 0")


def one_of(*texts: str) -> Rule:
    """The value is one of these texts."""

    def rule(value: object) -> None:
        if value not in texts:
            raise ValueError(f"must be one of {', '.join(texts)}")

    return rule


def address_of(*schemes: str) -> Rule:
    """The value is an address with one of these schemes, or a tuple of such addresses."""
    begins = tuple([f"{scheme}://" for scheme in schemes])

    def rule(value: object) -> None:
        for each in value if isinstance(value, tuple) else (value,):
            if not isinstance(each, str) or not each.startswith(begins) or each in begins:
                raise ValueError(f"must be an address that begins with {' or '.join(begins)}")

    return rule
