"""``layer2 demo``: transfers on a local network, the accounts, the proofs, and forged proofs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

from layer2 import __version__
from layer2.cli.demo_accounts import Books
from layer2.cli.demo_balances import Accountant
from layer2.cli.demo_forgeries import forgeries, refusal
from layer2.cli.demo_network import Stage, stage
from layer2.cli.following import show_changes
from layer2.cli.local_config import LocalName
from layer2.cli.output import Line, Result, table
from layer2.cli.parameters import COMPLETED
from layer2.cli.proof_wording import report_lines
from layer2.cli.session import EngineName, InSession, Session, missing_extra
from layer2.cli.transfer_wording import quote_line
from layer2.cli.wording import sat, short_hash
from layer2.errors import ConfigurationError, InvalidRequest, Layer2Error, ProofRefused
from layer2.manager import Layer2Manager
from layer2.manager.verification import configured_policy
from layer2.model.layers import LAYERS, Layer2ProtocolType
from layer2.model.money import BTC
from layer2.model.transactions import LightningPaymentId, TxState
from layer2.proofs.check import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import OFFLINE, ProofPolicy

__all__ = ["demo"]

AMOUNT = 100_000
_BOB, _LIGHTNING, _BITCOIN = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING, Layer2ProtocolType.BITCOIN
_Swaps: TypeAlias = Annotated[int, Parameter(validator=Number(gte=2, lte=5_000))]
_Direction: TypeAlias = tuple[Layer2ProtocolType, Layer2ProtocolType]
_BOTH_WAYS: Final[tuple[_Direction, ...]] = ((_BOB, _LIGHTNING), (_LIGHTNING, _BOB))
_STOPPED: Final = "All nodes are stopped: no node confirms the blocks in the proofs. Checked offline, they show:"
_SETTLING_SECONDS = 30.0
_NETWORKS = {"simnet": "embedded network", "devnet": "local network of real nodes"}


async def demo(
    *,
    network: LocalName = "simnet",
    pair: Annotated[str | None, Parameter(name="--pair")] = None,
    directory: Path | None = None,
    engine: EngineName = "process",
    swaps: _Swaps = 300,
    temporal: str | None = None,
    postgres: str | None = None,
    session: InSession,
) -> Result:
    """Move 100,000 sat on a local network, prove it, and try to forge the proofs. No real money.

    Without --pair it moves them from BOB to Lightning and back. Exit status 0: the transfers completed, the accounts
    add up, the proofs hold with every node stopped, and every forged copy is refused.

    With --engine temporal, three workers carry out many swaps between BOB and Lightning, and one worker is killed in
    the middle. It shows which worker did what. Exit status 0: all completed, and the accounts add up.

    Args:
        network: simnet (default): embedded, nothing to install. devnet: real nodes, after layer2 devnet install.
        pair: SOURCE:DESTINATION, any two of the four layers, such as bitcoin:lightning: one transfer in that direction.
        directory: The directory in which to keep all files. Default: only the proofs are kept, in layer2-demo.
        engine: What carries out the provider's swaps: its process (default), or three Temporal workers.
        swaps: With --engine temporal, how many. Default: 300.
        temporal: With --engine temporal, HOST:PORT of a Temporal server. Default: the demo starts one.
        postgres: With --engine temporal, the URL of an empty PostgreSQL database. Default: the demo starts a server.
    """
    if engine == "temporal":
        return await _of_workers(network, pair, directory, swaps, temporal, postgres, session)
    directions = _BOTH_WAYS if pair is None else (_direction(pair),)
    began = time.monotonic()
    proofs = Path("layer2-demo") if directory is None else directory / "proofs"
    _create(proofs)
    with _place(directory) as place:
        return await _Demo(session, network, directions, place, proofs).run(began)


async def _of_workers(
    network: LocalName,
    pair: str | None,
    directory: Path | None,
    swaps: int,
    temporal: str | None,
    postgres: str | None,
    session: Session,
) -> Result:
    if network != "simnet" or pair is not None:
        raise InvalidRequest(
            "the demo of workers is on the simnet, between BOB and Lightning",
            code="demo_of_workers",
            remedy="leave out --network and --pair, or --engine",
        )
    try:
        from layer2.cli.demo_workers import demo_of_workers
    except ModuleNotFoundError as error:
        raise missing_extra(error, "provider,temporal,simnet") from error
    with _place(directory) as place:
        return await demo_of_workers(session, place, swaps, temporal=temporal, postgres=postgres)


@contextmanager
def _place(directory: Path | None) -> Iterator[Path]:
    """A directory for all files of a run, by default a temporary one.

    Raises:
        ConfigurationError: it cannot be created.
    """
    if directory is not None:
        _create(directory)
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="layer2-demo-") as temporary:
        yield Path(temporary)


def _create(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the directory {directory} cannot be created: {error.strerror}",
            code="unwritable_directory",
            remedy="run it in a directory in which you can write, or name one: --directory",
        ) from error


def _direction(text: str) -> _Direction:
    """``bitcoin:lightning``

    Raises:
        InvalidRequest: they are not two different layers; lists the layers.
    """
    layers = {layer.value.lower(): layer for layer, facts in LAYERS.items() if "regtest" in facts.clients_on}
    source, _, destination = text.lower().partition(":")
    if source not in layers or destination not in layers or source == destination:
        raise InvalidRequest(
            f"--pair is SOURCE:DESTINATION with two different layers of {', '.join(layers)}, and not {text!r}",
            code="pair",
            remedy="for example: --pair bitcoin:lightning",
        )
    return layers[source], layers[destination]


class _Demo:
    """One run. ``_faults`` collects a sentence for everything that did not hold."""

    def __init__(
        self, session: Session, name: LocalName, directions: Sequence[_Direction], place: Path, proofs: Path
    ) -> None:
        self._session = session
        self._name: LocalName = name
        self._directions = directions
        self._place = place
        self._proof_place = proofs
        self._faults: list[str] = []
        self._say = session.terminal.say

    async def run(self, began: float) -> Result:
        self._say(f"layer2 {__version__}, {_NETWORKS[self._name]}: everything runs on this machine, no real money")
        async with AsyncExitStack() as stack:
            with self._session.terminal.working("starting the network and the provider"):
                stand = await stack.enter_async_context(stage(self._name, self._place, self._say))
            proofs, books = await self._on_stage(stand)
        running = stand.running()
        if running:
            self._faults.append(f"processes still run: {running}")
        files = [proof.save(self._proof_place / f"transfer-{proof.terms.terms.swap_id}.json") for proof in proofs]
        balances = table(("party", "layer", ">before, sat", ">after, sat", ">change, sat", ">gas"), books.rows())
        lines: list[Line] = [balances, "", _STOPPED]
        policy = configured_policy(stand.taker_config, OFFLINE)
        lines += self._verified(files, policy)
        refused = self._forged(proofs, policy)
        lines += ["Forged copies of these proofs:"]
        lines += [f"  {lie:<22} refused   {reason}" for lie, reason in refused.items()]
        seconds = time.monotonic() - began
        lines += ["", f"Total time {seconds:.1f} s. Next: layer2 simnet up, layer2 devnet up, docs/tutorial.md"]
        return Result(
            {
                "network": self._name,
                "seconds": round(seconds, 1),
                "proof_files": [str(file) for file in files],
                "balances": books.data(),
                "forgeries_refused": refused,
                "faults": self._faults,
            },
            lines,
            problem=None if not self._faults else Layer2Error("; ".join(self._faults), code="demo_failed"),
        )

    async def _on_stage(self, stand: Stage) -> tuple[Sequence[TransferProof], Books]:
        layers = list(dict.fromkeys(layer for direction in self._directions for layer in direction))
        blocks = stand.bitcoin_blocks() if _BITCOIN in layers else nullcontext()
        accountant = Accountant(layers, stand.taker_config)
        async with Layer2Manager(stand.taker_config) as you:
            await you.initialize_all_async()
            async with Layer2Manager(stand.provider_config) as other:
                await other.initialize_all_async()
                before, heights = await accountant.owned({"you": you, "provider": other}), await accountant.heights(you)
            for name, owned in before.items():
                amounts = [f"{sat(amount)} on {_shown(layer)}" for layer, amount in owned.satoshi.items()]
                self._say(f"  {name:<10} {', '.join(amounts)}")
            self._say(f"  provider   ready, identity {short_hash(stand.identity_key.hex())}")
            async with blocks:
                proofs = [
                    await self._transfer(you, number, *direction)
                    for number, direction in enumerate(self._directions, start=1)
                ]
                if self._directions[-1][0] is _LIGHTNING:
                    await self._settled(you, proofs[-1])
            # A new manager: a wallet finds the addresses that another process has used only when it is opened.
            async with Layer2Manager(stand.provider_config) as other:
                await other.initialize_all_async()
                books = await accountant.close({"you": you, "provider": other}, before, heights)
        self._faults += books.faults()
        return proofs, books

    async def _transfer(
        self, you: Layer2Manager, number: int, source: Layer2ProtocolType, destination: Layer2ProtocolType
    ) -> TransferProof:
        self._say(f"\n{number} of {len(self._directions)}   {source.value} -> {destination.value}   {sat(AMOUNT)}")
        quote = await you.quote_transfer_async(BTC, AMOUNT, source, destination)
        self._say(f"  quoted        {quote_line(quote, time.time())}")
        began = time.monotonic()
        transfer = await you.start_transfer_async(quote)
        await show_changes(you, transfer.transfer_id, COMPLETED, self._session, "  ")
        proof = await you.wait_for_transfer_async(transfer.transfer_id)
        if not await you.verify_cross_layer_proof_async(proof):
            self._faults.append(f"the proof of transfer {number} does not hold at your own node")
        self._say(f"  {time.monotonic() - began:.1f} s")
        return proof

    async def _settled(self, you: Layer2Manager, proof: TransferProof) -> None:
        """Wait until the provider has settled the Lightning payment, for which it has hours: the accounts need it."""
        lightning = await you.get_protocol_async(_LIGHTNING)
        payment = LightningPaymentId(proof.terms.terms.payment_hash.hex())
        await lightning.wait_for_status_async(payment, until=TxState.FINAL, timeout=_SETTLING_SECONDS)

    def _verified(self, files: list[Path], policy: ProofPolicy) -> list[str]:
        lines: list[str] = []
        for file in files:
            try:
                report = check_proof(TransferProof.load(file), policy)
            except ProofRefused as error:
                self._faults.append(f"{file} is refused: {error}")
                continue
            if report.outcome is not ProofOutcome.COMPLETED:
                self._faults.append(f"{file} does not show a completed transfer")
            lines += report_lines(file, report, is_real=False)
        return lines

    def _forged(self, proofs: Sequence[TransferProof], policy: ProofPolicy) -> dict[str, str]:
        refused: dict[str, str] = {}
        for forgery in forgeries(*proofs):
            error = refusal(forgery.proof, policy)
            if error is None or error.check != forgery.refused_by:
                self._faults.append(f"the copy with {forgery.lie} was not refused by {forgery.refused_by}: {error}")
            else:
                refused[forgery.lie] = error.message
        return refused


def _shown(layer: Layer2ProtocolType) -> str:
    return "BOB" if layer is _BOB else layer.value.capitalize()
