"""``layer2 demo``: transfers in both directions on a local network, the accounts, the proofs, and forged proofs."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from layer2 import __version__
from layer2.cli.demo_accounts import Books, Owned
from layer2.cli.demo_forgeries import forgeries, refusal
from layer2.cli.demo_network import Stage, stage
from layer2.cli.following import show_changes
from layer2.cli.local_config import LocalName
from layer2.cli.output import Line, Result, table
from layer2.cli.parameters import COMPLETED
from layer2.cli.proof_commands import report_lines
from layer2.cli.session import InSession, Session
from layer2.cli.transfer_wording import quote_line
from layer2.cli.wording import sat, short_hash
from layer2.errors import ConfigurationError, Layer2Error, ProofRefused
from layer2.formats.evm_address import parse_address
from layer2.formats.evm_hex import parse_data
from layer2.manager import Layer2Manager
from layer2.manager.verification import configured_policy
from layer2.model.layers import Layer2ProtocolType
from layer2.model.money import BTC, ETH
from layer2.model.transactions import EvmTxId, Finality, LightningPaymentId, TxState
from layer2.net.client_settings import ConnectionPoolConfig
from layer2.proofs.checking import check_proof
from layer2.proofs.model import ProofOutcome, TransferProof
from layer2.proofs.policy import OFFLINE, ProofPolicy
from layer2.protocols.evm.rpc.json_rpc import JsonRpc
from layer2.protocols.evm.rpc.node import EvmNode

__all__ = ["demo"]

AMOUNT = 100_000
_BOB, _LIGHTNING = Layer2ProtocolType.BOB, Layer2ProtocolType.LIGHTNING
_SETTLING_SECONDS = 30.0
_NETWORKS = {"simnet": "embedded network", "devnet": "local network of real nodes"}


async def demo(*, network: LocalName = "simnet", directory: Path | None = None, session: InSession) -> Result:
    """Move 100,000 sat in both directions on a local network, prove it, and try to forge the proofs. No real money.

    Exit status 0: both transfers completed, the accounts add up, both proofs hold with every node stopped, and every
    forged copy is refused.

    Args:
        network: simnet (default): embedded, nothing to install. devnet: real nodes, after layer2 devnet install.
        directory: The directory in which to keep all files. Default: only the proofs are kept, in layer2-demo.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="layer2-demo-") as temporary:
        place = Path(temporary) if directory is None else directory
        proofs = Path("layer2-demo") if directory is None else directory / "proofs"
        try:
            proofs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"the directory {proofs} cannot be created: {error.strerror}",
                code="unwritable_directory",
                remedy="run it in a directory in which you can write, or name one: --directory",
            ) from error
        return await _Demo(session, network, place, proofs).run(began)


class _Demo:
    """One run. ``_faults`` collects a sentence for everything that did not hold."""

    def __init__(self, session: Session, name: LocalName, place: Path, proofs: Path) -> None:
        self._session = session
        self._name: LocalName = name
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
        lines: list[Line] = [balances, "", "All nodes are stopped. The proofs, checked offline:"]
        policy = configured_policy(stand.taker_config, OFFLINE)
        lines += self._verified(files, policy)
        refused = self._forged(proofs, policy)
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

    async def _on_stage(self, stand: Stage) -> tuple[tuple[TransferProof, TransferProof], Books]:
        async with Layer2Manager(stand.taker_config) as you, Layer2Manager(stand.provider_config) as other:
            await asyncio.gather(you.initialize_all_async(), other.initialize_all_async())
            parties = {"you": you, "provider": other}
            before = {name: await _owned(manager) for name, manager in parties.items()}
            bob = await you.get_protocol_async(Layer2ProtocolType.BOB)
            first_block = await bob.legs.read_clock()
            for name, owned in before.items():
                self._say(f"  {name:<10} {sat(owned.bob)} on BOB, {sat(owned.lightning)} on Lightning")
            self._say(f"  provider   ready, identity {short_hash(stand.identity_key.hex())}")
            proofs = (
                await self._transfer(you, 1, _BOB, _LIGHTNING),
                await self._transfer(you, 2, _LIGHTNING, _BOB),
            )
            await self._settled(you, proofs[1])
            after = {name: await _owned(manager) for name, manager in parties.items()}
            fees = await _fees(parties, stand.network.bob.rpc_url, first_block.height)
        books = Books(before, after, fees)
        self._faults += books.faults()
        return proofs, books

    async def _transfer(
        self, you: Layer2Manager, number: int, source: Layer2ProtocolType, destination: Layer2ProtocolType
    ) -> TransferProof:
        self._say(f"\n{number} of 2   {source.value} -> {destination.value}   {sat(AMOUNT)}")
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
            lines += report_lines(file, report)
        return lines

    def _forged(self, proofs: tuple[TransferProof, TransferProof], policy: ProofPolicy) -> dict[str, str]:
        refused: dict[str, str] = {}
        for forgery in forgeries(*proofs):
            error = refusal(forgery.proof, policy)
            if error is None or error.check != forgery.refused_by:
                self._faults.append(f"the copy with {forgery.lie} was not refused by {forgery.refused_by}: {error}")
            else:
                refused[forgery.lie] = error.message
        return refused


async def _owned(manager: Layer2Manager) -> Owned:
    bob, lightning = await manager.get_protocol_async(_BOB), await manager.get_protocol_async(_LIGHTNING)
    on_bob, in_channels = await asyncio.gather(bob.balances_async(), lightning.balances_async())
    channels = in_channels[BTC]
    return Owned(on_bob[BTC].spendable, channels.spendable + channels.reserved, on_bob[ETH].spendable)


async def _fees(managers: Mapping[str, Layer2Manager], rpc_url: str, after_block: int) -> dict[str, int]:
    """The fees in wei of each party's transactions in the blocks after a block, from their receipts."""
    clients = {name: await manager.get_protocol_async(_BOB) for name, manager in managers.items()}
    names = {parse_address(await client.receive_address_async()): name for name, client in clients.items()}
    fees = dict.fromkeys(managers, 0)
    async with aclosing(JsonRpc(rpc_url, protocol=_BOB.value, pool=ConnectionPoolConfig(), timeout=10)) as rpc:
        node = EvmNode(rpc, _BOB.value)
        newest = await node.head(Finality.LATEST)
        for number in range(after_block + 1, newest.number + 1):
            block = await node.block(number)
            for receipt in (await node.block_receipts(block.hash) if block else None) or ():
                name = names.get(parse_data(receipt["from"], "from", size=20))
                if name is not None:
                    status = await clients[name].get_transaction_status_async(EvmTxId(str(receipt["transactionHash"])))
                    fees[name] += status.fee or 0
    return fees
