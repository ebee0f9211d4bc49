"""lnd's REST interface: calls, streams, credentials, and the reading of what it answers."""
