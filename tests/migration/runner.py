"""Runs programs of the migration guide, each in its own directory, and prints what each did as one JSON object.

It runs in the environment of the programs. One process runs many programs, because most of a program's time is the
import of libraries. Usage: ``runner.py PROGRAM=DIRECTORY ...``. A ``.py`` file with an ``app`` is used as a web
service, any other ``.py`` file is run, and a ``.txt`` file holds the cells of a notebook.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CELL_MARK = "\n# %%\n"


def run(program: Path) -> str:
    """Run a program or a notebook; return what it prints, or what the customers of a service see."""
    if program.suffix == ".txt":
        return run_notebook(program)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        spec = importlib.util.spec_from_file_location(program.stem, program)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Django looks for the URLs of a project in a module by its name.
        sys.modules[program.stem] = module
        spec.loader.exec_module(module)
        if not hasattr(module, "main"):
            with client_of(module.app) as client:
                return json.dumps(use(client))
        finished = module.main()
        if inspect.iscoroutine(finished):
            import asyncio

            asyncio.run(finished)
    return output.getvalue()


def run_notebook(file: Path) -> str:
    """Execute the cells of a notebook as Jupyter does."""
    import nbformat  # type: ignore[import-not-found]  # only in the environment of the programs
    from nbclient import NotebookClient  # type: ignore[import-not-found]  # as above

    cells = [nbformat.v4.new_code_cell(text) for text in file.read_text().split(CELL_MARK)]
    NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=60, kernel_name="python3").execute()
    return "".join(output.get("text", "") for cell in cells for output in cell.outputs)


@contextlib.contextmanager
def client_of(app: Any) -> Iterator[Any]:
    """An HTTP client of an ASGI or WSGI application, in this process."""
    import httpx
    from starlette.testclient import TestClient

    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        with TestClient(app) as client:
            yield client
    else:
        with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://testserver") as client:
            yield client


def use(client: Any) -> dict[str, object]:
    """Order a payout twice, and wait until it is made."""
    payout = {"order": "7", "satoshi": 20_000}
    began = client.post("/payouts", json=payout)
    give_up = time.monotonic() + 60
    while (seen := client.get("/payouts/7").json()["state"]) != "completed" and time.monotonic() < give_up:
        time.sleep(0.05)
    again = client.post("/payouts", json=payout)
    unknown = client.get("/payouts/8").status_code
    return {"began": began.status_code, "ended": seen, "again": again.json(), "unknown": unknown}


def main(arguments: list[str]) -> None:
    results: dict[str, str] = {}
    for argument in arguments:
        program, directory = argument.split("=")
        os.chdir(directory)
        try:
            results[program] = run(Path(program))
        except BaseException:  # noqa: BLE001  # reported to the test of this program; the others run
            results[program] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1:])
