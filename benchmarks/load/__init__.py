"""Load for the benchmarks: alternating rounds, callers that cancel, and checks for leaks."""
