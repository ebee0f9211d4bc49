"""Where the client reads Bitcoin's chain from."""
