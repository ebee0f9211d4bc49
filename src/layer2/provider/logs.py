"""The provider's log: one line of JSON for each event, on standard error, without any capability in it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from layer2.provider.service import swap_tag
from layer2.transactions import SwapId

__all__ = ["configure", "without_ids"]

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def configure() -> None:
    """Send structlog's events and the standard library's log, from warnings on, to standard error."""
    shared: list[Any] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        without_ids,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("layer2").setLevel(logging.INFO)


def without_ids(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put a tag in the place of whatever looks like a swap's id: who knows one can read the swap."""
    return {name: _ID.sub(_tag, value) if isinstance(value, str) else value for name, value in event.items()}


def _tag(found: re.Match[str]) -> str:
    return swap_tag(SwapId(found[0]))
