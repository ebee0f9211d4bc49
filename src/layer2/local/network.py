"""The common interface of the two local networks, simnet and devnet: their description and their controls.

A local network runs the chains of BOB and of Rootstock (one EVM node each), and the Lightning nodes of two parties.
All of them listen only on loopback. The chains share nothing: each has its own blocks, clock and finality.
One JSON file describes the network, so that any process can find it. One loopback HTTP server controls it, so that
the same test runs on both networks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import aiohttp

from layer2.errors import ConfigurationError, NodeRefused

__all__ = ["CHAIN_IDS", "LightningNode", "LocalBitcoin", "LocalChain", "LocalNetwork", "LocalNetworkControl", "Party"]

CHAIN_IDS: Mapping[str, int] = MappingProxyType({"BOB": 60808, "ROOTSTOCK": 33})
"""The EVM chains of every local network: BOB's own chain id, and that of Rootstock's regtest."""


@dataclass(frozen=True, slots=True)
class LightningNode:
    """The connection details of one party's lnd, or of a server with lnd's REST interface."""

    rest_url: str
    """``https://127.0.0.1:PORT``"""
    certificate_file: str
    macaroon_file: str
    """It allows what a client of this package needs. ``admin.macaroon`` in the same directory allows everything."""
    node_key: str
    """The node's public key, 33 bytes as lower-case hex."""


@dataclass(frozen=True, slots=True)
class LocalChain:
    """The address of one EVM chain of a local network, and its contracts."""

    rpc_url: str
    """``http://127.0.0.1:PORT``"""
    websocket_url: str
    """``ws://127.0.0.1:PORT``; announces new heads."""
    chain_id: int
    htlc_address: str
    token_address: str
    """The token that represents bitcoin; empty if the chain's own coin does."""
    token_decimals: int
    """Of the token, or of the coin."""


@dataclass(frozen=True, slots=True)
class LocalBitcoin:
    """The address of a local network's Bitcoin node. simnet serves Esplora, devnet JSON-RPC and compact filters."""

    esplora_url: str | None = None
    """``http://127.0.0.1:PORT``"""
    rpc_url: str | None = field(default=None, repr=False)
    """``https://USER:PASSWORD@127.0.0.1:PORT``"""
    rpc_certificate_file: str | None = None
    filter_peer: str | None = None
    """``127.0.0.1:PORT``"""


