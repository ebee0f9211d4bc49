"""Every program of the migration guide does the same before and after the migration."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Final

import pytest

from docs.examples import rows
from migration.conftest import Ran
from migration.environment import GUIDE, PROGRAMS, ROOT, run_code

pytestmark = [pytest.mark.xdist_group("migration"), pytest.mark.timeout(300)]

THREADS: Final = "order-1: completed\norder-2: invalid_amount\norder-3: completed\n"
TWO_ORDERS: Final = "order-1: completed\norder-2: completed\n"
WEB3: Final = "paid\npaid\npaid\nreceived 6000\n"
LND: Final = "paid\nreceived 1500\n"
PRINTED: Final = {
    "script_before": TWO_ORDERS,
    "script_after": TWO_ORDERS,
    "threads_before": THREADS,
    "threads_step": THREADS,
    "threads_after": THREADS,
    "celery_before": TWO_ORDERS,
    "celery_after": TWO_ORDERS,
    "web3_before": WEB3,
    "web3_after": WEB3,
    "lnd_before": LND,
    "lnd_after": LND,
}
NOTEBOOKS: Final = {"notebook_before": "completed\n", "notebook_after": "completed\n"}
SERVICES: Final = {
    "fastapi_before": 200,
    "fastapi_after": 202,
    "flask_before": 200,
    "flask_after": 202,
    "django_before": 200,
    "django_after": 202,
}


@pytest.mark.parametrize("name", PRINTED | NOTEBOOKS)
def test_a_program_prints_what_it_printed_before(name: str, ran: Ran) -> None:
    assert ran.printed[name] == (PRINTED | NOTEBOOKS)[name], ran.printed[name]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_pays_an_order_once(name: str, ran: Ran) -> None:
    assert ran.printed[name].startswith("{"), ran.printed[name]
    again = {"order": "7", "state": "completed"}
    assert json.loads(ran.printed[name]) == {
        "began": SERVICES[name],
        "ended": "completed",
        "again": again,
        "unknown": 404,
    }
    with sqlite3.connect(ran.journal(name)) as journal:
        assert journal.execute("SELECT count(*) FROM swaps").fetchone() == (1,)


FIRST_TASK_FAILS: Final = """
import celery_after
from layer2 import Layer2Manager
from layer2.errors import JournalError

initialize = Layer2Manager.initialize_all_sync

def fail_once(manager):
    Layer2Manager.initialize_all_sync = initialize
    initialize(manager)
    raise JournalError("the disk is full")

Layer2Manager.initialize_all_sync = fail_once
try:
    celery_after.layers()
except JournalError as error:
    print(error.code)
print(len(celery_after.layers().resume_transfers_sync()))
"""


def test_a_celery_worker_opens_another_manager_after_one_that_failed(ran: Ran) -> None:
    finished = run_code(FIRST_TASK_FAILS, ran.directory / "celery_after")
    assert (finished.stdout, finished.stderr) == ("journal\n0\n", "")


def test_every_program_is_tested_and_shown_on_a_page() -> None:
    programs = {file.stem for file in PROGRAMS.glob("*.py")}
    assert programs == PRINTED.keys() | SERVICES.keys()
    pages = "".join(page.read_text() for page in GUIDE.glob("*.md"))
    assert set(re.findall(r"^```\{literalinclude\} programs/(\w+)\.py$", pages, re.MULTILINE)) == programs


def test_every_package_of_the_programs_is_justified() -> None:
    lines = (ROOT / "requirements" / "migration.in").read_text().splitlines()
    needed = {re.split(r"[<>=]", line)[0] for line in lines if line and line[0] not in "#-"}
    listed = {
        name for row in rows("docs/dependencies.md", "Migration guide") for name in re.findall(r"`(\w+)`", row[0])
    }
    assert listed == needed


def test_the_guide_names_every_page() -> None:
    named = set(re.findall(r"\]\((\w+\.md)\)", (GUIDE / "index.md").read_text()))
    assert {page.name for page in GUIDE.glob("*.md")} - {"index.md"} <= named
