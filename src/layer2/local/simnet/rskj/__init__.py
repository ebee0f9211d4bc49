"""The dialect of Rootstock's node software for a chain of the simnet: blocks, pool, methods and messages of rskj.

Source: ``rsksmart/rskj`` at d987a4c; nothing here was compared with a live node. See ``docs/design/simnet-evm.md``.
"""
