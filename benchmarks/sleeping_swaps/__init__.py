"""The parts of the benchmark of sleeping swaps."""
