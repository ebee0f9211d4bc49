"""``layer2 doctor``: is everything that is configured there, right, and enough?"""

from __future__ import annotations

from collections.abc import Sequence

from layer2.cli.envelope import Result, Table
from layer2.cli.exit_status import ExitStatus
from layer2.cli.session import InSession
from layer2.errors import Layer2Error, NodeUnreachable

__all__ = ["doctor"]


async def doctor(*, session: InSession) -> Result:
    """Check every configured node, key, balance, gas, liquidity, clock, contract and provider; one line each.

    Exit status 4 where something needs you, 5 where something cannot be reached; the remedy stands on the line.
    """
    from layer2.cli.diagnosis import diagnose

    config = session.config()
    with session.terminal.working("asking your nodes and providers"):
        findings = await diagnose(config)
    problem, ended = _verdict([each.error for each in findings if each.error is not None])
    rows = tuple((each.level.value, each.subject, each.text, each.remedy or "") for each in findings)
    return Result(
        {
            "findings": [
                {"level": each.level.value, "subject": each.subject, "text": each.text, "remedy": each.remedy}
                for each in findings
            ]
        },
        [Table(("", "what", "found", "remedy"), rows)],
        problem=problem,
        ended=ended,
    )


def _verdict(errors: Sequence[Layer2Error]) -> tuple[Layer2Error | None, ExitStatus | None]:
    """What needs a person comes before what may come back by itself."""
    if not errors:
        return None, None
    needing = [error for error in errors if not isinstance(error, NodeUnreachable)]
    return (needing[0], ExitStatus.ACTION_NEEDED) if needing else (errors[0], ExitStatus.UNREACHABLE)
