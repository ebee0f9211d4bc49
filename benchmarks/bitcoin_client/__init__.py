"""The parts of ``benchmarks/bitcoin.py``."""
