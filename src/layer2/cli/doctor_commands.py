"""``layer2 doctor``: is everything that is configured there, right, and enough?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from layer2.cli.envelope import Result, Table
from layer2.cli.exit_status import ExitStatus
from layer2.cli.session import InSession, settings_class
from layer2.errors import Layer2Error, NodeUnreachable

__all__ = ["doctor"]


async def doctor(*, provider_config: Path | None = None, session: InSession) -> Result:
    """Check every configured node, key, balance, gas, liquidity, clock, contract, journal and provider.

    One line each; a layer that cannot be reached hides no other. It only looks: a running service is not disturbed.
    Exit status 4 where something needs you, 5 where something cannot be reached; the remedy stands on the line.

    Args:
        provider_config: Check this provider.toml instead of layer2.toml, and show what strangers can bind.
    """
    from layer2.cli.examination import examine

    config = session.config() if provider_config is None else settings_class("provider").load(provider_config)
    here = session if provider_config is None else replace(session, config_file=provider_config)
    add_owners = here.hint("journal", "add", *(() if provider_config is None else ("--role", "provider")))
    with session.terminal.working("asking your nodes and providers"):
        findings = await examine(config, add_owners=add_owners)
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