@dataclass(frozen=True, slots=True)
class Party:
    """The accounts and nodes of one party, taker or provider, on a local network."""

    evm_address: str
    """Its account on every EVM chain."""
    evm_key_file: str
    """A file of mode 0600 with the 32-byte private key as hex. Test money only."""
    bitcoin_seed_file: str
    """A file of mode 0600 with a BIP 39 mnemonic. Test money only."""
    lightning: LightningNode


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """The description of a running local network, stored in ``network.json`` in its directory."""

    name: str
    """``"simnet"`` or ``"devnet"``"""
    directory: str
    control_url: str
    chains: Mapping[str, LocalChain]
    """The EVM chains by the name of their layer: ``"BOB"`` and ``"ROOTSTOCK"``."""
    bitcoin: LocalBitcoin
    taker: Party
    provider: Party
    process_ids: tuple[int, ...]
    """The network's processes at its start, the owner of the others first."""

    @property
    def bob(self) -> LocalChain:
        """BOB's chain."""
        return self.chains["BOB"]

    @property
    def rootstock(self) -> LocalChain:
        """Rootstock's chain (regtest). On the simnet its node speaks rskj's dialect, on the devnet Ethereum's."""
        return self.chains["ROOTSTOCK"]

    def save(self) -> Path:
        """Write the description to ``network.json`` in its directory and return the path."""
        path = Path(self.directory) / "network.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=1))
        partial.replace(path)
        return path

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Load the description that ``save`` wrote.

        Raises:
            ConfigurationError: no network was started in the directory, or the file is malformed.
        """
        path = directory / "network.json"
        try:
            fields = json.loads(path.read_text())
            for name in ("taker", "provider"):
                party = fields[name]
                party["lightning"] = LightningNode(**party["lightning"])
                fields[name] = Party(**party)
            fields["chains"] = {name: LocalChain(**fields["chains"][name]) for name in CHAIN_IDS}
            fields["bitcoin"] = LocalBitcoin(**fields["bitcoin"])
            fields["process_ids"] = tuple(fields["process_ids"])
            return cls(**fields)
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"no local network was started in {directory}", remedy="start one: layer2 simnet up"
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{path} does not describe a local network") from error


class LocalNetworkControl:
    """Controls a running local network. Every call returns when its effect is visible at the nodes.

    A call with a ``chain`` changes only that chain, ``"BOB"`` or ``"ROOTSTOCK"``.

    Args:
        url: the network's ``control_url``.
        session: the HTTP session to use; the caller closes it.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def _call(self, operation: str, **arguments: object) -> dict[str, Any]:
        async with self._session.post(f"{self._url}/{operation}", json=arguments) as response:
            answer = await response.json()
            if response.status != 200:
                raise NodeRefused(f"the local network refused {operation}: {answer.get('error')}", operation=operation)
            return dict(answer)

    async def mine(self, blocks: int = 1, *, chain: str = "BOB") -> int:
        """Make that many blocks now and return the chain's new height."""
        return int((await self._call("mine", chain=chain, blocks=blocks))["height"])

    async def set_automatic(self, enabled: bool, *, chain: str = "BOB") -> None:
        """Turn automatic blocks, by timer and for arriving transactions, on or off."""
        await self._call("automatic", chain=chain, enabled=enabled)

    async def advance_chain_time(self, seconds: int, *, chain: str = "BOB") -> int:
        """Move the chain's clock forward, make a block there, and return its timestamp in unix seconds."""
        return int((await self._call("chain_time", chain=chain, seconds=seconds))["timestamp"])

    async def set_finality(self, *, safe: int | None = None, finalized: int | None = None, chain: str = "BOB") -> None:
        """Set the safe and finalized heads to these heights and hold them; None lets them follow the head."""
        await self._call("finality", chain=chain, safe=safe, finalized=finalized)

    async def reorganise(
        self,
        depth: int,
        *,
        keep_transactions: bool = True,
        transactions: Sequence[bytes] = (),
        chain: str = "BOB",
    ) -> int:
        """Replace the chain's last ``depth`` blocks by a longer branch and return the new height.

        Args:
            depth: the number of blocks to remove.
            keep_transactions: whether their transactions return to the pool; if false, they are dropped (simnet only).
            transactions: signed transactions for the branch's first block; its other blocks are empty.
            chain: the chain to reorganise.
        """
        raw = ["0x" + transaction.hex() for transaction in transactions]
        answer = await self._call("reorganise", chain=chain, depth=depth, keep=keep_transactions, transactions=raw)
        return int(answer["height"])

    async def mine_bitcoin(self, blocks: int = 1) -> int:
        """Mine that many Bitcoin blocks, wait until each running Lightning node sees them, and return the height."""
        return int((await self._call("mine_bitcoin", blocks=blocks))["height"])

    async def stop_lightning(self, party: Literal["taker", "provider"]) -> None:
        """Kill that party's Lightning node. Returns when the other node has noticed the disconnection."""
        await self._call("stop_lightning", party=party)

    async def start_lightning(self, party: Literal["taker", "provider"], *, new_certificate: bool = False) -> None:
        """Restart that party's Lightning node with the same data and address.

        Returns when the node accepts all commands. If both nodes run and their channel is open, it also waits until the
        channel is active.

        Args:
            party: the owner of the stopped node.
            new_certificate: whether the node replaces its TLS certificate, in the same file.
        """
        await self._call("start_lightning", party=party, new_certificate=new_certificate)

    async def fault(self, target: str, kind: str, **arguments: object) -> None:
        """Set a fault switch (simnet only; devnet refuses). ``kind="none"`` clears all faults of the target.

        Args:
            target: ``"bob"``, ``"rootstock"``, ``"taker_lightning"`` or ``"provider_lightning"``.
            kind: ``"down"``, ``"drop_reply"``, ``"delay"``, ``"error"``; see the simnet's documentation.
            arguments: the kind's arguments, such as ``method``, ``path``, ``count``, ``seconds``.
        """
        await self._call("fault", target=target, kind=kind, **arguments)

    async def status(self) -> dict[str, Any]:
        """Heights, times and balances of the whole network, for display."""
        return await self._call("status")
