"""The names of ``import layer2``, and the modules that it must not load."""

from __future__ import annotations

import subprocess
import sys

import layer2


def loaded_after(code: str) -> set[str]:
    """The names in ``sys.modules`` of a fresh interpreter that ran the code."""
    program = f"import sys\n{code}\nprint(*sys.modules)"
    # Coverage must not start in the child: it would load modules of its own.
    finished = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    return set(finished.stdout.split())


def test_every_exported_name_exists_and_is_listed() -> None:
    assert set(layer2.__all__) == {name for names in layer2._HOMES.values() for name in names}
    assert [name for name in layer2.__all__ if getattr(layer2, name, None) is None] == []
    assert set(layer2.__all__) <= set(dir(layer2))


def test_import_layer2_is_lazy() -> None:
    modules = loaded_after("import layer2")
    assert not modules & {"asyncio", "aiohttp", "pydantic", "sqlalchemy", "coincurve", "orjson"}
    assert {name for name in modules if name.startswith("layer2.")} == set()


def test_proofs_load_no_network_database_or_settings_library() -> None:
    modules = loaded_after("import layer2.proofs.check, layer2.proofs.model, layer2.proofs.policy")
    forbidden = {"aiohttp", "sqlalchemy", "pydantic", "orjson", "asyncio", "rich", "cyclopts", "alembic"}
    assert not modules & forbidden


def test_the_manager_loads_no_simulated_network_no_provider_and_no_command_line() -> None:
    modules = loaded_after("from layer2 import Layer2Manager")
    assert not modules & {"eth", "fastapi", "uvicorn", "rich", "cyclopts", "layer2.local.simnet", "layer2.provider"}
