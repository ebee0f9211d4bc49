"""The targets of ``make fuzz``, without atheris: each accepts its seeds and handles small changes of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def _targets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_targets", Path(__file__).parents[1] / "fuzz" / "targets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their module.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TARGETS = _targets().TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_of_a_target_are_valid_and_differ(name: str) -> None:
    target = TARGETS[name]
    assert len(set(target.seeds)) == len(target.seeds) > 0
    for seed in target.seeds:
        assert 0 < len(seed) <= target.longest
        assert target.check(seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_target_takes_any_bytes(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    seed = data.draw(st.one_of(st.just(b""), st.sampled_from(target.seeds)))
    start = data.draw(st.integers(0, len(seed)))
    stop = data.draw(st.integers(start, len(seed)))
    target.check(seed[:start] + data.draw(st.binary(max_size=20)) + seed[stop:])
