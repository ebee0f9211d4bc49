"""A payer in a separate process that pays once under a key, and may be killed at a chosen moment.

Its arguments are the moment and the payment as JSON. It writes one line with the payment's
status after submission, and another with its final status. Nothing is awaited between the moment and the signal, so
that it always dies at the same point.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, Any

from forking import Forked, fork
from layer2.journal.sql_journal import SqlJournal
from layer2.local.network import LightningNode, Party
from layer2.model.transactions import TxState
from layer2.ports.clock import SystemClock
from layer2.protocols.lightning import KeysendRequest, LightningNetwork, PaymentRequest
from layer2.protocols.lightning.payments.payments import Payments
from layer2.protocols.lightning.payments.records import PaymentRecord
from networks.parties import lightning_settings

__all__ = ["Moment", "PayerProcess", "Said"]


class Moment(Enum):
    """The moment at which it dies by SIGKILL."""

    NEVER = "never"
    BEFORE_THE_SEND = "before_the_send"
    """The intent is durable, and nothing was sent."""
    AFTER_THE_SEND = "after_the_send"
    """The node has accepted the payment, and this is not recorded."""


@dataclass(frozen=True, slots=True)
class Said:
    """A status that the process reported."""

    tx_id: str
    state: TxState
    has_preimage: bool


@dataclass
class PayerProcess:
    """One party's payer, with its own journal and key. It can be started repeatedly.

    Args:
        party: the owner of the paying node.
        journal: a file that survives the process.
        invoice: the invoice to pay; empty for a payment to a node's key.
        payee: that key, in hex.
        amount_msat: the amount to send to that key.
    """

    party: Party
    journal: Path
    invoice: str = ""
    payee: str = ""
    amount_msat: int = 0
    _process: Forked | None = field(default=None, init=False)
    _output: asyncio.StreamReader = field(init=False)

    async def start(self, moment: Moment = Moment.NEVER) -> None:
        assert self._process is None
        pipe = self._fork(moment)
        self._output = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._output), pipe)

    def _fork(self, moment: Moment) -> IO[bytes]:
        """Start the process, and return the end of a pipe from which its output is read."""
        wanted: dict[str, Any] = {"node": asdict(self.party.lightning), "journal": str(self.journal)}
        wanted |= {"invoice": self.invoice, "payee": self.payee, "amount_msat": self.amount_msat}
        reading, writing = os.pipe()
        with open(writing, "wb") as output, self.journal.with_suffix(".log").open("ab") as log:
            self._process = fork("networks.payer", [moment.value, json.dumps(wanted)], output=output, errors=log)
        return open(reading, "rb")

    async def says(self) -> Said:
        """The next status that it reports."""
        assert self._process is not None
        line = await asyncio.wait_for(self._output.readline(), 60)
        assert line, f"the payer ended without a report: {self.journal.with_suffix('.log').read_text()}"
        tx_id, state, has_preimage = json.loads(line)
        return Said(tx_id, TxState(state), has_preimage)

    async def died(self) -> None:
        """Wait until it has killed itself without a report."""
        assert await self._end() == (-signal.SIGKILL, b"")

    async def ended(self) -> None:
        """Wait until it has finished."""
        assert await self._end() == (0, b"")

    async def kill(self) -> None:
        """Send SIGKILL: the process cannot react. If it has already ended, only clean up."""
        if self._process is not None:
            self._process.kill()
            await self._end()

    async def _end(self) -> tuple[int, bytes]:
        """Wait until it has ended; its exit status, and what it wrote since the last report."""
        assert self._process is not None
        async with asyncio.timeout(60):
            ended = await self._process.ended(), await self._output.read()
        self._process = None
        return ended


def _die_at(moment: Moment) -> None:
    send = Payments.send

    async def fatal_send(self: Payments, *arguments: Any) -> PaymentRecord:
        if moment is Moment.BEFORE_THE_SEND:
            os.kill(os.getpid(), signal.SIGKILL)
        record = await send(self, *arguments)
        if moment is Moment.AFTER_THE_SEND:
            os.kill(os.getpid(), signal.SIGKILL)
        return record

    Payments.send = fatal_send  # type: ignore[method-assign,assignment]  # the injected crash


async def _pay(wanted: dict[str, Any]) -> None:
    settings = lightning_settings(Party("", "", "", LightningNode(**wanted["node"])))
    request = (
        PaymentRequest(wanted["invoice"])
        if wanted["invoice"]
        else KeysendRequest(bytes.fromhex(wanted["payee"]), wanted["amount_msat"])
    )
    journal = await SqlJournal.open(Path(wanted["journal"]))
    async with LightningNetwork(settings, journal, SystemClock()) as lightning:
        status = await lightning.submit_transaction_async(request, idempotency_key="the one")
        _say(status)
        _say(await lightning.wait_for_status_async(status.tx_id))
    await journal.aclose()


def _say(status: Any) -> None:
    print(json.dumps([status.tx_id, status.state.value, status.preimage is not None]), flush=True)


def main() -> None:
    _die_at(Moment(sys.argv[1]))
    asyncio.run(_pay(json.loads(sys.argv[2])))


if __name__ == "__main__":
    main()
