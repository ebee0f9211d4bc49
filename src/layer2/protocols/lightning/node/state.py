"""The party's lnd itself: what it is, whether it is fit for use, and its clocks."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from layer2.errors import AuthenticationFailed, BadAnswer, ConfigurationError, FormatError, ProofRefused, WrongNetwork
from layer2.formats.signed_message import message_bytes, verify_message
from layer2.legs.views import ClockReading
from layer2.ports.clock import Clock
from layer2.protocols.lightning.lnd.answers import LIGHTNING, Answer
from layer2.protocols.lightning.lnd.readiness import NotReady, WalletState, not_ready_error
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.node.channels import Channel, channel_ids, read_channel
from layer2.protocols.lightning.node.permissions import check_permissions
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["LndNode", "NodeState"]

MOST_CLOCK_DIFFERENCE: Final = 60
"""Seconds."""
_STATE_PATH: Final = "/v1/state"
_HOLD_EXPIRY_DELTA: Final = "invoices.holdexpirydelta"
_KEY_LENGTH: Final = 33


@dataclass(frozen=True, slots=True)
class NodeState:
    """One answer about the node itself."""

    key: bytes
    """33 bytes."""
    version: str
    network: str
    """As lnd calls it: ``mainnet``, ``testnet``, ``testnet4``, ``signet``, ``regtest``."""
    is_synced: bool
    height: int
    date: float
    """The node's own time, unix seconds, from the same answer."""
    clock_difference: float
    """Seconds by which that time is certainly off from this machine's; 0 within the time that the call took."""

    @property
    def clock(self) -> ClockReading:
        return ClockReading(chain_time=int(self.date), height=self.height)

    def check_current(self) -> None:
        """Refuse a node that is behind the chain or has another time.

        Raises:
            BadAnswer: what it is.
        """
        if not self.is_synced:
            raise BadAnswer(
                f"lnd is not synced to the chain (height {self.height})",
                code="not_synced",
                protocol=LIGHTNING,
                retryable=True,
                remedy="wait until getinfo shows synced_to_chain",
            )
        if self.clock_difference > MOST_CLOCK_DIFFERENCE:
            raise BadAnswer(
                f"the clocks of lnd and of this machine differ by {self.clock_difference:.0f} s; "
                f"at most {MOST_CLOCK_DIFFERENCE} s are safe",
                code="clock",
                protocol=LIGHTNING,
                remedy="set both machines' clocks (NTP)",
            )


