"""What ``make bench-evm`` measures: each module holds some rows of its table."""
