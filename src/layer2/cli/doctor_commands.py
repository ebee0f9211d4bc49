"""``layer2 doctor``: checks everything that a configuration names, and shows the remedy for each problem."""

from __future__ import annotations

from collections.abc import Sequence

from layer2.cli.envelope import Result, Table
from layer2.cli.exit_status import ExitStatus
from layer2.cli.session import InSession
from layer2.errors import Layer2Error, NodeUnreachable

__all__ = ["doctor"]


async def doctor(*, session: InSession) -> Result:
    """Check every node, key, balance, gas, liquidity, clock, contract, journal and provider of a configuration.

    It also checks a provider's file, and then shows what strangers can reserve. It only reads, and does not disturb a
    running service. A layer that cannot be reached does not hide the others. Exit status 4: something needs you.
    5: something cannot be reached. Each line shows its remedy.
    """
    from layer2.cli.examination import examine

    config = session.settings()
    with session.terminal.working("asking your nodes and providers"):
        findings = await examine(config)
    problem, ended = _verdict([each.error for each in findings if each.error is not None])
    remedies = [None if each.remedy is None else session.addressed(each.remedy) for each in findings]
    rows = tuple(
        (each.level.value, each.subject, each.text, remedy or "")
        for each, remedy in zip(findings, remedies, strict=True)
    )
    return Result(
        {
            "findings": [
                {"level": each.level.value, "subject": each.subject, "text": each.text, "remedy": remedy}
                for each, remedy in zip(findings, remedies, strict=True)
            ]
        },
        [Table(("", "subject", "finding", "remedy"), rows)],
        problem=problem,
        ended=ended,
    )


def _verdict(errors: Sequence[Layer2Error]) -> tuple[Layer2Error | None, ExitStatus | None]:
    """The most urgent error: one that needs a person comes before one that may end by itself."""
    if not errors:
        return None, None
    needing = [error for error in errors if not isinstance(error, NodeUnreachable)]
    return (needing[0], ExitStatus.ACTION_NEEDED) if needing else (errors[0], ExitStatus.UNREACHABLE)
