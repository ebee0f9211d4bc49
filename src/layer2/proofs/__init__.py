"""Proofs of transfers, checked offline: needs coincurve, safe-pysha3 and rfc8785, and no node."""
