"""What ``make bench-lightning`` measures: each module holds some rows of its table."""
