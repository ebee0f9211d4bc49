"""The core uses a leg's abilities: its machines, engine, manager, provider and proof checker do not name a layer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import layer2
from layer2.legs.kinds import KINDS
from layer2.model.layers import LAYERS, Layer2ProtocolType

ROOT = Path(layer2.__file__).parent
CORE = ("swap_rules", "swap_engine", "manager", "provider", "proofs")
EXCEPTIONS = {"manager/protocols.py"}
"""The typed overloads of ``get_protocol_async``. The composition root, ``assembly.py``, is outside the core."""

KIND_NAMES = {kind.__name__ for kinds in KINDS.values() for kind in kinds}
CLIENT_NAMES = {"BobClient", "RootstockClient", "LightningNetwork", "EvmClient", "BitcoinClient"}
LAYER_NAMES = {layer.name for layer in Layer2ProtocolType}
TEXTS = {layer.value for layer in Layer2ProtocolType} | set(KINDS) | {facts.kind for facts in LAYERS.values()}
MODULES = re.compile(r"layer2\.(protocols\b|legs\.(evm|lightning|bitcoin|rootstock|receipts)(_\w+)?$)")


def sources() -> list[str]:
    return [
        name
        for folder in CORE
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (name := path.relative_to(ROOT).as_posix()) not in EXCEPTIONS
    ]


def named(source: str) -> Iterator[str]:
    """The layers and kinds that code names; docstrings do not count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) if name in KIND_NAMES | CLIENT_NAMES:
                yield f"line {node.lineno}: {name}"
            case ast.Attribute(value=ast.Name(id="Layer2ProtocolType"), attr=name) if name in LAYER_NAMES:
                yield f"line {node.lineno}: Layer2ProtocolType.{name}"
            case ast.Constant(value=str() as text) if text in TEXTS:
                yield f"line {node.lineno}: {text!r}"
            case ast.ImportFrom(module=str() as module) if MODULES.match(module):
                yield f"line {node.lineno}: {module}"
            case ast.ImportFrom() | ast.Import():
                yield from (
                    f"line {node.lineno}: {alias.name}"
                    for alias in node.names
                    if alias.name in KIND_NAMES | CLIENT_NAMES or MODULES.match(alias.name)
                )


@pytest.mark.parametrize("name", sources())
def test_the_core_names_no_layer_and_no_kind_of_leg(name: str) -> None:
    assert list(named((ROOT / name).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "from layer2.legs.evm import EvmLeg",
        "from layer2.protocols.bob import BobClient",
        "import layer2.protocols.lightning",
        "isinstance(leg, LightningLeg)",
        "layer is Layer2ProtocolType.BOB",
        "layers['LIGHTNING']",
        "leg.kind == 'bitcoin'",
    ],
)
def test_a_name_in_code_is_found(code: str) -> None:
    assert list(named(code))


def test_a_name_in_a_docstring_is_not_a_name_in_code() -> None:
    assert list(named('"""A lock on BOB, as EvmLeg."""')) == []
