"""What every program of the migration guide printed on simnet."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from forked_simnet import running_simnet
from migration.environment import GUIDE, PROGRAMS, install, run
from migration.runner import CELL_MARK
from networks.parties import ProviderProcess, write_lightning_config, write_taker_config


@dataclass(frozen=True, slots=True)
class Ran:
    """What the programs did."""

    printed: Mapping[str, str]
    directory: Path

    def journal(self, name: str) -> Path:
        """The journal of a program."""
        return self.directory / name / "layer2-journal.sqlite"


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Every program, run in a directory with the taker's ``layer2.toml`` and a second node's ``customer.toml``.

    The programs before the migration run in one process, and those after it in another.
    """
    install()
    directory = tmp_path_factory.mktemp("migration")
    with running_simnet(directory / "simnet") as network:
        provider = ProviderProcess(network, directory / "provider")
        try:
            provider.start()
            write_taker_config(directory / "layer2.toml", network, provider)
            write_lightning_config(directory / "customer.toml", network, network.provider)
            programs = [*PROGRAMS.glob("*.py"), *_notebooks(directory)]
            for program in programs:
                (directory / program.stem).mkdir()
                for name in ("layer2.toml", "customer.toml"):
                    shutil.copy(directory / name, directory / program.stem / name)
            before = {each: directory / each.stem for each in programs if each.stem.endswith("_before")}
            after = {each: directory / each.stem for each in programs if each not in before}
            yield Ran(run(before) | run(after), directory)
        finally:
            provider.stop()


def _notebooks(directory: Path) -> Iterator[Path]:
    """The cells on the page about notebooks, as files."""
    sections = re.split(r"^## ", (GUIDE / "notebooks.md").read_text(), flags=re.MULTILINE)
    for heading in ("Before", "After"):
        (text,) = [each for each in sections if each.startswith(f"{heading}\n")]
        cells = re.findall(r"^```\{code-block\} python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        file = directory / f"notebook_{heading.lower()}.txt"
        file.write_text(CELL_MARK.join(cells))
        yield file
