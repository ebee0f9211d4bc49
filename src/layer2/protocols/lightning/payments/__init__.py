"""Payments: requests with their limits, sends, and statuses."""
