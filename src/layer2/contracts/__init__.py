"""The hash time-locked contract: Vyper source, compiled artefact, calls, events and address arithmetic.

Nothing here asks a node. What the contract promises and what not is said in ``docs/contract.md``.
"""
