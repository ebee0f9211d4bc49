"""Following the chain: heads, blocks, logs, and evidence from them."""
