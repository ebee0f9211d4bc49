"""Single transactions: nonces, signatures, the durable record, replacements, and statuses."""
