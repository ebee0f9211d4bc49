"""The keys, secrets and names of the simulated Lightning nodes, all derived from the simnet's seed."""

from __future__ import annotations

import hmac

from coincurve import PrivateKey

from layer2.local.simnet.lightning.channel import Side

__all__ = ["LightningIdentity"]


class LightningIdentity:
    """The keys and identifiers of one node and its channels, all derived from the simnet's seed.

    Args:
        seed: the simnet's seed.
        side: the node.
        channel_height: the height at which the channels' funding transactions were mined.
        channels: the number of channels.
    """

    def __init__(self, seed: bytes, side: Side, channel_height: int, channels: int) -> None:
        self._seed = seed
        self.side = side
        self.key = PrivateKey(self.secret("key"))
        self.public_key = self.key.public_key.format()
        """33 bytes."""
        self.peer_key = PrivateKey(self._derived(f"{side.peer.value} key")).public_key.format()
        names = ["channel", *(f"channel {number}" for number in range(1, channels))]
        self.channel_points = tuple(f"{self._derived(name).hex()}:0" for name in names)
        """The funding output of each channel."""
        self.channel_ids = tuple(channel_height << 40 | (number + 1) << 16 for number in range(channels))
        """The short channel id of each channel."""

    def sign(self, digest: bytes) -> bytes:
        """Sign 32 bytes with the node key; return r, s and the recovery id."""
        return self.key.sign_recoverable(digest, hasher=None)

    def secret(self, name: str) -> bytes:
        """Derive this node's secret of that name (32 bytes)."""
        return self._derived(f"{self.side.value} {name}")

    def block_hash(self, height: int) -> str:
        """The block hash that both nodes report for a height."""
        return self._derived(f"block {height}").hex()

    def _derived(self, name: str) -> bytes:
        return hmac.digest(self._seed, f"layer2 simnet lightning {name}".encode(), "sha256")
