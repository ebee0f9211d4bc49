"""A local network in one process, without Docker: an EVM node that speaks BOB's RPC, and two Lightning nodes."""
