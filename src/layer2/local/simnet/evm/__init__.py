"""A simulated EVM chain and its JSON-RPC."""
