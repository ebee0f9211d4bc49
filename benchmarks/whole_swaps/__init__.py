"""Whole swaps between two processes on real nodes, compared with bare lnd, and the journal compared with DBOS."""
