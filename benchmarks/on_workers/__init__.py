"""Swaps of a provider on Temporal workers, compared with one process, on simnet and real servers."""
