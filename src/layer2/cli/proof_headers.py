"""``layer2 proof headers``, and the file that it writes and ``--headers`` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from layer2.cli.output import Result
from layer2.cli.parameters import Layer
from layer2.cli.proof_file import load
from layer2.cli.proof_policy import written_tokens
from layer2.cli.session import InSession
from layer2.errors import ConfigurationError, FormatError, InvalidRequest, ProofRefused
from layer2.legs.chain_header import reader_after
from layer2.legs.evidence import EvmEvidence
from layer2.legs.lock_evidence import block_of
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs.header_chain import LONGEST_LINE, read_headers, write_headers
from layer2.proofs.model import TransferProof

__all__ = ["HeaderFile", "headers"]


@dataclass(frozen=True, slots=True)
class HeaderFile:
    """The headers in a file. Each iteration reads it again: one line at a time, and only as far as it goes."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> HeaderFile:
        """The file at a path.

        Raises:
            ConfigurationError: it cannot be read.
        """
        with _opened(path):
            return cls(path)

    def __iter__(self) -> Iterator[bytes]:
        """The headers, oldest first.

        Raises:
            ConfigurationError: the file cannot be read.
            ProofRefused: it contains something else; check ``header_chain``.
        """
        with _opened(self.path) as stream:
            try:
                yield from read_headers(_lines(stream))
            except (FormatError, UnicodeDecodeError) as error:
                raise ProofRefused("header_chain", f"{self.path} does not contain headers") from error


async def headers(
    file: Path, output: Path, *, layer: Layer | None = None, final: bool = False, session: InSession
) -> Result:
    """Write the headers after a proof's block, for a verifier without a node (proof verify --headers).

    They come from your node, and end with its safe block.

    Args:
        file: The proof.
        output: The file to write.
        layer: The layer of the block, if both legs have one.
        final: End with the finalized block.
    """
    from layer2.manager import Layer2Manager
    from layer2.manager.verification import configured_policy
    from layer2.model.transactions import Finality
    from layer2.protocols.evm.client import EvmClient

    proof = load(file)
    _check_is_another(output, file)
    evidence = _evidence_with_header(proof, layer)
    config = session.config()
    async with Layer2Manager(config) as manager:
        client = await manager.get_protocol_async(evidence.protocol)
        with session.terminal.working(f"asking your {evidence.protocol.value} node"):
            await client.initialize_async()
            assert isinstance(client, EvmClient), "only EVM layers have this type of evidence"
            chain = await client.header_chain_async(evidence, until=Finality.FINALIZED if final else Finality.SAFE)
    _write(output, write_headers(chain))
    last = "0x" + (reader_after(evidence)(chain[-1]).hash if chain else block_of(evidence).hash).hex()
    provider = proof.terms.terms.provider.hex()
    declared = [f"--provider {provider}"] if provider in {each.identity_key for each in config.providers} else []
    declared += [] if config.network == "mainnet" else [f"--network {config.network}"]
    declared += [f"--token {each}" for each in written_tokens(configured_policy(config, None))]
    lines = [
        f"{output}   {len(chain)} headers, up to block {last}",
        f"to check: {_command(file, output, evidence.protocol, last, declared)}",
        f"the verifier needs {last} from a source that it trusts: the headers do not show that it is on the chain",
    ]
    return Result({"file": str(output), "headers": len(chain), "trusted_header": last}, lines)


def _command(file: Path, output: Path, layer: Layer2ProtocolType, last: str, declared: Sequence[str]) -> str:
    """The command of a verifier that trusts the last block. It names the layer: the other leg may have a block too."""
    trusted = f"--trusted-header {layer.value}:{last} --headers {layer.value}:{output}"
    return " ".join(["layer2 proof verify", str(file), trusted, *declared])


def _evidence_with_header(proof: TransferProof, layer: Layer2ProtocolType | None) -> EvmEvidence:
    found = [
        leg
        for leg in (proof.source_leg, proof.destination_leg)
        if isinstance(leg, EvmEvidence) and layer in (None, leg.protocol)
    ]
    if not found:
        where = "" if layer is None else f" on {layer.value}"
        raise InvalidRequest(
            f"no leg{where} has a header of an EVM layer: there are no headers to write",
            code="usage",
            remedy="the evidence of a leg on BITCOIN has the headers after its block itself",
        )
    if len(found) > 1:
        raise InvalidRequest("both legs have a block: name one of their layers with --layer", code="usage")
    return found[0]


def _check_is_another(output: Path, file: Path) -> None:
    if output.exists() and output.samefile(file):
        raise InvalidRequest("the headers would overwrite the proof: name another file", code="usage")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}", code="unwritable_file") from error


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", code="unreadable_file") from error


def _lines(stream: BinaryIO) -> Iterator[str]:
    """The lines of a file. One that is too long for a header is cut, so that it takes no memory."""
    while line := stream.readline(LONGEST_LINE + 2):
        yield line.decode("ascii").replace("\r\n", "\n")
