"""Selects the networks that the tests run on, and reports the tests that do not run.

Tests of real nodes are marked ``devnet``, tests of JavaScript ``javascript``, and tests in Chromium ``browser``. Where
the nodes are not built, or Node or Chromium is not installed, these tests do not run and one line gives the reason; in
CI they fail instead. A test for one network gives its reason in ``only_on``, and the reasons are listed.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from typing import Final

import pytest

from layer2.local import devnet
from proofs import browser
from simnet.javascript import environment as javascript

NETWORKS: Final = ("simnet", "devnet")
_NEEDS: Final = {
    "devnet": ("tests on real nodes", devnet.why_unavailable),
    "javascript": ("tests of JavaScript", javascript.why_unavailable),
    "browser": ("tests in a browser", browser.why_unavailable),
}
_REASONS: Final = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-proofs", metavar="DIR", help="keep the proofs of transfers on real nodes in a directory")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "javascript: runs JavaScript on Node")
    config.addinivalue_line("markers", "browser: runs the page of proofs in Chromium")
    config.addinivalue_line("markers", "only_on(network, reason): the one local network that the test can run on")
    config.addinivalue_line("markers", "starts_provider: the test starts the provider itself, with a fault")
    config.stash[_REASONS] = {}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import and list the tests without garbage collection, which would take a third of the time. What was imported
    stays, so later collections leave it out."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = config.stash[_REASONS]
    left_out: list[pytest.Item] = []
    for item in list(items):
        missing = any(item.get_closest_marker(mark) and _why_missing(mark) for mark in _NEEDS)
        if _is_another_network(item, reasons) or missing:
            left_out.append(item)
            items.remove(item)
        elif item.get_closest_marker("devnet"):
            item.add_marker(pytest.mark.xdist_group(_group(item)))
    if left_out:
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Check that a worker sends its groups to the scheduler: without them networks would be started in every worker."""
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            assert "@" in item.nodeid or not item.get_closest_marker("xdist_group"), f"{item.nodeid} has lost its group"


def _is_another_network(item: pytest.Item, reasons: dict[str, str]) -> bool:
    """Whether the item is a test on a network that ``only_on`` excludes."""
    mark = item.get_closest_marker("only_on")
    if mark is None:
        return False
    wanted: str = mark.args[0]
    assert wanted in NETWORKS, f"only_on names {wanted!r}"
    reasons[item.nodeid.partition("[")[0]] = f"{wanted} only: {mark.kwargs['reason']}"
    callspec = getattr(item, "callspec", None)
    assert callspec is not None, "only_on is for tests with the parameter network"
    name: str = callspec.params["network_name"]
    return name != wanted


def _why_missing(mark: str) -> str | None:
    _, why_unavailable = _NEEDS[mark]
    return None if os.environ.get("CI") == "true" else why_unavailable()


def _group(item: pytest.Item) -> str:
    """Run the tests of one group in one process, sequentially: they share a network, or the machine."""
    if item.path.parent.name == "devnet":
        return "devnet nodes"
    return "devnet own" if "own_network" in getattr(item, "fixturenames", ()) else "devnet shared"


def pytest_sessionfinish(session: pytest.Session) -> None:
    # A pytest-xdist worker collects; its controller prints.
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["only_on"] = session.config.stash[_REASONS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    output: dict[str, dict[str, str]] = getattr(node, "workeroutput", {})
    config: pytest.Config = node.config  # type: ignore[attr-defined]  # xdist's WorkerController
    config.stash[_REASONS].update(output.get("only_on", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reasons = config.stash[_REASONS]
    if reasons:
        terminalreporter.section("on one network only")
        for test, reason in sorted(reasons.items()):
            terminalreporter.line(f"{test}: {reason}")
    for mark, (tests, _) in _NEEDS.items():
        if why := _why_missing(mark):
            terminalreporter.line(f"not run: all {tests}, marked {mark}: {why}")
