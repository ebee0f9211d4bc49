"""Which exit status resuming ends with."""

from __future__ import annotations

import pytest

from cli.made_transfers import NOW, transfer
from layer2.cli.exit_status import ExitStatus
from layer2.cli.transfer_commands import resumed
from layer2.errors import AsyncTimeout, Layer2Error, NodeUnreachable, TransferAbandoned, WrongNetwork
from layer2.terms.transfers import Transfer, TransferState

OPEN = transfer()
DONE = transfer(state=TransferState.COMPLETED)
LOST = transfer(state=TransferState.LOST)
WATCHED = transfer(attention="the BOB node cannot be read, and money depends on it")
TIME_OUT = AsyncTimeout("still under way", code="transfer_timeout")
AWAY, WRONG = NodeUnreachable("down"), WrongNetwork("another chain")


@pytest.mark.parametrize(
    ("transfers", "badly", "down", "status"),
    [
        pytest.param([], [], {}, ExitStatus.DONE, id="nothing is open"),
        pytest.param([], [], {"BOB": AWAY}, ExitStatus.DONE, id="nothing is open and a node is down"),
        pytest.param([DONE], [], {"BOB": WRONG}, ExitStatus.DONE, id="all have ended without the node that is down"),
        pytest.param([OPEN], [TIME_OUT], {}, ExitStatus.UNKNOWN, id="one is open"),
        pytest.param([OPEN], [TIME_OUT], {"BOB": AWAY}, ExitStatus.UNKNOWN, id="one is open and a node is down"),
        pytest.param([OPEN], [TIME_OUT], {"BOB": WRONG}, ExitStatus.ACTION_NEEDED, id="a node needs its owner"),
        pytest.param([WATCHED], [TIME_OUT], {"BOB": AWAY}, ExitStatus.ACTION_NEEDED, id="a transfer needs its owner"),
        pytest.param([DONE, LOST], [], {}, ExitStatus.ACTION_NEEDED, id="one is lost"),
        pytest.param([DONE], [TransferAbandoned("ended")], {}, ExitStatus.REFUSED, id="one has moved nothing"),
    ],
)
def test_resuming_ends_with_the_most_urgent_status(
    transfers: list[Transfer], badly: list[Layer2Error], down: dict[str, Layer2Error], status: ExitStatus
) -> None:
    result = resumed(transfers, badly, down, NOW)
    assert result.status is status
    assert (result.problem is None) == (status is ExitStatus.DONE)
    assert result.data["down"] == {name: {"code": one.code, "message": one.message} for name, one in down.items()}


def test_a_node_that_is_down_is_in_the_result_either_way() -> None:
    assert resumed([DONE], [], {"BOB": AWAY}, NOW).warnings == ("BOB is down: down",)
    problem = resumed([OPEN], [], {"BOB": AWAY}, NOW).problem
    assert problem is not None
    assert "BOB" in problem.message
