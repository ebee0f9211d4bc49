"""A local network in one process: two EVM nodes with op-geth's JSON-RPC, and two Lightning nodes with lnd's REST.

``up`` and ``down`` start and stop it; they import neither the EVM nor the servers. See ``docs/simnet.md``.
"""

from layer2.local.simnet.launch import down, up

__all__ = ["down", "up"]
