"""What the clients of EVM layers have in common: node, account, transactions, statuses and locks."""
