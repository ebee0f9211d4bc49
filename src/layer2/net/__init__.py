"""HTTP plumbing: connection pools, and the clock of a server."""
