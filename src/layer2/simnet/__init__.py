"""A local network in one process: an EVM node that speaks BOB's JSON-RPC, and two Lightning nodes.

See ``docs/simnet.md``. Starting and stopping it needs nothing of what it runs on.
"""

from layer2.simnet.launch import down, up

__all__ = ["down", "up"]
