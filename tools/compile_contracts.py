"""Compile the contracts of ``src/layer2/contracts`` into artefacts in the same directory.

Run by ``make contracts``; needs the pinned Vyper of the development requirements. The bytes of an artefact determine
the contract's address on every chain, so changed bytes are a new contract. With ``--check`` it writes nothing, and the
exit status is 1 if an artefact differs from the compiled source.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import vyper  # type: ignore[import-untyped]  # the compiler ships no types
from vyper.compiler import compile_code  # type: ignore[import-untyped]  # as above

CONTRACTS = Path(__file__).resolve().parent.parent / "src" / "layer2" / "contracts"
NAMES = ("htlc", "test_token")


def artefact_path(name: str) -> Path:
    """The path of a contract's artefact."""
    return CONTRACTS / f"{name}.json"


def compile_artefact(name: str) -> str:
    """Compile one contract and return the text of its artefact.

    The code has no compiler metadata, because a hash of the source's comments would then change the address.
    """
    source = (CONTRACTS / f"{name}.vy").read_bytes()
    compiled: dict[str, Any] = compile_code(
        source.decode(),
        contract_path=f"{name}.vy",
        output_formats=["abi", "bytecode", "bytecode_runtime", "settings_dict"],
        no_bytecode_metadata=True,
    )
    settings = compiled["settings_dict"]
    artefact = {
        "source": f"{name}.vy",
        "source_sha256": hashlib.sha256(source).hexdigest(),
        "compiler": f"vyper {vyper.__version__}+commit.{vyper.__commit__}",
        "evm_version": settings["evm_version"],
        "optimize": settings["optimize"],
        "bytecode_metadata": False,
        "init_code": compiled["bytecode"],
        "runtime_code": compiled["bytecode_runtime"],
        "abi": compiled["abi"],
    }
    return json.dumps(artefact, indent=1) + "\n"


def main() -> int:
    """Write the artefacts, or compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if an artefact differs")
    check = parser.parse_args().check
    differing = []
    for name in NAMES:
        artefact = compile_artefact(name)
        path = artefact_path(name)
        if check:
            if not path.is_file() or path.read_text() != artefact:
                differing.append(path.name)
        else:
            path.write_text(artefact)
            print(f"wrote {path.name}")
    if differing:
        print("different from the compiled source: " + ", ".join(differing), file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
