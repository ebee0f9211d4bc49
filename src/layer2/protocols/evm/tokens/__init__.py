"""ERC-20 tokens: simulated transfers, and permits."""
