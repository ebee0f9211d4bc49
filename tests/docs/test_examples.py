"""Every example of the README and the documentation does what it says."""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest

from docs.bitcoin_blocks import bitcoin_blocks
from docs.examples import PAGES, ROOT, Example, examples
from docs.test_tutorial import Shell
from layer2.cli.proof_policy import PolicyOptions, policy_data
from layer2.config import Layer2Config, LayerSettings
from layer2.local.network import LocalNetwork
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import OFFLINE
from layer2.provider.settings import ProviderSettings

pytestmark = pytest.mark.xdist_group("docs")

README = ROOT / "README.md"
PYTHON = list(examples("python"))
TOML = list(examples("toml"))


MINED = ("bitcoin.md", "submarine-swaps.md")
"""Pages whose examples need Bitcoin blocks."""
REPEATED = ("bitcoin.md", "rootstock.md")
"""Pages whose examples pay once if they run twice, because they give each payment a key."""


def run(example: Example) -> None:
    # The padding gives tracebacks the page's own line numbers.
    code = compile("\n" * (example.line - 1) + example.text, str(example), "exec")
    exec(code, {"__name__": "__main__"})


@pytest.mark.parametrize("example", PYTHON, ids=str)
def test_a_python_example_runs(example: Example, reader: Path) -> None:
    control_url = LocalNetwork.load(reader / "simnet").control_url
    with bitcoin_blocks(control_url) if example.page.name in MINED else nullcontext():
        run(example)
        if example.page.name in REPEATED:
            run(example)


@pytest.mark.parametrize("example", TOML, ids=str)
def test_a_configuration_example_is_accepted(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text(example.text)
    if example.page.name == "auditor.md":
        assert policy_data(PolicyOptions(policy=file).declared()) == tomllib.loads(example.text)
        return
    settings: type[LayerSettings] = (
        ProviderSettings if "identity_key_file" in tomllib.loads(example.text) else Layer2Config
    )
    settings.load(file)


def test_the_commands_of_the_auditor_s_page_accept_the_proof(reader: Path) -> None:
    shell = Shell(reader)
    printed = [shell.type(example.text) for example in examples("sh") if example.page.name == "auditor.md"]
    assert len(printed) == 2
    assert "holds: a completed transfer" in printed[0]
    assert "1 proof: 1 completed" in printed[1]


def test_the_readme_s_first_example_is_short_and_leaves_a_proof(reader: Path) -> None:
    first = next(example for example in PYTHON if example.page == README)
    assert len([line for line in first.text.splitlines() if line.strip()]) <= 20
    (reader / "transfer.json").unlink()
    run(first)
    assert check_proof(TransferProof.load(reader / "transfer.json"), OFFLINE).outcome is ProofOutcome.COMPLETED


def test_the_three_patterns_are_there() -> None:
    patterns = "".join(example.text for example in PYTHON if example.page.name == "patterns.md")
    for word in ("asyncio.gather(", "AsyncTimeout", "cancellable("):
        assert word in patterns


def test_the_two_commands_of_the_readme_are_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README.read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_example_proof_of_the_format_s_page_has_every_field(reader: Path) -> None:
    """The page names every key that a real proof has, at every level."""
    page = (ROOT / "docs" / "proof-format.md").read_text()
    named = set(re.findall(r"`([a-z_0-9]+)`", page))

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {key for each in value.values() for key in keys(each)}
        return {key for each in value for key in keys(each)} if isinstance(value, list) else set()

    assert keys(json.loads((reader / "transfer.json").read_text())) - named == set()
