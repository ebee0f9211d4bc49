"""The reference pages agree with the code: errors, settings, dependencies."""

from __future__ import annotations

import re
import runpy
import tomllib
from itertools import permutations
from typing import get_args

import pytest

from docs.examples import ROOT, rows
from layer2 import errors
from layer2.errors import (
    InitializationError,
    Layer2Error,
    Outcome,
    ProofRefused,
    ProofUndecided,
    TransferError,
    TransferRefunded,
)
from layer2.legs.timelock_settings import settings_for
from layer2.model.layers import LAYERS
from layer2.model.transactions import Finality
from layer2.protocols.lightning import PERMISSIONS
from layer2.swap_rules.states import ProviderState
from layer2.swap_rules.timelocks import pair_durations
from layer2.terms.transfers import TransferState
from swap_rules.example_terms import quote_of

# Errors.


def error_classes() -> list[type[Layer2Error]]:
    return [
        value
        for name, value in vars(errors).items()
        if name in errors.__all__ and isinstance(value, type) and issubclass(value, Layer2Error)
    ]


def made(kind: type[Layer2Error]) -> Layer2Error:
    """One error of the class, as its raiser makes it where nothing else is said."""
    if kind is InitializationError:
        return InitializationError({})
    if kind is TransferRefunded:
        return TransferRefunded("back", transfer_id="ab" * 16, proof=None)
    if kind is ProofRefused:
        return ProofRefused("check", "wrong")
    return kind("message")


def test_the_table_of_errors_is_that_of_the_code() -> None:
    expected = {
        f"`{kind.__name__}`": [f"`{error.code}`", error.outcome.value, "yes" if error.retryable else "no"]
        for kind in error_classes()
        for error in [made(kind)]
    }
    table = rows("docs/errors.md", "Every error")
    assert {row[0]: row[1:4] for row in table} == expected
    assert [row[0] for row in table if len(row) != 7 or len(row[4]) < 8 or not row[5] or len(row[6]) < 10] == []


def test_every_error_of_a_transfer_states_whether_its_key_is_free() -> None:
    answered = {name for row in rows("docs/errors.md", "May the same key be used again?") for name in named(row[0])}
    kinds = {kind.__name__ for kind in error_classes() if issubclass(kind, TransferError) and kind is not TransferError}
    also = {"AsyncTimeout", "InitializationError", "JournalBusy", "JournalError", "NodeError", "TaskCancelled"}
    assert kinds | also <= answered


def named(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_the_codes_of_transfers_are_explained() -> None:
    sources = [ROOT / "src/layer2/swap_rules/quotes.py"]
    for package in ("assembly", "manager", "provider_client"):
        sources += (ROOT / "src/layer2" / package).glob("*.py")
    raised = {code for source in sources for code in re.findall(r'code="(\w+)"', source.read_text(encoding="utf-8"))}
    table = [row for part in ("quotes and transfers", "proofs") for row in rows("docs/errors.md", f"Codes of {part}")]
    explained = {code for row in table for code in named(row[0])}
    assert {code for code in raised - explained if not code.startswith(("quote_", "terms_"))} == set()


def test_the_codes_of_proofs_are_those_of_the_code() -> None:
    package = ROOT / "src/layer2"
    sources = [*(package / "proofs").glob("*.py"), *(package / "cli").glob("proof_*.py")]
    sources += [
        package / "cli/holder_commands.py",
        package / "manager/completion.py",
        package / "provider/statements.py",
    ]
    texts = "".join([source.read_text(encoding="utf-8") for source in sources])
    raised = {*re.findall(r'code="(\w+)"', texts), *re.findall(r'"((?:undeclared|proof_of)_\w+)"', texts)}
    explained = {code for row in rows("docs/errors.md", "Codes of proofs") for code in named(row[0])}
    # Wrong use of a command, or of a policy's file, has the codes of every command and of every file.
    assert explained - {"from_storage"} == raised - {"usage", "not_toml", "unknown_key", "wrong_value"}


def test_the_codes_of_an_evm_layer_are_those_of_its_client() -> None:
    package = ROOT / "src/layer2"
    sources = (*(package / "protocols/evm").rglob("*.py"), package / "formats/evm_address.py")
    raised = {code for source in sources for code in re.findall(r'code="(\w+)"', source.read_text(encoding="utf-8"))}
    assert {row[0].strip("`") for row in rows("docs/errors.md", "Codes of an EVM layer")} == raised


def test_the_codes_of_bitcoin_are_those_of_its_client() -> None:
    sources = (ROOT / "src/layer2/protocols/bitcoin").rglob("*.py")
    raised = {code for source in sources for code in re.findall(r'code="(\w+)"', source.read_text(encoding="utf-8"))}
    assert {row[0].strip("`") for row in rows("docs/errors.md", "Codes of Bitcoin")} == raised - {"wrong_value"}


def test_the_codes_of_lightning_are_those_of_its_client() -> None:
    sources = (ROOT / "src/layer2/protocols/lightning").rglob("*.py")
    given = re.compile(r'(?:code=|code, \w+ = |NotReady\.\w+: \()"(\w+)"(?: if \w+ in \w+ else "(\w+)")?')
    raised = {code for source in sources for found in given.findall(source.read_text()) for code in found if code}
    assert {row[0].strip("`") for row in rows("docs/errors.md", "Codes of Lightning")} == raised


def test_the_permissions_of_a_macaroon_are_those_that_its_client_asks_for() -> None:
    table = rows("docs/lightning.md", "Your node")
    assert [row[0].strip("`") for row in table] == list(PERMISSIONS)


def test_the_outcomes_are_explained() -> None:
    assert {row[0] for row in rows("docs/errors.md", "Outcomes")} == {f"`{each.value}`" for each in Outcome}


def test_every_state_has_a_row_with_where_the_money_is() -> None:
    mine = [row[0].strip("`") for row in rows("docs/safety.md", "Your states")]
    assert sorted(mine) == sorted(state.value for state in TransferState)
    provider = {named(row[0])[0] for row in rows("docs/safety.md", "A provider's states")}
    assert provider == {state.name for state in get_args(ProviderState)}


def test_the_durations_on_mainnet_are_those_of_the_rules() -> None:
    table = rows("docs/safety.md", "How long your money can be bound on mainnet")
    directions = list(permutations([layer.value.lower() for layer in LAYERS], 2))
    assert sorted(tuple(row[0].lower().split(" to ")) for row in table) == sorted(directions)
    for row in table:
        source, destination = row[0].lower().split(" to ")
        quote = quote_of(source, destination, settings_for("mainnet"), Finality.LATEST)
        # A chain whose blocks are mined never relies on its newest block.
        ends = [each.with_finality(Finality.LATEST) for each in (quote.source, quote.destination)]
        durations = pair_durations(ends[0], ends[1], settings_for("mainnet"))
        figures = (durations.collect_by, durations.known, durations.source_deadline, durations.worst)
        assert [float(cell) for cell in row[1:]] == [round(seconds / 3600, 1) for seconds in figures], row[0]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in error_classes()]
    assert len(set(codes)) == len(codes)


