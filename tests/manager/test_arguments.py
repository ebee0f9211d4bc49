"""Wrong types and values at the public calls of a manager: a typed error with a remedy, before any request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from layer2 import BTC, Layer2Config, Layer2Manager
from layer2.errors import ConfigurationError, InvalidAmount, InvalidRequest, Layer2Error, UnknownAsset
from layer2.terms.transfers import TransferState
from manager.fakes import BOB, ROOTSTOCK
from manager.test_manager import Parts, parts
from proofs import made_proofs as made

__all__ = ["parts"]

# Programs without a type checker pass such values.
Call = Callable[[Any], Coroutine[Any, Any, object]]


@pytest.fixture
async def layers(parts: Parts) -> AsyncIterator[Any]:
    async with parts.manager() as manager:
        yield manager


async def refused(call: Coroutine[Any, Any, object]) -> Layer2Error:
    with pytest.raises(Layer2Error) as caught:
        await call
    return caught.value


QUOTES: dict[str, tuple[dict[str, Any], type[Layer2Error]]] = {
    "asset as text": ({"asset_id": "BTC"}, UnknownAsset),
    "amount as text": ({"amount": "100000"}, InvalidAmount),
    "amount as float": ({"amount": 100_000.0}, InvalidAmount),
    "amount as bool": ({"amount": True}, InvalidAmount),
    "send amount as float": ({"amount": None, "send_amount": 1e5}, InvalidAmount),
    "source as text": ({"source_protocol": "BOB"}, InvalidRequest),
    "destination as text": ({"destination_protocol": "LIGHTNING"}, InvalidRequest),
    "destination missing": ({"destination_protocol": None}, InvalidRequest),
    "maximum fee as text": ({"max_fee": "1000"}, InvalidRequest),
    "maximum fee as float": ({"max_fee": 1000.0}, InvalidRequest),
    "maximum fee as bool": ({"max_fee": True}, InvalidRequest),
    "recipient as number": ({"recipient": 1}, InvalidRequest),
    "recipient as bytes": ({"recipient": b"lnbcrt1"}, InvalidRequest),
    "timeout as text": ({"timeout": "30"}, InvalidRequest),
    "timeout as bool": ({"timeout": True}, InvalidRequest),
    "negative timeout": ({"timeout": -1}, InvalidRequest),
    "timeout that is no number": ({"timeout": float("nan")}, InvalidRequest),
}


@pytest.mark.parametrize("case", QUOTES)
async def test_a_request_with_a_wrong_type_is_refused_before_any_provider_is_asked(
    parts: Parts, layers: Any, case: str
) -> None:
    changes, kind = QUOTES[case]
    request = {"asset_id": BTC, "amount": 100_000, "source_protocol": BOB, "destination_protocol": ROOTSTOCK}
    error = await refused(layers.quote_transfer_async(**(request | {"max_fee": 1_000} | changes)))
    assert type(error) is kind
    assert error.remedy
    assert parts.provider.quoted == []


CALLS: dict[str, tuple[Call, str]] = {
    "start from text": (lambda layers: layers.start_transfer_async("quote"), "quote"),
    "start from nothing": (lambda layers: layers.start_transfer_async(None), "quote"),
    "id as number": (lambda layers: layers.get_transfer_async(1), "transfer_id"),
    "wait for a number": (lambda layers: layers.wait_for_transfer_async(1), "transfer_id"),
    "events of nothing": (lambda layers: anext(layers.transfer_events(None)), "transfer_id"),
    "until as text": (lambda layers: layers.wait_for_transfer_async("00" * 16, until="completed"), "until"),
    "until another state": (
        lambda layers: layers.wait_for_transfer_async("00" * 16, until=TransferState.FUNDED),
        "until",
    ),
    "wait with a text": (lambda layers: layers.wait_for_transfer_async("00" * 16, timeout="1"), "timeout"),
    "list with a text": (lambda layers: layers.list_transfers_async(timeout="1"), "timeout"),
    "initialize with a text": (lambda layers: layers.initialize_all_async(timeout="1"), "timeout"),
    "key as number": (lambda layers: layers.get_transfer_by_key_async(1), "idempotency_key"),
    "key that is not Unicode": (lambda layers: layers.get_transfer_by_key_async("a\ud800"), "idempotency_key"),
    "key with a control character": (lambda layers: layers.get_transfer_by_key_async("a\x00b"), "idempotency_key"),
    "layer as text": (lambda layers: layers.get_protocol_async("BOB"), "protocol"),
    "proof as bytes": (lambda layers: layers.verify_cross_layer_proof_async(b"{}"), "proof"),
    "proof as path": (lambda layers: layers.check_transfer_proof_async(Path("transfer.json")), "proof"),
    "proof as text": (lambda layers: layers.answer_holder_challenge_async("{}", None), "proof"),
    "challenge as bytes": (
        lambda layers: layers.answer_holder_challenge_async(made.to_lightning(), b"{}"),
        "challenge",
    ),
}


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.filterwarnings("error::RuntimeWarning")
async def test_a_call_with_a_wrong_type_is_refused_with_a_remedy(layers: Any, case: str) -> None:
    call, code = CALLS[case]
    error = await refused(call(layers))
    assert (type(error), error.code) == (InvalidRequest, code)
    assert error.remedy


@pytest.mark.parametrize("config", [None, "layer2.toml", {}], ids=["nothing", "text", "dict"])
def test_a_manager_is_made_from_a_configuration_only(config: Any) -> None:
    with pytest.raises(ConfigurationError, match="needs a Layer2Config") as wrong:
        Layer2Manager(config)
    assert "Layer2Config.load" in (wrong.value.remedy or "")


@pytest.mark.parametrize("path", [5, b"layer2.toml"])
def test_a_configuration_is_loaded_from_a_path_only(path: Any) -> None:
    with pytest.raises(ConfigurationError, match="is loaded from a path") as wrong:
        Layer2Config.load(path)
    assert wrong.value.remedy
