"""Whole swaps between two processes on real nodes, compared with bare lnd."""