def test_the_tree_in_the_errors_docstring_is_the_class_hierarchy() -> None:
    drawn: list[tuple[str, str | None, str | None]] = []
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│├└─ ]*)([A-Z]\w+)(?: \((\w+)\))?(?:\s|$)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        path[depth:] = [match[2]]
        drawn.append((match[2], path[depth - 1] if depth else None, match[3]))
    actual = []
    for kind in error_classes():
        parents = [base for base in kind.__bases__ if issubclass(base, Layer2Error)]
        others = [base for base in kind.__bases__ if not issubclass(base, Layer2Error) and base is not Exception]
        actual.append((kind.__name__, parents[0].__name__ if parents else None, others[0].__name__ if others else None))
    assert sorted(drawn, key=str) == sorted(actual, key=str)


def test_undecided_is_retryable_and_names_when() -> None:
    assert ProofUndecided("later", ask_again_at=5).deadline == 5


# Settings.


def test_the_tables_of_the_settings_are_those_of_the_code() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "write_config_docs.py"))
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page.count("| required |") > 10
    assert page == tool["page"](page), "run: python tools/write_config_docs.py"


# Dependencies.


def name_of(requirement: str) -> str:
    return re.split(r"[<>=\[ ;]", requirement, maxsplit=1)[0]


def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def in_file(name: str) -> set[str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return {name_of(line.strip()) for line in lines if line.strip() and not line.startswith(("#", "-r", "-c"))}


def listed(heading: str) -> set[str]:
    table = rows("docs/dependencies.md", heading)
    assert [row[0] for row in table if len(row[-1]) < 15] == []
    return {row[0].strip("`") for row in table}


def test_every_dependency_is_justified() -> None:
    table = project()
    needed = table["dependencies"]
    assert isinstance(needed, list)
    assert listed("Always") == {name_of(each) for each in needed}


@pytest.mark.parametrize("extra", ["provider", "bitcoin", "postgres", "temporal", "simnet", "devnet"])
def test_every_extra_is_justified(extra: str) -> None:
    extras = project()["optional-dependencies"]
    assert isinstance(extras, dict)
    assert set(extras) == {"provider", "bitcoin", "postgres", "temporal", "simnet", "devnet"}
    assert listed(f"Extra `{extra}`") == {name_of(each) for each in extras[extra]}


def test_every_development_dependency_is_justified() -> None:
    assert listed("Development") == in_file("dev.in") | in_file("install.in")


def test_what_fuzzing_needs_is_justified() -> None:
    assert listed("Fuzzing") == in_file("fuzz.in")


def test_what_the_documentation_s_build_needs_is_justified() -> None:
    assert listed("Documentation") == in_file("docs.in") - in_file("install.in")
