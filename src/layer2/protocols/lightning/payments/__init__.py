"""Paying: requests with their limits, and what became of them."""
