"""The measurements of ``make bench-evm``: each module makes some rows of its table."""
