"""Hash-locked outputs: the transactions that spend them, and what is seen of them."""
