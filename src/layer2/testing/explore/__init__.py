"""An explorer of one swap: it drives the real machines through every state that two legs and two parties can reach.

``python -m layer2.testing.explore`` prints what it found. Design: docs/design/swap-safety.md.
"""
