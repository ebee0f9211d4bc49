"""The site: checks of its links, the list for language models, the pictures, and figures that are in two places."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from docs.examples import ROOT, rows
from layer2.model.transactions import Finality
from layer2.swap_rules.states import ProviderState, TakerState
from layer2.testing.explore.scenario import Scenario
from layer2.testing.explore.swaps import PAIRS

sys.path.insert(0, str(ROOT))
from tools.docsite import recording, sequences, states
from tools.docsite.llms import llms_text
from tools.docsite.site_check import problems

DOCS = ROOT / "docs"


# Links.


def site(directory: Path, **pages: str) -> Path:
    for name, text in pages.items():
        (directory / f"{name}.html").write_text(text)
    return directory


def test_a_site_whose_links_lead_somewhere_has_no_problems(tmp_path: Path) -> None:
    made = site(
        tmp_path,
        index='<a href="other.html#here">x</a><a href="https://example.org/">y</a><a href="#top" id="top">t</a>',
        other='<p id="here"></p><link rel="canonical" href="https://example.org/">',
    )
    assert problems(made) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="none.html">x</a>', "links to none.html, which does not exist"),
        ('<a href="other.html#gone">x</a>', "links to other.html#gone, which has no such anchor"),
        ('<a href="#gone">x</a>', "links to #gone, which has no such anchor"),
        ('<img src="none.svg">', "links to none.svg, which does not exist"),
        ('<script src="https://cdn.example/a.js"></script>', "loads https://cdn.example/a.js"),
        ('<link rel="stylesheet" href="//fonts.example/a.css">', "loads //fonts.example/a.css"),
        ('<img src="http://tracker.example/a.png">', "loads http://tracker.example/a.png"),
    ],
)
def test_a_dead_link_and_a_request_to_another_host_are_found(tmp_path: Path, body: str, problem: str) -> None:
    assert problems(site(tmp_path, index=body, other="<p></p>")) == [f"index.html: {problem}"]


@pytest.mark.parametrize("style", ['@import "https://a.example/b.css";', "a { background: url(//a.example/b.png) }"])
def test_a_style_that_loads_from_another_host_is_found(tmp_path: Path, style: str) -> None:
    (tmp_path / "a.css").write_text(style)
    assert problems(tmp_path) == ["a.css: loads from another host"]


# llms.txt.


def test_the_list_for_language_models_has_every_page_once_with_a_sentence() -> None:
    entries = re.findall(r"^- \[(.+?)\]\(_sources/(\S+)\.md\.txt\)(: .+)?$", llms_text(DOCS), re.MULTILINE)
    listed = [page for _, page, _ in entries]
    nested = {f"api/{path.stem}" for path in (DOCS / "api").glob("*.md")} - {"api/index"}
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")} - {"index"} - nested
    assert sorted(listed) == sorted(pages)
    assert [page for title, page, _ in entries if not title] == []


# Pictures.


def test_the_sequences_have_the_deadlines_of_the_rules() -> None:
    for name, content in sequences.pictures().items():
        assert (DOCS / "diagrams" / name).read_text() == content, "run: python -m tools.docsite.sequences"


def arrows(role: str) -> set[tuple[str, str]]:
    picture = (DOCS / "diagrams" / f"{role}-states.svg").read_text()
    return set(re.findall(r'data-from="(\w+)" data-to="(\w+)"', picture))


@pytest.mark.parametrize("pair", ["evm-lightning", "lightning-evm"])
def test_the_pictures_of_the_states_have_every_transition_of_an_explored_swap(pair: str) -> None:
    found = states.explored(Scenario(PAIRS[pair], Finality.FINALIZED))
    for role, machine in found.items():
        assert len(machine.in_time) > 5
        met = {(arrow.before, arrow.after) for arrow in {*machine.in_time, *machine.late}}
        assert met - arrows(role) == set(), "run: python -m tools.docsite.states"


@pytest.mark.parametrize(("role", "union"), [("taker", TakerState), ("provider", ProviderState)])
def test_the_pictures_of_the_states_have_every_state(role: str, union: object) -> None:
    picture = (DOCS / "diagrams" / f"{role}-states.svg").read_text()
    names = {state.name for state in union.__args__}  # type: ignore[attr-defined]  # of a union of classes
    assert names <= set(re.findall(r">(\w+)</text>", picture))
    assert {name for arrow in arrows(role) for name in arrow} == names


def test_what_a_terminal_shows_after_lines_were_redrawn() -> None:
    output = "one\r\n\x1b[?25ltable\r\nrow\r\x1b[2K\x1b[1A\x1b[2Ktwo\r\nthree\x1b[?25h\r\n"
    assert recording.on_screen(output) == ["one", "two", "three", ""]


def test_the_recording_loads_nothing_and_shows_both_transfers() -> None:
    picture = recording.RECORDING.read_text()
    assert set(re.findall(r"https?://[^\s\"')]+", picture)) == {"http://www.w3.org/2000/svg"}
    assert "@font-face" not in picture
    assert picture.count("completed") >= 2
    assert recording.drawn(["\x1b[1m$ make demo\x1b[0m"]).count("make") == 2  # in its title and on its screen


# Figures that are in two places.


def test_the_rate_in_the_readme_is_that_of_the_benchmarks() -> None:
    table = rows("docs/benchmarks.md", "The EVM client: `make bench-evm`")
    (row,) = [each for each in table if each[0] == "statuses at concurrency 100, against web3.py"]
    _, _, ours, peer, ratio, *_ = row
    readme, comparison, why = ((ROOT / name).read_text() for name in ("README.md", "docs/comparison.md", "docs/why.md"))
    assert f"{ours} transaction statuses a second" in readme
    assert f"{ratio} times web3.py" in readme
    assert f"{ours} statuses a second and web3.py {peer}" in comparison
    assert f"at {ratio} times the rate of web3.py" in why


def test_the_durations_are_those_of_the_page_about_safety() -> None:
    known = {row[0]: row for row in rows("docs/safety.md", "How long your money can be bound on mainnet")}
    table = rows("docs/deadlines.md", "On mainnet, in hours")
    assert [row[0] for row in table] == list(known)
    for direction, *figures in table:
        _, collect_by, _, source_deadline, worst = known[direction]
        assert figures == [collect_by, source_deadline, worst]
    back = {direction: row[4] for direction, row in known.items()}
    answer = f"Up to {back['BOB to Lightning']} hours from BOB to Lightning, {back['Lightning to BOB']} back"
    questions = (DOCS / "questions.md").read_text()
    assert answer in questions
    others = [float(hours) for direction, hours in back.items() if {*direction.split(" to ")} != {"BOB", "Lightning"}]
    span = f"{min(others):.0f} to {max(others):.0f} hours"
    assert span in questions
    assert span in (ROOT / "README.md").read_text()
