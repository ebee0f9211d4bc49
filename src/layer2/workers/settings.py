"""Where a party's Temporal server is."""

from __future__ import annotations

from pydantic import Field

from layer2.config.sections import Section

__all__ = ["TemporalSection"]


class TemporalSection(Section):
    """[temporal]: the Temporal server whose workers carry out the swaps; only for `--engine temporal`."""

    address: str = "127.0.0.1:7233"
    """host and port of its front end"""
    namespace: str = "default"
    """its namespace"""
    task_queue: str = Field(default="layer2", min_length=1, max_length=200)
    """name of the task queue; each journal needs a name of its own"""
    turns: int = Field(default=100, ge=1)
    """turns of swaps that one worker has at the same time, and as many again of swaps that have begun"""
