"""The measurements of ``make bench-lightning``: each module makes some rows of its table."""
