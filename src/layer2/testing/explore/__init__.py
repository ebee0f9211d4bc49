"""An explorer of one swap: it drives the real machines through every state that two legs and two parties can reach.

``python -m layer2.testing.explore`` prints its findings. Design: docs/design/swap-safety.md.
"""
