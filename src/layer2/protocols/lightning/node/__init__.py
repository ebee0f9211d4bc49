"""The party's lnd: its identity, its readiness, and its channels."""
