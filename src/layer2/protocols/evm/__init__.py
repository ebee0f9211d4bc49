"""What BOB, and later other EVM layers, have in common: node, account, transactions, statuses and locks."""
