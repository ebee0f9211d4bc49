"""The hash time-locked contract: Vyper source, compiled artefact, calls, events and address arithmetic.

Beside it what is called and read of contracts that others made: ERC-20 tokens, the factory, and L1Block. Nothing here
asks a node. What the HTLC promises and what not is said in ``docs/contract.md``.
"""