class LndNode:
    """Asks the node about itself.

    Args:
        rest: the way to it.
        settings: what it must be.
        clock: this machine's.
    """

    def __init__(self, rest: LndRest, settings: LightningSettings, clock: Clock) -> None:
        self._rest = rest
        self._settings = settings
        self._clock = clock
        self._key: bytes | None = None
        self._hold_expiry: int | None = None

    async def check(self) -> None:
        """Check that the node is the configured one and fit for use. Whether it has channels is not asked for here.

        Raises:
            NodeUnreachable: nothing answers there.
            AuthenticationFailed: its certificate is another one, or the macaroon is not of this node or allows too
                little.
            NodeRefused: it has no wallet, or that is locked, or it is still starting.
            WrongNetwork: it is on another network.
            ConfigurationError: it is too old, or its configuration would lose held payments.
            BadAnswer: it is not synced, or its clock differs.
        """
        wallet = await self._wallet_state()
        try:
            state = await self.state()
        except AuthenticationFailed:
            await check_permissions(self._rest)
            raise
        self._check_network(state.network)
        self._check_version(state.version)
        await check_permissions(self._rest)
        if wallet is not WalletState.SERVER_ACTIVE:
            state.check_current()
            raise not_ready_error(NotReady.STARTING, _STATE_PATH)
        self._check_hold_expiry(await self._configured_hold_expiry())
        # Last: whoever only has to settle what is held already goes on without it.
        state.check_current()

    async def _wallet_state(self) -> WalletState:
        # Asked for without a macaroon: before there is a wallet there is none.
        answer = await self._rest.get(_STATE_PATH, with_macaroon=False)
        state = answer.fields.word("state", WalletState)
        if state.not_ready is not None:
            raise not_ready_error(state.not_ready, _STATE_PATH)
        return state

    def _check_network(self, network: str) -> None:
        configured = self._settings.network
        if network.removesuffix("4") != configured:
            raise WrongNetwork(
                f"lnd is on {network}, the configuration says {configured}",
                protocol=LIGHTNING,
                remedy="correct network, or rest_url",
            )

    def _check_version(self, version: str) -> None:
        minimum = self._settings.minimum_version
        if _version(version) < _version(minimum):
            raise ConfigurationError(
                f"lnd {version} is older than {minimum}; older ones have bugs that lose funds",
                code="node_version",
                protocol=LIGHTNING,
                remedy="update the node; who knows better sets minimum_version",
            )

    async def state(self) -> NodeState:
        """What the node says of itself now.

        Raises:
            BadAnswer: an answer that cannot be right; without the time among others.
        """
        before = self._clock.now()
        answer = await self._rest.get("/v1/getinfo")
        state = _node_state(answer, before, self._clock.now())
        self._key = state.key
        return state

    async def key(self) -> bytes:
        """The node's public key, 33 bytes; asked for once."""
        if self._key is None:
            return (await self.state()).key
        return self._key

    async def current_state(self) -> NodeState:
        """``state``, refused where the node is not synced or its clock differs (BadAnswer)."""
        state = await self.state()
        state.check_current()
        return state

    async def sign(self, message: str | bytes) -> str:
        """The node key's signature of a message, checked: nobody could tell a wrong one from none.

        Raises:
            FormatError: there is no message, or it cannot be written.
            BadAnswer: another key signed, or something else was signed.
        """
        body = {"msg": b64encode(message_bytes(message)).decode()}
        fields = (await self._rest.post("/v1/signmessage", body)).fields
        signature = fields.text("signature")
        try:
            verify_message(message, signature, await self.key())
        except (FormatError, ProofRefused):
            raise fields.wrong("the signature is not one of the node's key under this message") from None
        return signature

    async def channels(self) -> Sequence[Channel]:
        """The open channels."""
        answer = await self._rest.get("/v1/channels")
        return [read_channel(channel) for channel in answer.fields.objects("channels")]

    async def closed_channel_ids(self) -> frozenset[int]:
        """The channels that are closed and wholly resolved on the chain."""
        answer = await self._rest.get("/v1/channels/closed")
        return frozenset().union(*map(channel_ids, answer.fields.objects("channels")))

    async def has_closing_channels(self) -> bool:
        """Whether a channel is being closed whose HTLCs may still be resolved on the chain."""
        fields = (await self._rest.get("/v1/channels/pending")).fields
        return bool(fields.objects("waiting_close_channels") or fields.objects("pending_force_closing_channels"))

    async def hold_expiry_delta(self) -> int:
        """How many blocks before its expiry the node gives up a held HTLC by itself; asked for once.

        Where the node does not say, it counts as what the margins allow for: the most that an lnd has by default.
        """
        if self._hold_expiry is None:
            configured = await self._configured_hold_expiry()
            self._hold_expiry = self._settings.timelocks.hold_expiry_blocks if configured is None else configured
        return self._hold_expiry

    async def _configured_hold_expiry(self) -> int | None:
        try:
            answer = await self._rest.get("/v1/getdebuginfo")
            return int(answer.fields.inner("config").text(_HOLD_EXPIRY_DELTA))
        except (BadAnswer, ValueError):
            # Before 0.21 the answer holds the whole log, which may be longer than is read here.
            return None

    def _check_hold_expiry(self, delta: int | None) -> None:
        allowed = self._settings.timelocks.hold_expiry_blocks
        if delta == 0:
            problem = "lnd never gives up a held payment (invoices.holdexpirydelta is 0) and would close the channel"
        elif delta is not None and delta > allowed:
            problem = f"lnd gives up a held payment {delta} blocks before its expiry; swaps allow for {allowed}"
        else:
            return
        raise ConfigurationError(
            problem,
            code="hold_expiry",
            protocol=LIGHTNING,
            remedy=f"set invoices.holdexpirydelta={allowed} in lnd.conf",
        )


def _node_state(answer: Answer, before: float, after: float) -> NodeState:
    fields = answer.fields
    chains = fields.objects("chains")
    if not chains:
        raise fields.wrong("field chains is empty")
    if answer.date is None:
        raise fields.wrong("there is no Date header that can be read")
    # The header has whole seconds, so it may be up to one second behind.
    difference = max(before - (answer.date + 1), answer.date - after, 0.0)
    return NodeState(
        key=fields.hex("identity_pubkey", _KEY_LENGTH),
        version=fields.text("version"),
        network=chains[0].text("network"),
        is_synced=fields.flag("synced_to_chain"),
        height=fields.integer("block_height"),
        date=answer.date,
        clock_difference=difference,
    )


def _version(text: str) -> tuple[int, ...]:
    match = re.match(r"v?([0-9]+)\.([0-9]+)\.([0-9]+)", text)
    if match is None:
        raise BadAnswer("lnd shows a version that cannot be read", protocol=LIGHTNING)
    return tuple(int(part) for part in match.groups())
