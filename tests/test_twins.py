"""Every public async method has a blocking twin on the same object, with the same parameters."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from layer2.aio.blocking import Portal
from layer2.manager import Layer2Manager
from layer2.ports.client import Layer2ProtocolAsync
from layer2.ports.legs import HtlcLayer
from layer2.protocols.bitcoin import BitcoinClient
from layer2.protocols.bob import BobClient
from layer2.protocols.lightning import LightningNetwork
from layer2.protocols.rootstock import RootstockClient
from layer2.testing import (
    MockBitcoinClient,
    MockBobClient,
    MockLayer2Manager,
    MockLayer2Protocol,
    MockLightningNetwork,
)

CLASSES: tuple[type[Any], ...] = (
    Layer2Manager,
    Layer2ProtocolAsync,
    BobClient,
    RootstockClient,
    LightningNetwork,
    BitcoinClient,
    MockLayer2Protocol,
    MockBobClient,
    MockBitcoinClient,
    MockLightningNetwork,
    MockLayer2Manager,
)
WITHOUT_TWIN = {
    # Leaving the block closes the object, and the manager checks proofs.
    "aclose",
    "confirm_evidence",
}


def is_asynchronous(method: object) -> bool:
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


def public_async_methods(owner: type[Any]) -> list[str]:
    return [
        name
        for name in dir(owner)
        if not name.startswith("_") and name not in WITHOUT_TWIN and is_asynchronous(getattr(owner, name))
    ]


def twin_name(name: str) -> str:
    return name.removesuffix("_async") + "_sync"


PAIRS = [
    pytest.param(owner, name, id=f"{owner.__name__}.{name}")
    for owner in CLASSES
    for name in public_async_methods(owner)
]


def parameters(method: object) -> list[tuple[str, object, object]]:
    assert callable(method)
    return [(each.name, each.kind, each.default) for each in inspect.signature(method).parameters.values()]


def arguments_of(method: object) -> tuple[list[object], dict[str, object]]:
    """One distinct object for every parameter except ``self``."""
    assert callable(method)
    _, *wanted = inspect.signature(method).parameters.values()
    positional = [object() for each in wanted if each.kind is each.POSITIONAL_OR_KEYWORD]
    return positional, {each.name: object() for each in wanted if each.kind is each.KEYWORD_ONLY}


@pytest.fixture
def portal() -> Iterator[Portal]:
    made = Portal.with_own_thread()
    yield made
    made.close()


def test_there_are_pairs_in_every_class() -> None:
    assert {owner: len(public_async_methods(owner)) >= 8 for owner in CLASSES} == dict.fromkeys(CLASSES, True)


@pytest.mark.parametrize(("owner", "name"), PAIRS)
def test_an_async_method_has_a_twin_with_the_same_parameters(owner: type[Any], name: str) -> None:
    method, twin = getattr(owner, name), getattr(owner, twin_name(name), None)
    assert twin is not None, f"{owner.__name__}.{name} has no twin"
    assert not is_asynchronous(twin)
    assert parameters(twin) == parameters(method)


@pytest.mark.parametrize(("owner", "name"), PAIRS)
def test_where_the_twin_is_defined_both_have_the_same_annotations(owner: type[Any], name: str) -> None:
    home = next(each for each in owner.__mro__ if twin_name(name) in vars(each))
    method, twin = vars(home)[name], vars(home)[twin_name(name)]
    expected = inspect.signature(method)
    result = str(expected.return_annotation).replace("AsyncIterator[", "Iterator[")
    assert inspect.signature(twin) == expected.replace(return_annotation=result)


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_a_twin_has_an_async_method(owner: type[Any]) -> None:
    twins = {name for name in dir(owner) if name.endswith("_sync") and not name.startswith("_")}
    assert twins == {twin_name(name) for name in public_async_methods(owner)}


@pytest.mark.parametrize(("owner", "name"), PAIRS)
def test_overriding_the_async_method_changes_the_twin(owner: type[Any], name: str, portal: Portal) -> None:
    received: list[object] = []

    async def answer(self: object, *args: object, **kwargs: object) -> str:
        received.append((list(args), kwargs))
        return "mine"

    async def items(self: object, *args: object, **kwargs: object) -> AsyncIterator[str]:
        received.append((list(args), kwargs))
        yield "mine"

    is_iterator = inspect.isasyncgenfunction(getattr(owner, name))
    changed = type("Changed", (owner,), {name: items if is_iterator else answer, "blocking_portal": lambda _: portal})
    # The test uses no attributes, so the object does not need ``__init__``.
    instance = object.__new__(_complete(changed))
    positional, named = arguments_of(getattr(owner, name))
    result = getattr(instance, twin_name(name))(*positional, **named)
    assert (list(result) if is_iterator else [result]) == ["mine"]
    assert received == [(positional, named)]


def _complete(owner: type[Any]) -> type[Any]:
    """Make an abstract class instantiable."""
    owner.__abstractmethods__ = frozenset()
    return owner


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_users_see_no_method_of_the_swap_engine_on_a_client(owner: type[Any]) -> None:
    assert {name for name in vars(HtlcLayer) if not name.startswith("_") and hasattr(owner, name)} == set()
