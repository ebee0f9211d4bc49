"""Fixtures of the contract tests. Chains are built once and forked for each test."""

from __future__ import annotations

from functools import cache

import pytest
from eth.vm.base import VM
from eth.vm.forks.cancun import CancunVM
from eth.vm.forks.paris import ParisVM
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.shanghai import ShanghaiVM

from contracts.world import World
from layer2.contracts.htlc import NATIVE_COIN
from layer2.contracts.test_token import TEST_TOKEN_ADDRESS


@cache
def _world(rules: type[VM], chain_id: int) -> World:
    return World.begin(rules, chain_id)


@pytest.fixture
def world() -> World:
    """A chain with Prague's rules, which BOB has since Isthmus."""
    return _world(PragueVM, 60808).fork()


@pytest.fixture(params=[ParisVM, ShanghaiVM, CancunVM, PragueVM], ids=lambda vm: vm.fork)
def world_of_each_fork(request: pytest.FixtureRequest) -> World:
    return _world(request.param, 60808).fork()


@pytest.fixture
def world_of_another_chain() -> World:
    return _world(PragueVM, 808813).fork()


@pytest.fixture(params=[NATIVE_COIN, TEST_TOKEN_ADDRESS], ids=["native", "erc20"])
def asset(request: pytest.FixtureRequest) -> bytes:
    """The zero address for the native coin, or the test token."""
    token: bytes = request.param
    return token
