"""Compiled contracts, which are stored beside their sources in this package."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Literal

__all__ = ["Artefact", "load_artefact"]


@dataclass(frozen=True, slots=True)
class Artefact:
    """A contract's code, its source, and its compiler."""

    init_code: bytes = field(repr=False)
    """The code that creates the contract. It takes no arguments."""
    runtime_code: bytes = field(repr=False)
    """The code at the contract's address after the creation."""
    source_sha256: str
    """sha256 of the Vyper source, 64 hex digits."""
    compiler: str
    evm_version: str


@cache
def load_artefact(name: Literal["htlc", "test_token"]) -> Artefact:
    """Read an artefact from the package, once.

    Args:
        name: the contract's file name without extension.

    A chain may have other code at the address: compare it with the node's answer.
    """
    text = resources.files("layer2.contracts").joinpath(f"{name}.json").read_text(encoding="utf-8")
    fields = json.loads(text)
    return Artefact(
        init_code=bytes.fromhex(fields["init_code"].removeprefix("0x")),
        runtime_code=bytes.fromhex(fields["runtime_code"].removeprefix("0x")),
        source_sha256=fields["source_sha256"],
        compiler=fields["compiler"],
        evm_version=fields["evm_version"],
    )
