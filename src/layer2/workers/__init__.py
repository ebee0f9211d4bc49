"""Swaps on Temporal workers: one workflow for each swap, and turns of the swap engine as its activities."""
