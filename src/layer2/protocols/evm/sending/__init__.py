"""Single transactions: nonces, signatures, their durable record, replacement, and what became of them."""
