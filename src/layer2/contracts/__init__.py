"""The hash time-locked contract: Vyper source, compiled artefact, calls, events and address arithmetic.

The package also has the calls and answers of other contracts: ERC-20 tokens, the factory, and L1Block. It does not
access nodes. ``docs/contract.md`` documents what the HTLC guarantees.
"""
