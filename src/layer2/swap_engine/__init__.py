"""Machinery: the journal that remembers swaps, and the runner that carries them out."""
