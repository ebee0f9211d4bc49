"""JSON-RPC to nodes: the wire, batches, fail-over, and typed, checked calls."""
