"""A local network in one process: two EVM nodes that speak op-geth's JSON-RPC, and two Lightning nodes.

See ``docs/simnet.md``. Starting and stopping it needs nothing of what it runs on.
"""

from layer2.local.simnet.launch import down, up

__all__ = ["down", "up"]
