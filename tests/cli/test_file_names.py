"""Commands on files whose names a stranger chose."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.running import layer2_here
from proofs import made_proofs as made


@pytest.mark.parametrize("name", ["\x1b[2J\x9b1m.json", "\nholds.json", "\udcff.json"])
def test_the_name_of_a_strangers_file_is_only_text_on_the_terminal(tmp_path: Path, name: str) -> None:
    made.to_lightning().save(tmp_path / name)
    for words in (("show", name), ("verify", name), ("verify", name, "--json"), ("verify", f"{name}.none")):
        ran = layer2_here("proof", *words, cwd=tmp_path)
        assert "internal" not in ran.err, ran.err
        (ran.out + ran.err).encode()
        assert not {"\x1b", "\x9b"} & set(ran.out + ran.err), words
        assert not any(line.startswith("holds") for line in (ran.out + ran.err).splitlines()), words
