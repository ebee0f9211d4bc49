"""A local network of the real nodes: btcd, two lnd, and two op-geth (BOB, Rootstock). See ``docs/devnet.md``."""

from layer2.local.devnet.install import Binaries, install, installed
from layer2.local.devnet.network import DevnetStatus, down, status, up, why_unavailable

__all__ = ["Binaries", "DevnetStatus", "down", "install", "installed", "status", "up", "why_unavailable"]
