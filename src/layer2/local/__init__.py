"""Local networks: a simulated one, one of real nodes, and the parties on them."""
