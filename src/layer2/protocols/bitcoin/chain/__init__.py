"""Bitcoin's chain as one client follows it."""
