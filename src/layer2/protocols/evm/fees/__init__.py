"""The cost of a transaction, its price, and the price of its replacement."""
