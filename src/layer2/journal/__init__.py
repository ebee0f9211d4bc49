"""The durable record of swaps, single sends, held coins and proofs, in an SQL database."""
