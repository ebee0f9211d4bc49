"""Proofs of transfers: what their checks cost, in processor time, and how large they are."""
