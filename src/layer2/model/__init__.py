"""Layers, amounts and transactions. Pure."""
