"""Messages executed in blocks that do not become part of the chain: ``eth_simulateV1``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eth_typing import BlockNumber

from layer2.local.simnet.evm.calls import (
    CallFailed,
    CallRequest,
    EvmCalls,
    Overrides,
    apply_overrides,
    data_floor_gas,
    failure_of,
)
from layer2.local.simnet.evm.chain import EvmChain, MinedBlock

__all__ = ["SimulatedCall", "Simulation"]


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """The result of one call of a simulation."""

    output: bytes
    gas_used: int
    logs: Sequence[tuple[bytes, Sequence[int], bytes]]
    """Address, topics and data of each log."""
    error: CallFailed | None


class Simulation:
    """Blocks that follow a real one. Each sees the effects of those before it, and none is written to the database."""

    def __init__(self, chain: EvmChain, calls: EvmCalls, block: MinedBlock) -> None:
        self._chain = chain
        self._calls = calls
        self._header = block.header
        self._state = chain.state_of(block.header)

    def execute(
        self, requests: Iterable[CallRequest], *, number: int, timestamp: int, overrides: Overrides | None = None
    ) -> list[SimulatedCall]:
        """Execute messages one after another in the next block.

        Args:
            requests: in order; each sees the effects of those before it.
            number: the simulated block's height.
            timestamp: the simulated block's, in unix seconds.
            overrides: applied before the first message.

        Raises:
            CallRefused: the execution of a message could not begin.
        """
        header = self._header.copy(base_fee_per_gas=0, block_number=BlockNumber(number), timestamp=timestamp)
        self._state.execution_context = self._chain.context_of(header)
        apply_overrides(overrides, self._state)
        return [self._simulated(request) for request in requests]

    def _simulated(self, request: CallRequest) -> SimulatedCall:
        # Each message is a transaction of its own: no slot is warm, and values before it are the original ones.
        self._state.lock_changes()
        computation = self._calls.execute(request, self._state)
        used = request.gas - computation.get_gas_remaining()
        used = max(used - min(computation.get_gas_refund(), used // 5), data_floor_gas(request.data))
        output = bytes(computation.output)
        if computation.is_error:
            return SimulatedCall(b"", used, (), failure_of(computation.error, output))
        return SimulatedCall(output, used, computation.get_log_entries(), None)
