"""A local network in one process: an EVM node that speaks BOB's JSON-RPC, and two Lightning nodes."""
