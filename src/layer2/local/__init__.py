"""Networks on this machine: a simulated one, one of real nodes, and the parties on them."""
