"""Layers on the command line: the names of the layers that this version has a client for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter, Token

from layer2.model.layers import LAYERS, Layer2ProtocolType

__all__ = ["LAYER_NAMES", "Destination", "Layer", "Source", "parse_layer"]

LAYER_NAMES: Final = tuple(layer.value.lower() for layer, facts in LAYERS.items() if facts.clients_on)
"""In lower case."""


def parse_layer(text: str) -> Layer2ProtocolType:
    """Read the name of a layer, in upper or lower case.

    Raises:
        ValueError: this version has no client for it; lists the layers that it has clients for.
    """
    name = text.lower().replace("-", "_")
    if name in LAYER_NAMES:
        return Layer2ProtocolType[name.upper()]
    close = difflib.get_close_matches(name, LAYER_NAMES, n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"use one of {', '.join(LAYER_NAMES)}"
    raise ValueError(f"{text!r} is not a layer that this version has a client for; {hint}")


def _convert(_: object, tokens: Sequence[Token]) -> Layer2ProtocolType:
    return parse_layer(tokens[0].value)


_METAVAR: Final = "|".join(LAYER_NAMES)
Source: TypeAlias = Annotated[
    Layer2ProtocolType, Parameter(name="--from", converter=_convert, n_tokens=1, metavar=_METAVAR, show_choices=False)
]
"""The layer that pays."""
Destination: TypeAlias = Annotated[
    Layer2ProtocolType, Parameter(name="--to", converter=_convert, n_tokens=1, metavar=_METAVAR, show_choices=False)
]
"""The layer that receives."""
Layer: TypeAlias = Annotated[
    Layer2ProtocolType, Parameter(converter=_convert, n_tokens=1, metavar=_METAVAR, show_choices=False)
]
"""Any layer."""
