"""The party's lnd: identity, checks before use, time and height."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from layer2.errors import AuthenticationFailed, BadAnswer, ConfigurationError, FormatError, ProofRefused, WrongNetwork
from layer2.formats.signed_message import message_bytes, verify_message
from layer2.legs.views import ClockReading
from layer2.ports.clock import Clock
from layer2.protocols.lightning.lnd.answers import LIGHTNING, Answer
from layer2.protocols.lightning.lnd.failures import NotReady, WalletState, not_ready_error
from layer2.protocols.lightning.lnd.rest import LndRest
from layer2.protocols.lightning.node.liquidity import Channel, channel_ids, read_channel
from layer2.protocols.lightning.node.permissions import check_permissions
from layer2.protocols.lightning.node.shared_read import SharedRead
from layer2.protocols.lightning.settings import LightningSettings

__all__ = ["LndNode", "NodeState"]

MAX_CLOCK_DIFFERENCE: Final = 60
"""Seconds by which the clocks of the node and of this machine may differ."""
_STATE_PATH: Final = "/v1/state"
_HOLD_EXPIRY_DELTA: Final = "invoices.holdexpirydelta"
_KEY_LENGTH: Final = 33
_RECENT_SECONDS: Final = 5.0
"""Maximum age of the state that ``LndNode.recent_state`` returns."""
_CHANNEL_SECONDS: Final = 0.2
"""Minimum seconds between two reads of the channels that show whether settled payments are resolved."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """The node's state in one answer."""

    key: bytes
    """33 bytes."""
    version: str
    network: str
    """lnd's name: ``mainnet``, ``testnet``, ``testnet4``, ``signet`` or ``regtest``."""
    is_synced: bool
    height: int
    date: float
    """Unix seconds by the node's clock, from the same answer."""
    clock_difference: float
    """Seconds by which the clocks differ at least; 0 if the duration of the call explains the difference."""

    @property
    def clock(self) -> ClockReading:
        """Time and height for views of legs."""
        return ClockReading(chain_time=int(self.date), height=self.height)

    def check_current(self) -> None:
        """Check that the node is synced and its clock is right.

        Raises:
            BadAnswer: ``not_synced`` or ``clock``.
        """
        if not self.is_synced:
            raise BadAnswer(
                f"lnd is not synced to the chain (height {self.height})",
                code="not_synced",
                protocol=LIGHTNING,
                retryable=True,
                remedy="wait until getinfo shows synced_to_chain",
            )
        if self.clock_difference > MAX_CLOCK_DIFFERENCE:
            raise BadAnswer(
                f"the clocks of lnd and this machine differ by {self.clock_difference:.0f} s; "
                f"at most {MAX_CLOCK_DIFFERENCE} s are safe",
                code="clock",
                protocol=LIGHTNING,
                remedy="set both machines' clocks (NTP)",
            )


