"""Whom to pay: what people write down or scan, and how it becomes an invoice."""
