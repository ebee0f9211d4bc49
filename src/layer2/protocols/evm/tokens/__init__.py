"""ERC-20 tokens: what they would do, and permits."""