class LndNode:
    """Reads the state of the node and its channels, and checks the node.

    Args:
        rest: the node's REST interface.
        settings: the expected network and version.
        clock: this machine's clock.
    """

    def __init__(self, rest: LndRest, settings: LightningSettings, clock: Clock) -> None:
        self._rest = rest
        self._settings = settings
        self._clock = clock
        self._key: bytes | None = None
        self._hold_expiry: int | None = None
        self._states = SharedRead(self._timed_state)
        self._open_channels = SharedRead(self.channels, _CHANNEL_SECONDS)
        self._closed_channels = SharedRead(self.closed_channel_ids, _CHANNEL_SECONDS)

    async def check(self) -> None:
        """Check that the node is the configured one and ready for use. Channels are not checked.

        Raises:
            NodeUnreachable: there is no answer.
            AuthenticationFailed: it has another certificate, or the macaroon is of another node or lacks permissions.
            NodeRefused: it has no wallet, its wallet is locked, or it is starting.
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
        # Checked last: a caller that only has to settle held payments continues without it.
        state.check_current()

    async def _wallet_state(self) -> WalletState:
        # Without a macaroon, because a node without a wallet has none.
        answer = await self._rest.get(_STATE_PATH, with_macaroon=False)
        state = answer.fields.enum("state", WalletState)
        if state.not_ready is not None:
            raise not_ready_error(state.not_ready, _STATE_PATH)
        return state

    def _check_network(self, network: str) -> None:
        configured = self._settings.network
        if network.removesuffix("4") != configured:
            raise WrongNetwork(
                f"lnd is on {network}, but the configuration has {configured}",
                protocol=LIGHTNING,
                remedy="correct network, or rest_url",
            )

    def _check_version(self, version: str) -> None:
        minimum = self._settings.minimum_version
        if _version(version) < _version(minimum):
            raise ConfigurationError(
                f"lnd {version} is older than {minimum}, and older versions have bugs that lose funds",
                code="node_version",
                protocol=LIGHTNING,
                remedy="update the node, or set minimum_version if you know that this version is safe",
            )

    async def state(self) -> NodeState:
        """Read the node's state.

        Raises:
            BadAnswer: the answer cannot be right, or has no time.
        """
        before = self._clock.now()
        answer = await self._rest.get("/v1/getinfo")
        state = _node_state(answer, before, self._clock.now())
        self._key = state.key
        return state

    async def key(self) -> bytes:
        """Return the node's public key, 33 bytes. It is requested once."""
        if self._key is None:
            return (await self.state()).key
        return self._key

    async def current_state(self) -> NodeState:
        """Read the node's state, and check it with ``NodeState.check_current``."""
        state = await self.state()
        state.check_current()
        return state

    async def current_state_within(self, seconds: float) -> NodeState:
        """``shared_state``, checked with ``NodeState.check_current``."""
        state = await self.shared_state(seconds)
        state.check_current()
        return state

    async def recent_state(self) -> NodeState:
        """Return a checked state that is at most five seconds old, with the node's present time.

        Concurrent calls share one request. A state that fails the check is not reused.

        Raises:
            BadAnswer: the node is not synced, or its clock differs.
            NodeError: the node did not answer, or refused.
        """
        state = await self.shared_state(_RECENT_SECONDS)
        try:
            state.check_current()
        except BadAnswer:
            self._states.forget()
            raise
        return state

    async def shared_state(self, seconds: float) -> NodeState:
        """Return a state that is at most so old, unchecked, with the node's present time. Callers share one request.

        Args:
            seconds: maximum age, by this machine's clock and by the clock of the event loop, which is never set but may
                stop while the machine sleeps.

        Raises:
            NodeError: the node did not answer, or refused.
        """
        now = asyncio.get_running_loop().time()
        if (last := self._states.last) is not None:
            state, asked_at, asked_at_in_loop = last
            ages = (self._clock.now() - asked_at, now - asked_at_in_loop)
            if min(ages) >= 0 and max(ages) <= seconds:
                return replace(state, date=state.date + max(ages))
            self._states.forget()
        return (await self._states.since(now - seconds))[0]

    async def _timed_state(self) -> tuple[NodeState, float, float]:
        asked_at, asked_at_in_loop = self._clock.now(), asyncio.get_running_loop().time()
        return await self.state(), asked_at, asked_at_in_loop

    async def aclose(self) -> None:
        """Forget what was read, and cancel requests that are under way."""
        for read in (self._states, self._open_channels, self._closed_channels):
            await read.aclose()

    async def sign(self, message: str | bytes) -> str:
        """Sign a message with the node's key, and verify the signature.

        Raises:
            FormatError: the message is empty or cannot be encoded.
            BadAnswer: the signature is by another key or of another message.
        """
        body = {"msg": b64encode(message_bytes(message)).decode()}
        fields = (await self._rest.post("/v1/signmessage", body)).fields
        signature = fields.text("signature")
        try:
            verify_message(message, signature, await self.key())
        except (FormatError, ProofRefused):
            raise fields.wrong("the signature is not by the node's key for this message") from None
        return signature

    async def channels(self) -> Sequence[Channel]:
        """Return the open channels."""
        answer = await self._rest.get("/v1/channels")
        return [read_channel(channel) for channel in answer.fields.objects("channels")]

    async def channels_since(self, moment: float) -> Sequence[Channel]:
        """Return the open channels as they were at this moment or later.

        Callers share one request, which is repeated at a limited pace.

        Args:
            moment: by the clock of the event loop.
        """
        return await self._open_channels.since(moment)

    async def closed_channel_ids_since(self, moment: float) -> frozenset[int]:
        """``closed_channel_ids`` at this moment or later, shared as by ``channels_since``."""
        return await self._closed_channels.since(moment)

    async def closed_channel_ids(self) -> frozenset[int]:
        """Return the ids of channels that are closed and fully resolved on the chain."""
        answer = await self._rest.get("/v1/channels/closed")
        return frozenset().union(*map(channel_ids, answer.fields.objects("channels")))

    async def has_closing_channels(self) -> bool:
        """Return whether a channel is closing whose HTLCs may still be resolved on the chain."""
        fields = (await self._rest.get("/v1/channels/pending")).fields
        return bool(fields.objects("waiting_close_channels") or fields.objects("pending_force_closing_channels"))

    async def hold_expiry_delta(self) -> int:
        """Return how many blocks before its expiry the node returns a held HTLC by itself. It is requested once.

        If the node does not show it, the value is the one that swaps allow for: the highest default of any lnd.
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
            # Before 0.21 the answer has the whole log, which may exceed the limit on an answer.
            return None

    def _check_hold_expiry(self, delta: int | None) -> None:
        allowed = self._settings.timelocks.hold_expiry_blocks
        if delta == 0:
            problem = "lnd never returns a held payment (invoices.holdexpirydelta is 0) and would close the channel"
        elif delta is not None and delta > allowed:
            problem = f"lnd returns a held payment {delta} blocks before its expiry; swaps allow for {allowed}"
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
        raise fields.wrong("the Date header is missing or unreadable")
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
        raise BadAnswer("lnd reports a version of unknown format", protocol=LIGHTNING)
    return tuple(int(part) for part in match.groups())
